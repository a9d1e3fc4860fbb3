"""The multipath engine: one map over several paths, without I/O. The house of `MultipathMap` and its policies."""
