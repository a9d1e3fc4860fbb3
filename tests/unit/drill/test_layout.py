"""Where things are on the LU, and which wires are one: laws over all scenarios of nodes."""

import dataclasses
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpio.drill.layout import HEARTBEAT_BYTES, SERVICE_BYTES, check_layout, layout_of, region_within
from mpio.drill.parse import parse_scenario
from mpio.drill.scenario import ClusterSpec, Scenario, Wire
from mpio.errors import InputError

NODES = st.integers(1, 8)
BLOCKS = st.sampled_from([512, 4096])


def scenario(nodes: int, offset: int, region: int, **cluster: str) -> Scenario:
    plain = parse_scenario("")
    return dataclasses.replace(plain, cluster=ClusterSpec(nodes=nodes, **cluster),  # type: ignore[arg-type]
                               workload=dataclasses.replace(plain.workload, offset=offset, region=region))


@given(NODES, BLOCKS, st.integers(0, 1000), st.integers(16, 4096))
def test_nothing_overlaps_and_all_is_whole_blocks(nodes: int, block: int, offset: int, region: int) -> None:
    layout = layout_of(scenario(nodes, offset * block, region * block))
    parts = [(layout.region_offset(node), layout.region_offset(node) + layout.region)
             for node in range(1, nodes + 1)]
    if nodes > 1:
        parts += [(layout.service_offset, layout.service_offset + SERVICE_BYTES),
                  (layout.heartbeat_offset, layout.heartbeat_offset + HEARTBEAT_BYTES)]
    assert parts[0][0] == offset * block
    assert all(one[1] == other[0] for one, other in pairwise(parts))
    assert parts[-1][1] == layout.end
    assert all(begin % block == 0 for begin, _ in parts)


@given(NODES, BLOCKS, st.integers(1, 1 << 30))
def test_a_length_holds_what_is_cut_from_it(nodes: int, block: int, length: int) -> None:
    region = region_within(length, nodes, block)
    if region > 0:
        assert layout_of(scenario(nodes, 0, region)).end <= length
        assert layout_of(scenario(nodes, 0, region + block)).end > length


@given(NODES, st.integers(0, 64))
def test_an_lu_that_is_a_block_too_small_is_refused(nodes: int, offset: int) -> None:
    found = scenario(nodes, offset * 512, 1 << 20)
    end = layout_of(found).end

    def error(key: str, message: str) -> InputError:
        return InputError(key, message)

    check_layout(found, end, 512, error)
    with pytest.raises(InputError, match="region: expected"):
        check_layout(found, end - 512, 512, error)


@pytest.mark.parametrize("cluster", ["separate", "storage"])
@pytest.mark.parametrize("client", ["separate", "cluster", "storage"])
def test_which_wires_fall_together(cluster: str, client: str) -> None:
    found = scenario(2, 0, 1 << 20, cluster_network=cluster, client_network=client)
    with_first_path = {link for link, shares in (("cluster", cluster), ("client", client)) if shares == "storage"}
    if client == "cluster" and cluster == "storage":
        with_first_path.add("client")
    for node in (1, 2):
        assert {wire.link for wire in found.riding(Wire("storage", node, 1))} == with_first_path
        assert found.riding(Wire("storage", node, 2)) == ()
        with_cluster = [wire.link for wire in found.riding(Wire("cluster", node))]
        assert with_cluster == (["client"] if client == "cluster" else [])
        assert found.riding(Wire("client", node)) == ()
        assert all(wire.node == node for wire in found.riding(Wire("storage", node, 1)))


def test_a_single_node_shares_nothing() -> None:
    assert scenario(1, 0, 1 << 20, cluster_network="storage").riding(Wire("storage", 1, 1)) == ()
