#!/bin/sh -e
# What the lower overlay does to its base besides packages and files.

# Gone: a file, and a folder with all that was in it. Another folder where one was.
rm /etc/issue.net
rm -r /usr/share/doc/sed
rm -r /usr/share/doc/gzip /usr/share/doc/grep
mkdir /usr/share/doc/gzip /usr/share/doc/grep
echo lower > /usr/share/doc/gzip/lower
echo lower > /usr/share/doc/grep/lower

# A link that becomes a file, a file that becomes a link, and what the upper overlay has otherwise.
test -L /etc/os-release
rm /etc/os-release
echo 'NAME=lower' > /etc/os-release
test ! -L /etc/issue
ln -sf debian_version /etc/issue
ln -s wagon /opt/current

# What not every archive format can carry.
ln /usr/local/bin/wagon /usr/local/bin/wain
install /usr/bin/chown /usr/local/bin/give
setcap cap_chown=ep /usr/local/bin/give
setfattr -n user.note -v lower /opt/wagon/libwagon.so.1
truncate -s 128M /opt/sparse
echo end >> /opt/sparse

# What dpkg writes down in files that both overlays change.
dpkg-divert --quiet --local --no-rename --add /opt/wagon/one
dpkg-statoverride --update --add daemon root 0750 /opt/wagon
