#!/bin/sh -e
# Runs inside the base's root, after its packages.

# Where workflows put things, as they always did. Whoever is logged in may put something there too, and, by the sticky bit,
# change nothing that is another's.
install -d -m 1777 /opt/downloads /opt/uploads /opt/drivers

# apt on a node takes what it is told to take, and nothing else.
cat > /etc/apt/apt.conf.d/90overboot <<'APT'
APT::Install-Recommends "false";
APT::Install-Suggests "false";
Acquire::Languages "none";
APT

# The node program has set up the network before systemd starts, and opens a login itself when a workflow asks for one.
systemctl mask --quiet ssh.service ssh.socket systemd-networkd.service systemd-resolved.service
# A node in RAM has no disk to check, no log to rotate and nobody to greet. (Masking what is not there is no error.)
systemctl mask --quiet apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer man-db.timer \
  e2scrub_all.timer e2scrub_reap.service systemd-pstore.service getty@tty1.service
systemctl set-default --quiet multi-user.target
