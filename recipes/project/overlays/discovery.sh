#!/bin/sh -e
# Runs inside the base with the overlay's packages installed.

# Discovery asks the disks itself; nothing has to watch them.
systemctl mask --quiet smartmontools.service nvmf-autoconnect.service
