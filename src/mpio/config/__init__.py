"""Configuration files of the storage and cluster stack: read without loss, edited line by line, and understood."""
