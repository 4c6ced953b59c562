#!/bin/sh -e
# Builds the driver that afulnx brings, and removes all that it took.

# Headers come as the archive has them, and the kernel as the recipe names it: a driver for another one would not load.
set -- /var/tmp/kernel/*.ko
kernel=$(modinfo -F vermagic "$1" | cut -d ' ' -f 1)
set -- /usr/lib/modules/*/build
build=/usr/lib/modules/$kernel/build
[ -n "$kernel" ] && [ -e "$build" ] || {
  echo "the kernel of the project is $kernel, and there are headers for: $*" >&2
  echo "name the package with its headers in the recipe: linux-headers-$kernel" >&2
  exit 1
}

# In a folder whose name is always the same, since it gets into the driver.
mkdir /tmp/driver
cd /tmp/driver
/opt/afulnx /MAKEDRV KERNEL="$build"
[ -s amifldrv_mod.o ] || { echo "afulnx has made no driver for $kernel: there may be a newer afulnx" >&2; exit 1; }
install -m 0644 amifldrv_mod.o /opt/

dpkg-query -W -f '${Package}\n' | sort | comm -13 /var/tmp/packages - > /var/tmp/new
# A kernel's own script would ask whether to remove one that runs, which is this machine's and not the image's.
sed -n 's,^linux-image-.*,/var/lib/dpkg/info/&.prerm,p' /var/tmp/new | xargs -r rm -f
xargs -r dpkg --purge < /var/tmp/new
rm -r /var/tmp/packages /var/tmp/new /var/tmp/kernel
