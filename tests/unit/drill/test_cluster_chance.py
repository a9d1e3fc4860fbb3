"""Nodes under random faults, in virtual time: whatever is cut when, the claims about nodes hold.

Each seed is a schedule of cuts of paths, of the nodes' network and of the clients', of crashes and pills.
"""

import random
from pathlib import Path

import pytest
from tests.unit.drill.cluster_fakes import ClusterWorld
from tests.unit.drill.fakes import run_virtual
from tests.unit.drill.test_cluster import text

from mpio.check.verdict import Result
from mpio.drill.parse import parse_scenario
from mpio.drill.runner import DrillRequest, DrillResult, run_drill

SEEDS = 5
KINDS = ("own", "o2cb", "sbd")


def schedule(rng: random.Random, nodes: int) -> str:
    """Some steps, legal one after the other."""
    cut: list[str] = []
    ended: set[int] = set()
    steps = []
    for _ in range(rng.randint(2, 6)):
        delay = f"delay = {round(rng.uniform(0.5, 12), 1)}"
        roll = rng.random()
        if cut and roll < 0.4:
            steps.append(f"[[step]]\naction = \"heal\"\n{cut.pop(rng.randrange(len(cut)))}\n{delay}")
        elif roll < 0.9:
            network = rng.choice(["storage", "storage", "cluster", "client"])
            where = f"node = {rng.randint(1, nodes)}\nnetwork = \"{network}\""
            if network == "storage":
                where += f"\npath = {rng.choice([1, 2])}" if rng.random() < 0.6 else "\npath = \"all\""
            clash = where.replace("path = 1", "path = \"all\"").replace("path = 2", "path = \"all\"")
            if any(clash == other.replace("path = 1", "path = \"all\"").replace("path = 2", "path = \"all\"")
                   for other in cut):
                continue
            cut.append(where)
            steps.append(f"[[step]]\naction = \"inject\"\n{where}\nexpect = \"any\"\n{delay}")
        else:
            node = rng.randint(1, nodes)
            if len(ended | {node}) < nodes:
                ended.add(node)
                steps.append(f"[[step]]\naction = \"{rng.choice(['crash', 'poison'])}\"\nnode = {node}\n{delay}")
    steps.append("[[step]]\naction = \"wait\"\nduration = 20")
    return "\n".join(steps)


def chance_run(tmp_path: Path, seed: int, kind: str) -> tuple[str, DrillResult]:
    rng = random.Random(f"{kind}:{seed}")
    nodes = rng.randint(2, 4)
    scenario = text("\n" + schedule(rng, nodes), nodes=nodes, kind=kind, threshold=rng.choice([5, 7]))
    request = DrillRequest(parse_scenario(scenario), tmp_path / "run", seed=seed)
    return scenario, run_virtual(run_drill(request, ClusterWorld()))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(SEEDS))
def test_no_schedule_breaks_a_claim(tmp_path: Path, seed: int, kind: str) -> None:
    scenario, result = chance_run(tmp_path, seed, kind)
    broken = {claim.name: claim.detail for claim in result.claims if claim.result is Result.FAIL}
    assert broken == {}, scenario
