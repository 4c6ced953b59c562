#!/bin/sh -e
# Runs inside the base's root, after its packages.

# Where workflows put things, as they always did.
install -d -m 0777 /opt/downloads /opt/uploads /opt/drivers

# apt on a node takes what it is told to take, and nothing else.
cat > /etc/apt/apt.conf.d/90overboot <<'APT'
APT::Install-Recommends "false";
APT::Install-Suggests "false";
Acquire::Languages "none";
APT

# The node program has set up the network before systemd starts, and opens a login itself when a workflow asks for one.
systemctl mask --quiet ssh.service ssh.socket systemd-networkd.service systemd-resolved.service || true
# A node in RAM has no disk to check, no log to rotate and nobody to greet.
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer e2scrub_all.timer e2scrub_reap.service \
  man-db.timer getty@tty1.service systemd-pstore.service; do
  systemctl mask --quiet "$unit" || true
done
systemctl set-default --quiet multi-user.target
