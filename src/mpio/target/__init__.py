"""The software target: logical units over block stores, and the iSCSI node that serves them. Without I/O."""
