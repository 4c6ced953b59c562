#!/bin/sh -e
# Which packages there are, before those that build the driver come.
dpkg-query -W -f '${Package}\n' | sort > /var/tmp/packages
