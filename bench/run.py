"""Compare mpio with its peers in one interleaved run: `python -m bench.run`, or `make bench`.

Every round runs every entrant of every race once, in turns, the order reversed from round to round, so that whatever
else the machine does hits all alike. What counts is the median over the rounds: of each number, and of its ratio to
that of the race's reference in the same round, for in the next one the machine may be another.
Nothing is pinned or tuned. Results go to bench/results/ as JSON.

The kernel's congestion control counts, on loopback too: with bbr, transfers are paced by its estimate of a bandwidth
that nothing limits, and results scatter twofold. In a network namespace of one's own it can be set to what most hosts
have.
"""

import argparse
import contextlib
import json
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from bench import initiators
from bench.initiators import Load, Sample
from tests.peers import Istgt, Missing, MpioTarget, Peer, Tgtd

import mpio

IMAGE_BYTES = 256 << 20
RESULTS = Path(__file__).parent / "results"

Initiator = Callable[[Load, Sequence[str]], Sample]
CpuOf = Literal["initiator", "target"]


@dataclass
class Entrant:
    """One line of a race: who reads through what from which target."""

    name: str
    initiator: Initiator
    served: Peer
    paths: int = 1
    samples: list[Sample] = field(default_factory=list)
    target_cpu_us_per_io: list[float] = field(default_factory=list)

    def run(self, load: Load) -> None:
        """Add one sample."""
        before = self.served.cpu_s()
        sample = self.initiator(load, self.served.urls[: self.paths])
        self.samples.append(sample)
        self.target_cpu_us_per_io.append(1e6 * (self.served.cpu_s() - before) / sample.ios)

    @property
    def iops(self) -> float:
        """Median over the rounds."""
        return statistics.median(self.each_iops())

    def cpu_us_per_io(self, whose: CpuOf) -> float:
        """Median over the rounds."""
        return statistics.median(self.each_cpu(whose))

    def each_iops(self) -> list[float]:
        """One number a round."""
        return [sample.iops for sample in self.samples]

    def each_cpu(self, whose: CpuOf) -> list[float]:
        """CPU µs per I/O, one number a round."""
        return self.target_cpu_us_per_io if whose == "target" else [sample.cpu_us_per_io for sample in self.samples]


def ratio(own: list[float], reference: list[float]) -> float:
    """The median of the rounds' ratios."""
    return statistics.median(mine / its for mine, its in zip(own, reference, strict=True))


@dataclass
class Race:
    """Entrants under one load, that differ in initiator or in target. The first is the reference of the ratios."""

    title: str
    compares: CpuOf
    load: Load
    entrants: list[Entrant]


def races(served: dict[str, Peer], seconds: float) -> list[Race]:
    """What there is to compare, as far as the targets are there."""
    small = Load(4096, 32, is_random=True, seconds=seconds)
    large = Load(256 << 10, 8, is_random=False, seconds=seconds)
    found = []
    for name, target in served.items():
        for load in (small, large):
            entrants = [
                Entrant("libiscsi (iscsi-perf)", initiators.libiscsi, target),
                Entrant("QEMU (qemu-img bench)", initiators.qemu, target),
                Entrant("mpio, compiled", initiators.mpio_compiled, target),
                Entrant("mpio, compiled, two paths", initiators.mpio_compiled, target, paths=2),
                Entrant("mpio, plain Python", initiators.mpio, target),
            ]
            found.append(Race(f"initiators on {name}: {load}", "initiator", load, entrants))
    writes = [replace(load, is_write=True) for load in (small, large)]
    clients: list[tuple[str, Initiator, list[Load]]] = [
        ("iscsi-perf", initiators.libiscsi, [small, large]),
        ("qemu-img bench", initiators.qemu, [replace(load, is_random=False) for load in (small, large, *writes)]),
        ("mpio bench, compiled", initiators.mpio_compiled, [small, large, *writes]),
    ]
    for client, run, loads in clients:
        for load in loads:
            entrants = [Entrant(name, run, target) for name, target in served.items()]
            found.append(Race(f"targets under {client}: {load}", "target", load, entrants))
    return found


@contextlib.contextmanager
def targets(directory: Path) -> Iterator[dict[str, Peer]]:
    """Every target that is installed, each on a file of its own."""
    with contextlib.ExitStack() as stack:
        served = {}
        images = [directory / f"{number}.img" for number in range(3)]
        all_targets: list[Peer] = [Tgtd(directory, image=images[0]), Istgt(directory, image=images[1]),
                                   MpioTarget(directory, f"1=file:{images[2]}")]  # fmt: skip
        for target, image in zip(all_targets, images, strict=True):
            with image.open("wb") as file:  # written, not sparse: reading holes is not reading
                for _ in range(IMAGE_BYTES >> 20):
                    file.write(bytes(range(256)) * 4096)
            try:
                served[target.name] = stack.enter_context(target)
            except Missing as missing:
                say(f"left out: {target.name}: {missing}")
        yield served


def compete(races: Sequence[Race], rounds: int) -> int:
    """Run every entrant once a round; one whose program is missing or fails leaves the race. Returns the failures."""
    failures = 0
    for number in range(rounds):
        for race in races if number % 2 == 0 else reversed(races):
            for entrant in tuple(race.entrants if number % 2 == 0 else reversed(race.entrants)):
                say(f"round {number + 1}/{rounds}: {race.title}: {entrant.name}", end="\r")
                try:
                    entrant.run(race.load)
                except Missing as missing:
                    say(f"left out: {entrant.name}: {missing}")
                    race.entrants.remove(entrant)
                except RuntimeError as error:
                    say(f"failed: {race.title}: {entrant.name}: {error}")
                    race.entrants.remove(entrant)
                    failures += 1
    say()
    return failures


def table(race: Race) -> str:
    """The race as text: medians, the spread of IOPS, and ratios to the first entrant."""
    head = ("", "IOPS", "min..max", "MB/s", "CPU µs/IO", "p50 µs", "p99 µs", "IOPS", "CPU")
    rows: list[tuple[str, ...]] = [head]
    for entrant in race.entrants:
        reference = race.entrants[0]
        iops, cpu = entrant.iops, entrant.cpu_us_per_io(race.compares)
        every = entrant.each_iops()
        latencies = [sample.latency_us for sample in entrant.samples if sample.latency_us]
        rows.append((
            entrant.name, f"{iops:,.0f}", f"{min(every):,.0f}..{max(every):,.0f}",
            f"{iops * race.load.block_bytes / 1e6:,.0f}", f"{cpu:.1f}",
            *(f"{statistics.median(latency[name] for latency in latencies):,.0f}" if latencies else ""
              for name in ("p50", "p99")),
            f"x {ratio(every, reference.each_iops()):.2f}",
            f"x {ratio(entrant.each_cpu(race.compares), reference.each_cpu(race.compares)):.2f}",
        ))  # fmt: skip
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = []
    for row in rows:
        numbers = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(["", row[0].ljust(widths[0]), *numbers]).rstrip())
    return "\n".join([race.title, *lines])


def record(races: Sequence[Race], rounds: int) -> dict[str, object]:
    """Everything measured, and on what machine."""
    model = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
             if line.startswith("model name")]  # fmt: skip
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return {
        "version": 1,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "mpio": mpio.__version__,
        "commit": commit.stdout.strip(),
        "python": platform.python_version(),
        "kernel": platform.release(),
        "congestion_control": congestion_control(),
        "cpu": f"{len(model)} x {model[0] if model else platform.machine()}",
        "rounds": rounds,
        "races": [
            {
                "title": race.title,
                "cpu_of": race.compares,
                "load": asdict(race.load),
                "entrants": [
                    {
                        "name": entrant.name,
                        "paths": entrant.paths,
                        "iops": entrant.iops,
                        "mb_per_s": entrant.iops * race.load.block_bytes / 1e6,
                        "cpu_us_per_io": entrant.cpu_us_per_io(race.compares),
                        "iops_ratio": ratio(entrant.each_iops(), race.entrants[0].each_iops()),
                        "samples": [asdict(sample) for sample in entrant.samples],
                    }
                    for entrant in race.entrants
                ],
            }
            for race in races
        ],
    }


def congestion_control() -> str:
    """What TCP connections of this network namespace use."""
    return Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()


def say(text: str = "", end: str = "\n") -> None:
    """Progress, for people."""
    sys.stderr.write(f"\x1b[2K{text}{end}" if sys.stderr.isatty() else f"{text}\n" if end == "\n" and text else "")
    sys.stderr.flush()


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare mpio with its peers on this machine.")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each entrant; the median counts (5)")
    parser.add_argument("--seconds", type=float, default=3, help="length of one run (3)")
    parser.add_argument("--only", default="", metavar="TEXT", help="only races with this in their title")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mpio-bench-", dir="/dev/shm") as directory, targets(Path(directory)) as up:
        chosen = [race for race in races(up, arguments.seconds) if arguments.only in race.title]
        failures = compete(chosen, arguments.rounds)
    chosen = [race for race in chosen if race.entrants]
    for race in chosen:
        print(table(race), end="\n\n")
    print("Ratios are to the first line of each table, the median of each round's.")
    print("CPU: user and system, per I/O, of what is compared.")
    print(f"TCP congestion control: {congestion_control()}")
    RESULTS.mkdir(exist_ok=True)
    result = record(chosen, arguments.rounds)
    file = RESULTS / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{result['commit']}.json"
    file.write_text(json.dumps(result, indent=1) + "\n")
    print(f"written: {file}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
