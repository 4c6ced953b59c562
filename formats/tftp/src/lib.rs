//! TFTP (RFC 1350, 2347-2349, 7440): packets and the sender's side of a transfer.
