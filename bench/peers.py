"""Targets and initiators to compare with, each started as its users start it, on loopback, with its own defaults.

A target is a context manager that yields what it serves; an initiator is a function that runs one load and returns
what came out. A program that is not installed raises `Missing`.
"""

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

START_TIMEOUT_S = 15.0
NAME_PREFIX = "iqn.2026-01.bench"
SECTOR_BYTES = 512
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Missing(Exception):
    """A program that is not installed."""


@dataclass(frozen=True, slots=True)
class Served:
    """A LUN that a target serves: one URL per portal. `pid` is the target's, for its share of CPU time."""

    target: str
    urls: list[str]
    pid: int

    def cpu_s(self) -> float:
        """CPU time of the target process so far, user and system, all threads (proc(5), stat)."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


@dataclass(frozen=True, slots=True)
class Load:
    """What an initiator is to do: reads, random or in sequence."""

    block_bytes: int
    queue_depth: int
    is_random: bool
    seconds: float

    def __str__(self) -> str:
        order = "random" if self.is_random else "sequential"
        return f"{self.block_bytes // 1024} KiB {order} reads, depth {self.queue_depth}"


@dataclass(frozen=True, slots=True)
class Sample:
    """What one run gave. `cpu_us_per_io` is the initiator's; `latency_us` only where the initiator tells it."""

    iops: float
    cpu_us_per_io: float
    ios: float
    latency_us: dict[str, float] | None = None


# --- targets


@contextlib.contextmanager
def tgtd(directory: Path, image: Path, portals: int = 2) -> Iterator[Served]:
    """The Linux SCSI target framework's daemon, default backing store (rdwr with 16 threads)."""
    _require("tgtd", "tgtadm")
    ports = _free_ports(portals)
    control = str(20_000 + os.getpid() % 10_000)
    name = f"{NAME_PREFIX}:tgtd"
    command = ["tgtd", "-f", "-C", control, "--iscsi", f"portal=127.0.0.1:{ports[0]}"]
    with _daemon(command, directory / "tgtd.log") as process:
        try:
            _wait(lambda: not _tgtadm(control, "--mode", "target", "--op", "show"), "tgtd", process)
            for order in (
                ["--mode", "target", "--op", "new", "--tid", "1", "-T", name],
                ["--mode", "logicalunit", "--op", "new", "--tid", "1", "--lun", "1", "-b", str(image)],
                ["--mode", "target", "--op", "bind", "--tid", "1", "-I", "ALL"],
                *(["--mode", "portal", "--op", "new", "--param", f"portal=127.0.0.1:{port}"] for port in ports[1:]),
            ):
                if _tgtadm(control, *order):
                    raise RuntimeError(f"tgtadm {' '.join(order)} failed")
            yield Served("tgtd", [f"iscsi://127.0.0.1:{port}/{name}/1" for port in ports], process.pid)
        finally:
            for left in (f"socket.{control}", f"socket.{control}.lock"):
                Path("/var/run/tgtd", left).unlink(missing_ok=True)


@contextlib.contextmanager
def istgt(directory: Path, image: Path, portals: int = 2) -> Iterator[Served]:
    """The FreeBSD-born user-space target."""
    _require("istgt")
    control, *ports = _free_ports(portals + 1)
    listen = "\n".join(f"  Portal P{port} 127.0.0.1:{port}" for port in ports)
    config = directory / "istgt.conf"
    config.write_text(f"""
[Global]
  NodeBase "{NAME_PREFIX}"
  PidFile {directory}/istgt.pid
  MediaDirectory {directory}
  NopInInterval 0
  DiscoveryAuthMethod None
  MaxSessions 16
  MaxConnections 4
  FirstBurstLength 262144
  MaxBurstLength 1048576
  MaxRecvDataSegmentLength 262144
[UnitControl]
  AuthMethod None
  Portal UC1 127.0.0.1:{control}
  Netmask 127.0.0.0/8
[PortalGroup1]
{listen}
[InitiatorGroup1]
  InitiatorName "ALL"
  Netmask 127.0.0.0/8
[LogicalUnit1]
  TargetName istgt
  Mapping PortalGroup1 InitiatorGroup1
  AuthMethod None
  UseDigest Auto
  UnitType Disk
  QueueDepth 64
  LUN0 Storage {image} {image.stat().st_size >> 20}MB
""")
    config.chmod(0o600)
    command = ["istgt", "-D", "-c", str(config), "-p", f"{directory}/istgt.pid"]
    with _daemon(command, directory / "istgt.log") as process:
        _wait(lambda: _listens(ports[-1]), "istgt", process)
        yield Served("istgt", [f"iscsi://127.0.0.1:{port}/{NAME_PREFIX}:istgt/0" for port in ports], process.pid)


@contextlib.contextmanager
def mpio_target(directory: Path, image: Path, portals: int = 2) -> Iterator[Served]:
    """This project's target, on the same file as the others."""
    name = f"{NAME_PREFIX}:mpio"
    listen = [argument for _ in range(portals) for argument in ("--portal", "127.0.0.1:0")]
    command = [*_mpio(), "target", *listen, "--name", name, "--lun", f"1=file:{image}"]
    log = directory / "mpio-target.log"
    with _daemon(command, log) as process:
        _wait(lambda: log.read_text().partition("ready ")[2].endswith("\n"), "mpio target", process)
        ready = json.loads(log.read_text().partition("ready ")[2].splitlines()[0])
        urls = [f"iscsi://{portal['host']}:{portal['port']}/{name}/1" for portal in ready["portals"]]
        yield Served("mpio target", urls, process.pid)


# --- initiators


def mpio(load: Load, urls: Sequence[str]) -> Sample:
    """This project's initiator and map over all the URLs. CPU per I/O is its own figure, start-up left out."""
    order = "--random" if load.is_random else "--sequential"
    command = [
        *_mpio(), "bench", *urls, "--read", order, "--block-size", str(load.block_bytes),
        "--queue-depth", str(load.queue_depth), "--seconds", str(load.seconds), "--json",
    ]  # fmt: skip
    output, _ = _run(command, load.seconds)
    record = json.loads(output)
    return Sample(record["iops"], record["cpu_us_per_io"], record["ios"], record["latency_us"])


def libiscsi(load: Load, urls: Sequence[str]) -> Sample:
    """The iscsi-perf of libiscsi, a single-threaded event loop in C; one path."""
    _require("iscsi-perf")
    seconds = max(1, round(load.seconds))
    command = [
        "iscsi-perf", "-m", str(load.queue_depth), "-b", str(load.block_bytes // SECTOR_BYTES),
        "-t", str(seconds), *(["-r"] if load.is_random else []), urls[0],
    ]  # fmt: skip
    output, cpu_s = _run(command, load.seconds)
    found = re.findall(r"iops average (\d+)", output)
    if not found:
        raise RuntimeError(f"iscsi-perf printed no result: {output[-200:]!r}")
    iops = float(found[-1])
    return Sample(iops, 1e6 * cpu_s / (iops * seconds), iops * seconds)


def qemu(load: Load, urls: Sequence[str]) -> Sample:
    """`qemu-img bench` over QEMU's libiscsi driver; always in sequence, one path, and so many reads, not seconds."""
    _require("qemu-img")
    count = max(1000, int(load.seconds * _qemu_rate.get(load.block_bytes, 2000)))
    command = [
        "qemu-img", "bench", "-f", "raw", "-t", "none", "-d", str(load.queue_depth),
        "-s", str(load.block_bytes), "-c", str(count), urls[0],
    ]  # fmt: skip
    output, cpu_s = _run(command, load.seconds)
    found = re.search(r"completed in ([0-9.]+) seconds", output)
    if found is None:
        raise RuntimeError(f"qemu-img printed no result: {output[-200:]!r}")
    _qemu_rate[load.block_bytes] = iops = count / float(found[1])
    return Sample(iops, 1e6 * cpu_s / count, count)


_qemu_rate: dict[int, float] = {}  # reads a second in its last run, by block size, to choose the next count by


# --- processes


def _mpio() -> list[str]:
    return [str(Path(sys.executable).with_name("mpio"))]


def _require(*programs: str) -> None:
    for program in programs:
        if shutil.which(program) is None:
            raise Missing(program)


def _run(command: Sequence[str], seconds: float) -> tuple[str, float]:
    """Run to the end; its output, and the CPU seconds, user and system, that wait4(2) reports for it."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
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


@contextlib.contextmanager
def _daemon(command: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT) as process:
        try:
            yield process
        finally:
            process.kill()  # tgtd and istgt take their time over SIGTERM, and nothing on them is to be kept


def _tgtadm(control: str, *arguments: str) -> int:
    command = ["tgtadm", "-C", control, "--lld", "iscsi", *arguments]
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [sock.getsockname()[1] for sock in sockets]


def _listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def _wait(is_ready: Callable[[], bool], name: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START_TIMEOUT_S
    while not is_ready():
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"{name} did not start")
        time.sleep(0.05)
