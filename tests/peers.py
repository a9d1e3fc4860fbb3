"""Targets to test and to measure against, each a process of its own on loopback: tgtd, istgt, and ours.

Each is a context manager; entered, it listens, and `url` names its LUNs. What is not installed raises Missing.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from mpio.drill import tgtd_process as tgt
from mpio.errors import InputError
from mpio.model.address import Portal

NAME_PREFIX = "iqn.2026-01.dev.mpio.peer"
START_TIMEOUT_S = 15.0
STOP_TIMEOUT_S = 5.0
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
ALL_SBIN = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


class Missing(Exception):
    """A program that is not installed."""


def find(*programs: str) -> str:
    """The path of the first of these programs; all of them must be there. Raises Missing."""
    for program in programs:
        if shutil.which(program, path=ALL_SBIN) is None:
            raise Missing(f"{program} is not installed")
    return shutil.which(programs[0], path=ALL_SBIN) or ""


class Peer:
    """A target process that ends with its context, however that is left.

    Attributes:
        name: as people call it.
        portals: where it listens. target: the name of its first target. lun: the number of that one's first LUN.
    """

    name: str
    portals: list[Portal]
    target: str
    lun = 1

    def __init__(self, directory: Path) -> None:
        self._log = directory / f"{type(self).__name__.lower()}.log"
        self._resources = contextlib.ExitStack()
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self._resources.close()

    def start(self) -> None:
        """Start it and wait until it serves. Raises Missing or RuntimeError."""
        raise NotImplementedError

    @property
    def pid(self) -> int:
        """Of the process."""
        assert self._process is not None
        return self._process.pid

    def url(self, path: int = 1, *, target: str | None = None, lun: int | None = None, user: str = "") -> str:
        """The URL of a LUN through the portal of a path; `user` may be `name%secret`."""
        at = f"{user}@" if user else ""
        return f"iscsi://{at}{self.portals[path - 1]}/{target or self.target}/{self.lun if lun is None else lun}"

    @property
    def urls(self) -> list[str]:
        """Of the first LUN, one a portal."""
        return [self.url(path) for path in range(1, len(self.portals) + 1)]

    def cpu_s(self) -> float:
        """CPU time of the process so far, user and system, all threads (proc(5), stat)."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_S

    def signal(self, number: int) -> None:
        """Send the process a signal."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once: tgtd stays as long as it has targets, istgt takes its time, and nothing is to be kept."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(STOP_TIMEOUT_S)
            if self._process.stdout is not None:
                self._process.stdout.close()

    def words(self) -> str:
        """The end of what it said."""
        return self._log.read_text(errors="replace")[-500:] if self._log.exists() else ""

    def _launch(self, command: Sequence[str], *, environment: Mapping[str, str] | None = None,
                stdout: int | None = None) -> subprocess.Popen[str]:
        """Start the process; what it says goes to its log, standard output if not wanted elsewhere."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stdout or log, stderr=log,
                                             env=environment, text=True)
        return self._process

    def _wait(self, is_ready: Callable[[], object]) -> None:
        end = time.monotonic() + START_TIMEOUT_S
        while not is_ready():
            if self._process is None or self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"{type(self).__name__} did not start: {self.words()}")
            time.sleep(0.02)


class Tgtd(Peer):
    """The Linux SCSI target framework's daemon; sparse files of `size` bytes, or an image, behind its LUNs.

    Target 1 with LUN 1 exists from the start; `add_target` makes more.
    """

    name = "tgtd"
    target = f"{NAME_PREFIX}:tgtd"

    def __init__(self, directory: Path, *, portals: int = 2, size: int = 64 << 20, block_size: int = 512,
                 image: Path | None = None) -> None:
        super().__init__(directory)
        self.portals = tgt.free_portals(portals)
        self._directory = directory
        self._size = size
        self._block_size = block_size
        self._image = image
        self._targets = 0
        self._environment: dict[str, str] = {}

    def start(self) -> None:
        find("tgtd", "tgtadm")
        management = self._resources.enter_context(tempfile.TemporaryDirectory(prefix="mpio-tgtd-"))
        self._environment = tgt.tgtd_environment(Path(management))
        self._launch(tgt.tgtd_command(self.portals[0]), environment=self._environment)
        show = ["--mode", "portal", "--op", "show"]
        self._wait(lambda: self._run(show).returncode == 0)
        for order in tgt.portal_orders(self.portals[1:]):
            self.order(*order)
        missing = [portal for portal in self.portals if f"Portal: {portal}," not in self._run(show).stdout]
        if missing:
            raise RuntimeError(f"tgtd does not listen on {missing}: {self.words()}")
        self.add_target(self.target, {1: self._size}, self._block_size)

    def add_target(self, name: str, luns: Mapping[int, int], block_size: int = 512) -> int:
        """A further target, with LUNs of these sizes. Returns its number."""
        self._targets += 1
        images = {}
        for lun, size in luns.items():
            images[lun] = self._directory / f"tgtd-{self._targets}-{lun}.img"
            if self._image is not None and self._targets == 1:
                images[lun] = self._image
                continue
            with images[lun].open("wb") as file:
                file.truncate(size)
        for order in tgt.target_orders(self._targets, name, images, block_size):
            self.order(*order)
        return self._targets

    def require_chap(self, user: str, secret: str, mutual: tuple[str, str] | None = None, tid: int = 1) -> None:
        """Ask initiators of a target for this secret; `mutual` is the target's own user and secret."""
        for (name, password), options in (((user, secret), []), (mutual or ("", ""), ["--outgoing"])):
            if name:
                self.order("--mode", "account", "--op", "new", "--user", name, "--password", password)
                self.order("--mode", "account", "--op", "bind", "--tid", str(tid), "--user", name, *options)

    def order(self, *order: str) -> str:
        """Give tgtadm an order; returns what it prints. Raises RuntimeError."""
        done = self._run(order)
        if done.returncode:
            raise RuntimeError(f"tgtadm {' '.join(order)}: {done.stdout.strip()} {done.stderr.strip()}")
        return done.stdout

    def _run(self, order: Sequence[str]) -> subprocess.CompletedProcess[str]:
        try:
            command = tgt.tgtadm_command(order)
        except InputError as error:
            raise Missing(str(error)) from None
        return subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False)


class Istgt(Peer):
    """The user-space target that came from FreeBSD: one LUN, number 0, in a file."""

    name = "istgt"
    target = f"{NAME_PREFIX}:istgt"
    lun = 0

    def __init__(self, directory: Path, *, portals: int = 2, size: int = 64 << 20, block_size: int = 512,
                 image: Path | None = None, chap: Sequence[str] = (), digests: str = "Auto") -> None:
        super().__init__(directory)
        *self.portals, self._control = tgt.free_portals(portals + 1)
        self._directory = directory
        self._image = image or directory / "istgt.img"
        if image is None:
            with self._image.open("wb") as file:
                file.truncate(size)
        self._block_size = block_size
        self._chap = list(chap)
        self._digests = digests

    def start(self) -> None:
        program = find("istgt")
        config = self._directory / "istgt.conf"
        config.write_text(self._configuration())
        config.chmod(0o600)
        self._launch([program, "-D", "-c", str(config), "-p", str(self._directory / "istgt.pid")])
        self._wait(lambda: all(_listens(portal) for portal in self.portals))

    def _configuration(self) -> str:
        listen = "\n".join(f"  Portal P{portal.port} {portal}" for portal in self.portals)
        method, group = "None", ""
        if self._chap:
            method, group = "CHAP Mutual" if len(self._chap) == 4 else "CHAP", "AuthGroup AuthGroup1"
        users = self._directory / "auth.conf"
        users.write_text("[AuthGroup1]\n  Auth " + " ".join(f'"{word}"' for word in self._chap) + "\n")
        users.chmod(0o600)
        return f"""
[Global]
  NodeBase "{NAME_PREFIX}"
  PidFile {self._directory}/istgt.pid
  AuthFile {users}
  MediaDirectory {self._directory}
  NopInInterval 0
  DiscoveryAuthMethod None
  MaxSessions 16
  MaxConnections 4
  FirstBurstLength 262144
  MaxBurstLength 1048576
  MaxRecvDataSegmentLength 262144
[UnitControl]
  AuthMethod None
  Portal UC1 {self._control}
  Netmask 127.0.0.0/8
[PortalGroup1]
{listen}
[InitiatorGroup1]
  InitiatorName "ALL"
  Netmask 127.0.0.0/8
[LogicalUnit1]
  TargetName {self.target.rpartition(":")[2]}
  Mapping PortalGroup1 InitiatorGroup1
  AuthMethod {method}
  {group}
  UseDigest {self._digests}
  UnitType Disk
  BlockLength {self._block_size}
  QueueDepth 64
  LUN0 Storage {self._image} {self._image.stat().st_size >> 20}MB
"""


class MpioTarget(Peer):
    """Our own target: LUNs as its command line takes them, such as `1=ram:64MiB`; a portal for each group tag."""

    name = "mpio target"
    target = f"{NAME_PREFIX}:mpio"

    def __init__(self, directory: Path, *luns: str, groups: Sequence[int] = (1, 1),
                 options: Sequence[str] = ()) -> None:
        super().__init__(directory)
        self._groups = list(groups)
        self._luns = luns or ("1=ram:64MiB",)
        self._options = list(options)

    def start(self) -> None:
        command = [sys.executable, "-m", "mpio.cli.main", "target", "--name", self.target, *self._options]
        for group in self._groups:
            command += ["--portal", f"127.0.0.1:0,{group}"]
        for lun in self._luns:
            command += ["--lun", lun]
        process = self._launch(command, stdout=subprocess.PIPE)
        assert process.stdout is not None
        word, _, details = process.stdout.readline().partition(" ")
        if word != "ready":
            raise RuntimeError(f"mpio target did not start: {self.words()}")
        self.portals = [Portal(portal["host"], portal["port"]) for portal in json.loads(details)["portals"]]


@contextlib.contextmanager
def stopped(peer: Peer) -> Iterator[None]:
    """The process does not run while this lasts."""
    peer.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        peer.signal(signal.SIGCONT)


def _listens(portal: Portal) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex((portal.host, portal.port)) == 0
