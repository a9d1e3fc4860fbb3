"""Freed memory stays with the process: large buffers come and go without the kernel."""

import ctypes
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
from mpio.io.heap import keep_freed_memory

def churn(rounds):
    for _ in range(rounds):
        buffers = [bytearray(256 << 10) for _ in range(8)]
        del buffers

def faults(rounds):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    churn(rounds)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

churn(3)
before = faults(20)
keep_freed_memory()
churn(3)
print(before, faults(20))
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="not glibc")
def test_large_buffers_come_without_page_faults() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60)
    before, after = map(int, done.stdout.split())
    assert before > 20 * 8, "at least a page of each buffer came from the kernel each time"
    assert after < 20


def test_a_c_library_without_it_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from mpio.io import heap

    asked: list[str | None] = []

    def library(name: str | None) -> object:
        asked.append(name)
        return object()

    monkeypatch.setattr(ctypes, "CDLL", library)
    heap.keep_freed_memory()
    assert asked == [None]
