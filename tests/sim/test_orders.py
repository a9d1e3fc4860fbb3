"""Orders to the target in virtual time: filters count, wait and end by its clock, the same in every run."""

from mpio.check.verdict import Result
from mpio.drill.parse import parse_scenario
from mpio.model.settings import profile
from mpio.sim.run import simulate

STEPS = """
[scenario]
duration = "20s"
[[step]]
action = "order"
at = "2s"
order = { do = "add", name = "delay", time = "40ms", rate = 0.2, lasts = "5s" }
[[step]]
action = "order"
at = "4s"
order = { do = "add", name = "%s", opcode = "write", count = 4 }
"""


def test_what_can_be_ridden_through_is_the_same_each_time() -> None:
    scenario = parse_scenario(STEPS % "busy")
    one, two = (simulate(scenario, 3, profile("fast")) for _ in range(2))
    assert one.verdict is Result.PASS
    assert one.digest == two.digest
    assert simulate(scenario, 4, profile("fast")).digest != one.digest


def test_lost_writes_are_found() -> None:
    assert simulate(parse_scenario(STEPS % "lost-write"), 3, profile("fast")).verdict is Result.FAIL
