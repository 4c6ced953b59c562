//! The boot decision (pure), and the DHCP, TFTP and iPXE services that carry it.
