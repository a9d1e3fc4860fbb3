"""Compiles the per-I/O path with mypyc if MPIO_COMPILE=1; all else about the package is in pyproject.toml.

The sources stay plain Python and are installed as well. What is listed here is what a profile of small reads names
(docs/performance.md); nothing else needs it.
"""

import os

from setuptools import setup

HOT_PATH = (
    "model/task",
    "proto/iscsi/pdu",
    "proto/iscsi/stream",
    "proto/iscsi/initiator",
    "proto/iscsi/initiator_tasks",
    "proto/iscsi/keepalive",
    "proto/iscsi/task_management",
    "proto/scsi/cdb",
    "engine/request",
    "engine/path",
    "engine/selector",
    "engine/map",
    "io/coalesce",
    "io/give_way",
    "io/channel",
    "io/map_driver",
    "io/benchmark",
)

modules = []
if os.environ.get("MPIO_COMPILE") == "1":
    from mypyc.build import mypycify

    sources = [f"src/mpio/{name}.py" for name in HOT_PATH]
    modules = mypycify(["--follow-imports=silent", *sources], opt_level="3", debug_level="0")
setup(ext_modules=modules)
