//! DHCPv4 (RFC 2131, 2132, 4578): packets and options.
