"""Timing arithmetic: what settings promise, as sums of named terms that say where they come from."""
