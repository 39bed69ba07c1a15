"""The protocol without I/O (RFC 5321 and its extensions)."""
