"""Initiators to compare: each is a function that runs one load with its users' command and returns what came out.

A program that is not installed raises `Missing`.
"""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.peers import Missing, find

SECTOR_BYTES = 512
COMPILED = Path(__file__).parents[1] / "build" / "compiled"


@dataclass(frozen=True, slots=True)
class Load:
    """What an initiator is to do: reads or writes, random or in sequence."""

    block_bytes: int
    queue_depth: int
    is_random: bool
    seconds: float
    is_write: bool = False

    def __str__(self) -> str:
        order = "random" if self.is_random else "sequential"
        what = "writes" if self.is_write else "reads"
        return f"{self.block_bytes // 1024} KiB {order} {what}, depth {self.queue_depth}"


TRIES_MAX = 5


@dataclass(frozen=True, slots=True)
class Sample:
    """What one run gave. `cpu_us_per_io` is the initiator's; `latency_us` only where the initiator tells it."""

    iops: float
    cpu_us_per_io: float
    ios: float
    latency_us: dict[str, float] | None = None


def mpio(load: Load, urls: Sequence[str]) -> Sample:
    """This project's initiator and map over all the URLs, in plain Python. CPU per I/O leaves its start-up out."""
    return _mpio(load, urls, dict(os.environ))


def mpio_compiled(load: Load, urls: Sequence[str]) -> Sample:
    """The same with the per-I/O path compiled, as `make compiled` leaves it."""
    if not (COMPILED / "mpio").is_dir():
        raise Missing("build/compiled, which `make compiled` makes")
    return _mpio(load, urls, {**os.environ, "PYTHONPATH": str(COMPILED)})


def _mpio(load: Load, urls: Sequence[str], environment: Mapping[str, str]) -> Sample:
    order = "--random" if load.is_random else "--sequential"
    kind = ["--write", "--yes"] if load.is_write else ["--read"]
    command = [
        str(Path(sys.executable).with_name("mpio")), "bench", *urls, *kind, order,
        "--block-size", str(load.block_bytes), "--queue-depth", str(load.queue_depth),
        "--seconds", str(load.seconds), "--set", "login_timeout=10", "--json",
    ]  # fmt: skip
    for _ in range(TRIES_MAX):
        output, _ = _run(command, load.seconds, environment)
        record = json.loads(output.splitlines()[-1])  # before it may stand which path is missing
        if record["paths"] == len(urls):
            break  # istgt leaves one of two logins at the same moment without an answer now and then
    else:
        raise RuntimeError(f"mpio bench had {record['paths']} of {len(urls)} paths: {output.strip()[:300]}")
    return Sample(record["iops"], record["cpu_us_per_io"], record["ios"], record["latency_us"])


def libiscsi(load: Load, urls: Sequence[str]) -> Sample:
    """The iscsi-perf of libiscsi, a single-threaded event loop in C; reads by one path."""
    if load.is_write:
        raise Missing("a writing iscsi-perf")
    seconds = max(1, round(load.seconds))
    command = [
        find("iscsi-perf"), "-m", str(load.queue_depth), "-b", str(load.block_bytes // SECTOR_BYTES),
        "-t", str(seconds), *(["-r"] if load.is_random else []), urls[0],
    ]  # fmt: skip
    output, cpu_s = _run(command, load.seconds)
    found = re.findall(r"iops average (\d+)", output)
    if not found:
        raise RuntimeError(f"iscsi-perf printed no result: {output[-200:]!r}")
    iops = float(found[-1])
    return Sample(iops, 1e6 * cpu_s / (iops * seconds), iops * seconds)


def qemu(load: Load, urls: Sequence[str]) -> Sample:
    """`qemu-img bench` over QEMU's libiscsi driver; always in sequence, one path, and so many requests, not seconds."""
    kind = (load.block_bytes, load.is_write)
    count = max(1000, int(load.seconds * _qemu_rate.get(kind, 2000)))
    command = [
        find("qemu-img"), "bench", "-f", "raw", "-t", "none", "-d", str(load.queue_depth),
        "-s", str(load.block_bytes), "-c", str(count), *(["-w"] if load.is_write else []), urls[0],
    ]  # fmt: skip
    output, cpu_s = _run(command, load.seconds)
    found = re.search(r"completed in ([0-9.]+) seconds", output)
    if found is None:
        raise RuntimeError(f"qemu-img printed no result: {output[-200:]!r}")
    _qemu_rate[kind] = iops = count / float(found[1])
    return Sample(iops, 1e6 * cpu_s / count, count)


_qemu_rate: dict[tuple[int, bool], float] = {}  # a second in the last run of a kind, to choose the next count by


def _run(command: Sequence[str], seconds: float, environment: Mapping[str, str] | None = None) -> tuple[str, float]:
    """Run to the end; its output, and the CPU seconds, user and system, that wait4(2) reports for it."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          env=environment) as process:
        assert process.stdout is not None
        too_long = threading.Timer(10 * seconds + 60, process.kill)
        too_long.start()
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        too_long.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}: {output.strip()[:300]}")
    return output, usage.ru_utime + usage.ru_stime
