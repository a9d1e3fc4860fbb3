"""The map under random faults in virtual time: hypothesis looks for the small counter-example, a swarm goes deep."""

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.unit.engine.engine_kit import MS
from tests.unit.engine.fault_model import PATHS_MAX, WAITS_MS, Early, FaultModel

from mpio.model.task import Outcome

POLICIES = ["failover", "multibus", "group_by_prio"]
SELECTORS = ["round-robin", "queue-length", "service-time"]
RETRIES: list[str | int] = ["fail", "queue", 3]
FAILBACKS: list[str | int] = ["immediate", "manual", "followover", 2]
DAMPING = {"san_path_err_threshold": 2, "san_path_err_forget_rate": 5, "san_path_err_recovery_time": 20}
INDEX = st.integers(0, 31)


class Machine(RuleBasedStateMachine):
    """The steps of the fault model as rules."""

    model: FaultModel | None = None

    @initialize(
        paths=st.integers(1, PATHS_MAX), policy=st.sampled_from(POLICIES), selector=st.sampled_from(SELECTORS),
        recovery=st.sampled_from([0, 2]), retry=st.sampled_from(RETRIES), failback=st.sampled_from(FAILBACKS),
        depth=st.sampled_from([1, 3, 32]), damping=st.sampled_from([{}, DAMPING]), marginal=st.booleans())
    def start(self, paths: int, policy: str, selector: str, recovery: int, retry: str | int, failback: str | int,
              depth: int, damping: dict[str, Any], marginal: bool) -> None:
        self.model = FaultModel(
            paths, path_grouping_policy=policy, path_selector=selector, fast_io_fail_tmo=recovery, no_path_retry=retry,
            failback=failback, queue_depth=depth, marginal_pathgroups=marginal, **damping)

    @property
    def m(self) -> FaultModel:
        assert self.model is not None
        return self.model

    @rule(block=st.integers(0, 64), blocks=st.integers(1, 5))
    def read(self, block: int, blocks: int) -> None:
        self.m.read(block, blocks)

    @rule(block=st.integers(0, 64), blocks=st.integers(1, 5))
    def write(self, block: int, blocks: int) -> None:
        self.m.write(block, blocks)

    @rule(block=st.integers(0, 64))
    def discard(self, block: int) -> None:
        self.m.discard(block)

    @rule()
    def flush(self) -> None:
        self.m.flush()

    @rule(which=INDEX, count=st.integers(1, 8))
    def answer(self, which: int, count: int) -> None:
        for _ in range(count):
            self.m.answer(which)

    @rule(which=INDEX, condition=INDEX)
    def answer_with_sense(self, which: int, condition: int) -> None:
        self.m.answer_with_sense(which, condition)

    @rule(which=INDEX, status=INDEX)
    def answer_with_status(self, which: int, status: int) -> None:
        self.m.answer_with_status(which, status)

    @rule(which=INDEX)
    def answer_short(self, which: int) -> None:
        self.m.answer(which, residual=512)

    @rule(which=INDEX, outcome=st.sampled_from([Outcome.ABORTED, Outcome.CLEARED, Outcome.NOT_SENT]))
    def end_without_effect(self, which: int, outcome: Outcome) -> None:
        self.m.answer(which, outcome)

    @rule(which=INDEX)
    def land(self, which: int) -> None:
        self.m.land(which)

    @rule(which=INDEX, not_sent=st.integers(0, 3), told_late=st.booleans())
    def lose(self, which: int, not_sent: int, told_late: bool) -> None:
        self.m.lose(which, not_sent, told_late=told_late)

    @rule(path_id=st.integers(1, PATHS_MAX))
    def log_in(self, path_id: int) -> None:
        self.m.log_in(path_id)

    @rule(path_id=st.integers(1, PATHS_MAX), which=INDEX)
    def log_in_elsewhere(self, path_id: int, which: int) -> None:
        self.m.log_in_elsewhere(path_id, which)

    @rule()
    def take_actions(self) -> None:
        self.m.take_actions()

    @precondition(lambda self: self.model is not None and self.model.fences)
    @rule(which=INDEX, works=st.booleans())
    def answer_fence(self, which: int, works: bool) -> None:
        self.m.answer_fence(which, works=works)

    @rule(ms=st.sampled_from(WAITS_MS))
    def wait(self, ms: int) -> None:
        self.m.wait(ms * MS)

    @rule()
    def early_timer(self) -> None:
        self.m.map.handle_timer(self.m.now)

    @invariant()
    def check(self) -> None:
        if self.model is not None:
            self.model.check()

    def teardown(self) -> None:
        if self.model is not None:
            self.model.heal()


TestMachine = Machine.TestCase
TestMachine.settings = settings(
    max_examples=100, stateful_step_count=40, deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much])


def random_model(rng: random.Random, **fixed: Any) -> FaultModel:
    chosen: dict[str, Any] = {
        "path_grouping_policy": rng.choice(POLICIES), "path_selector": rng.choice(SELECTORS),
        "fast_io_fail_tmo": rng.choice([0, 0, 2]), "no_path_retry": rng.choice(RETRIES),
        "failback": rng.choice(FAILBACKS), "queue_depth": rng.choice([1, 3, 32]),
        "marginal_pathgroups": rng.random() < 0.3, **(DAMPING if rng.random() < 0.3 else {})}
    return FaultModel(rng.randint(1, PATHS_MAX), **chosen | fixed)


def play(model: FaultModel, rng: random.Random, steps: int) -> None:
    """Random steps; how often a kind of step comes is itself drawn, so that runs differ in character."""

    def pick() -> int:
        return rng.randrange(1 << 16)

    kinds: list[Callable[[], None]] = [
        lambda: model.read(pick() % 65, pick() % 5 + 1), lambda: model.write(pick() % 65, pick() % 5 + 1),
        lambda: model.discard(pick() % 65), model.flush,
        *[lambda: model.answer(pick())] * 6,
        lambda: model.answer_with_sense(pick(), pick()), lambda: model.answer_with_status(pick(), pick()),
        lambda: model.answer(pick(), residual=512),
        lambda: model.answer(pick(), rng.choice([Outcome.ABORTED, Outcome.CLEARED, Outcome.NOT_SENT])),
        lambda: model.land(pick()), lambda: model.lose(pick(), pick() % 4, told_late=rng.random() < 0.3),
        *[lambda: model.log_in(pick() % PATHS_MAX + 1)] * 3,
        lambda: model.log_in_elsewhere(pick() % PATHS_MAX + 1, pick()),
        *[model.take_actions] * 2, lambda: model.answer_fence(pick(), works=rng.random() < 0.6),
        lambda: model.wait(rng.choice(WAITS_MS) * MS),
    ]
    weights = [rng.choice([0.2, 1, 1, 3]) for _ in kinds]
    for step in rng.choices(kinds, weights, k=steps):
        step()
        model.check()
    model.heal()


def test_swarm() -> None:
    seen: dict[str, int] = {}
    for seed in range(400):
        rng = random.Random(seed)
        model = random_model(rng)
        try:
            play(model, rng, steps=200)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        for what, count in model.seen.items():
            seen[what] = seen.get(what, 0) + count
    for what in ("ok", "TargetError", "OutcomeUnknown", "NoUsablePath", "QueueFull", "left in doubt", "fenced",
                 "fence failed", "fence overtaken"):
        assert seen.get(what, 0) >= 20, f"the swarm hardly ever sees {what!r}: {seen}"


@pytest.mark.parametrize("seed", range(3))
def test_with_fence_none_the_model_sees_early_writes(seed: int) -> None:
    """The test of the test: what Linux does is caught."""
    rng = random.Random(seed)

    def runs() -> None:
        for _ in range(50):
            play(random_model(rng, fence="none", no_path_retry="queue"), rng, steps=150)

    with pytest.raises(Early, match="sent again while a copy is live"):
        runs()
