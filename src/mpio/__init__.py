"""Multipath I/O over software iSCSI."""

__version__ = "0.1.0"
