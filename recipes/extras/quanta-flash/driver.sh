#!/bin/sh -e
# Builds the driver that afulnx brings, and removes all that it took.

set -- /usr/lib/modules/*/build
[ $# = 1 ] && [ -e "$1" ] || { echo "there must be the headers of one kernel, but there is: $*" >&2; exit 1; }

# In a folder whose name is always the same, since it gets into the driver.
mkdir /tmp/driver
cd /tmp/driver
/opt/afulnx /MAKEDRV KERNEL="$1"
[ -s amifldrv_mod.o ] || { echo "afulnx has made no driver for ${1%/build}: there may be a newer afulnx" >&2; exit 1; }
install -m 0644 amifldrv_mod.o /opt/

# A kernel's own script would ask whether to remove one that runs, which is this machine's and not the image's.
rm -f /var/lib/dpkg/info/linux-image-*.prerm
dpkg-query -W -f '${Package}\n' | sort | comm -13 /var/tmp/packages - | xargs dpkg --purge
rm /var/tmp/packages
