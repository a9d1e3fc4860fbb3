"""Are two paths worth it: `python -m bench.paths`. One path against two on the same target, in one process.

Both maps are open all the time and are read from in turns, a few tenths of a second each, so that what else the machine
does hits both alike. What counts is the median of the ratios of neighbours. See `bench.run` about congestion control.
"""

import argparse
import asyncio
import random
import statistics
import tempfile
from pathlib import Path

from bench.run import targets
from tests.peers import Peer

import mpio
from mpio.io.benchmark import Load, LoadResult, run_load
from mpio.io.disk import Disk
from mpio.model.address import TargetAddress
from mpio.model.settings import FAST
from mpio.units import NS_PER_S

LOADS = (
    Load(4096, 32, NS_PER_S // 2, NS_PER_S // 10, pattern="random"),
    Load(256 << 10, 8, NS_PER_S // 2, NS_PER_S // 10, pattern="sequential"),
)
SETTINGS = FAST.replace(login_timeout=10.0)  # istgt takes its time


async def compare(served: Peer, load: Load, rounds: int) -> list[tuple[LoadResult, LoadResult]]:
    """The load by one path and by two, in random order, so many times."""
    addresses = [TargetAddress.parse(url) for url in served.urls[:2]]
    pairs = []
    async with mpio.open_map(addresses[:1], SETTINGS) as one, mpio.open_map(addresses, SETTINGS) as two:
        disks: list[Disk] = [one, two]
        for _ in range(rounds):
            results: dict[Disk, LoadResult] = {}
            for disk in random.sample(disks, 2):
                results[disk] = await run_load(disk, load)
            pairs.append((results[one], results[two]))
    return pairs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=25)
    options = parser.parse_args()
    print(f"{'':34} {'one path':>10} {'two paths':>10} {'IOPS':>7} {'quartiles':>14} {'CPU':>7}")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory, targets(Path(directory)) as served:
        for name, target in served.items():
            for load in LOADS:
                pairs = asyncio.run(compare(target, load, options.rounds))
                ratios = [two.iops / one.iops for one, two in pairs]
                low, middle, high = statistics.quantiles(ratios, n=4)
                cpu = statistics.median(two.cpu_us_per_io / one.cpu_us_per_io for one, two in pairs)
                one_path, two_paths = (statistics.median(result.iops for result in results)
                                       for results in zip(*pairs, strict=True))
                title = f"{name}: {load.block_bytes >> 10} KiB, depth {load.queue_depth}"
                print(f"{title:34} {one_path:10,.0f} {two_paths:10,.0f} x {middle:.2f} "
                      f"  {low:.2f} .. {high:.2f} x {cpu:.2f}")


if __name__ == "__main__":
    main()
