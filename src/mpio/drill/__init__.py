"""Drills: break the paths of a map on purpose, under verified I/O, and judge what happened."""
