"""The Network Block Device protocol, without I/O (doc/proto.md of the NetworkBlockDevice project)."""
