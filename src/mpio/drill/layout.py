"""Where on the LU everything of a drill is: a stripe of the workload for each node, then what the nodes share.

    offset                                                            (all of whole blocks)
    | region of node 1 | region of node 2 | … | the service's blocks | heartbeats |

With one node there is nothing but its region.
"""

from collections.abc import Callable
from dataclasses import dataclass

from mpio.drill.scenario import Scenario
from mpio.errors import InputError

SERVICE_BYTES = 64 << 10
HEARTBEAT_BYTES = 4 << 20  # 255 slots of any format at any block size, and their header
SHARED_BYTES = SERVICE_BYTES + HEARTBEAT_BYTES


@dataclass(frozen=True, slots=True)
class Layout:
    """Offsets and lengths in bytes. `shared` tells whether there is anything but the regions."""

    offset: int
    region: int
    nodes: int
    shared: bool

    def region_offset(self, node: int) -> int:
        """Where the region of a node, from 1, begins."""
        return self.offset + (node - 1) * self.region

    @property
    def service_offset(self) -> int:
        """Where the service's blocks begin."""
        return self.offset + self.nodes * self.region

    @property
    def heartbeat_offset(self) -> int:
        """Where the heartbeats begin."""
        return self.service_offset + SERVICE_BYTES

    @property
    def end(self) -> int:
        """Where all of it ends."""
        return self.heartbeat_offset + HEARTBEAT_BYTES if self.shared else self.service_offset


def layout_of(scenario: Scenario) -> Layout:
    """The scenario's, from its workload's offset on, with a region for each node."""
    workload, nodes = scenario.workload, scenario.cluster.nodes
    return Layout(workload.offset, workload.region, nodes, shared=nodes > 1)


def region_within(length: int, nodes: int, block_size: int) -> int:
    """The region for each node where all of it must fit into `length` bytes; zero or less where it can't."""
    return (length - (SHARED_BYTES if nodes > 1 else 0)) // nodes // block_size * block_size


def check_layout(scenario: Scenario, size_bytes: int, block_size: int,
                 error: Callable[[str, str], InputError]) -> None:
    """Whether all of it fits an LU. Raises what `error(key, message)` makes."""
    workload, layout = scenario.workload, layout_of(scenario)
    if workload.offset % block_size or workload.region % block_size:
        key = "offset" if workload.offset % block_size else "region"
        raise error(key, f"expected whole blocks of {block_size} bytes")
    if layout.end > size_bytes:
        what = "a region" if layout.nodes == 1 else (
            f"regions of {layout.nodes} nodes, and {SHARED_BYTES} bytes for what they share,")
        raise error("region", f"expected {what} within the LU of {size_bytes} bytes, found an end at {layout.end}")
    for size in workload.block_sizes:
        if size % block_size:
            raise error("block_sizes", f"expected whole blocks of {block_size} bytes, found {size}")
