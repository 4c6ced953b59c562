#!/bin/sh -e
# What the upper overlay does to its base, of which it knows nothing but that.

# The lower overlay has a file there that is a link.
rm /etc/issue
# The lower overlay has a link there, which here is a folder.
mkdir /opt/current
echo upper > /opt/current/upper
# Of three folders of that name only the uppermost is to be seen.
rm -r /usr/share/doc/grep
mkdir /usr/share/doc/grep
echo upper > /usr/share/doc/grep/upper

dpkg-divert --quiet --local --no-rename --add /opt/cart/one
dpkg-statoverride --update --add games root 0750 /opt/cart
