"""What a heartbeat gets before other programs, or is told that it could not have."""

import json
import subprocess
import sys

PROGRAM = """
import json, os
from mpio.io.heartbeat_priority import raise_priority
missing = raise_priority()
locked = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmLck"))
print(json.dumps([missing, os.sched_getscheduler(0) == os.SCHED_RR, int(locked) > 0]))
"""


def test_it_has_what_it_does_not_say_that_it_misses() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60)
    missing, is_first, is_locked = json.loads(done.stdout)
    assert is_first != any("no real-time priority" in line for line in missing)
    assert is_locked != any("memory is not locked" in line for line in missing)
