"""Who sets recovery_tmo, and when multipathd leaves it alone."""

import pytest

from mpio.config.recovery import recovery
from mpio.model.stack import LinuxStack

QUEUE_20_S = LinuxStack(fast_io_fail_tmo=25, no_path_retry=4, polling_interval=5)


@pytest.mark.parametrize(("stack", "seconds"), [
    (LinuxStack(), 5),
    (LinuxStack(fast_io_fail_tmo=None), 120),
    (LinuxStack(fast_io_fail_tmo=0), 120),
    (LinuxStack(fast_io_fail_tmo=None, replacement_timeout=-1), None),
    (LinuxStack(fast_io_fail_tmo=None, replacement_timeout=0), 0),
    (LinuxStack(multipath=False), 120),
    (LinuxStack(multipath_tools=(0, 4, 9)), 120),
    (LinuxStack(dev_loss_tmo=5), 120),
    (LinuxStack(dev_loss_tmo=6), 5),
    (LinuxStack(dev_loss_tmo=5, no_path_retry=12), 5),  # raised to what the queue needs
    (LinuxStack(dev_loss_tmo=5, no_path_retry="queue"), 5),
    (LinuxStack(no_path_retry="queue", multipath_tools=(0, 14, 3)), 5),
])
def test_who_wins(stack: LinuxStack, seconds: int | None) -> None:
    found = recovery(stack)
    assert (found.best_s, found.worst_s) == (seconds, seconds)
    assert bool(found.skipped) == (found.source == "replacement_timeout")


@pytest.mark.parametrize(("tools", "seconds"), [
    ((0, 8, 4), 120),  # the queue's 20 s stand in for dev_loss_tmo
    ((0, 8, 5), 25),  # nothing is compared while dev_loss_tmo is not set
    ((0, 9, 4), 25),
    ((0, 9, 6), 120),
    ((0, 9, 9), 120),  # 20 + 0 + 5
    ((0, 14, 3), 120),
])
def test_a_queue_can_turn_the_override_off(tools: tuple[int, ...], seconds: int) -> None:
    found = recovery(QUEUE_20_S.replace(multipath_tools=tools))
    assert found.worst_s == seconds
    assert ("not smaller than dev_loss_tmo" in found.skipped) == (seconds == 120)


@pytest.mark.parametrize(("tools", "seconds"), [((0, 9, 6), 120), ((0, 9, 8), 120), ((0, 9, 9), 22)])
def test_newer_ones_leave_room_for_slow_checks(tools: tuple[int, ...], seconds: int) -> None:
    assert recovery(QUEUE_20_S.replace(fast_io_fail_tmo=22, multipath_tools=tools)).worst_s == seconds


def test_kernels_before_4_2_forget_it_at_each_login() -> None:
    old = LinuxStack(kernel=(3, 10))
    assert (recovery(old).best_s, recovery(old).worst_s) == (5, 120)
    assert (recovery(old.replace(replacement_timeout=-1)).best_s, recovery(old).source.split(",")[0]) == (
        5, "fast_io_fail_tmo")
    assert recovery(old.replace(replacement_timeout=-1)).worst_s is None
