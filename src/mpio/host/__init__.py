"""The Linux host: its namespaces, files and tools, read and changed with an undo."""
