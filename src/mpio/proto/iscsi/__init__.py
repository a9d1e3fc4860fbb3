"""iSCSI, RFC 7143 and 7144: both roles as objects without I/O, one TCP connection per session."""
