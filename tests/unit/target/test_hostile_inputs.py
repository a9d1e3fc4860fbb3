"""A fixed sample of the inputs that `python -m fuzz.target_inputs` makes by the million."""

import pytest
from fuzz import target_inputs

from mpio.target.store import RamStore

INPUTS = 6000


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_target_stands_it(seed: int) -> None:
    counts = target_inputs.run(INPUTS, seed)
    assert counts["inputs"] >= INPUTS
    assert counts["full feature"] > 50, "most inputs should be seen by more than the login"


def test_the_same_seed_gives_the_same_inputs() -> None:
    assert target_inputs.run(500, 7) == target_inputs.run(500, 7)


def test_what_is_wrong_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sample gets as far as the store: a store that breaks there is noticed, and the seed is told."""

    def breaks(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(RamStore, "write", breaks)
    with pytest.raises(RuntimeError, match=r"seed 1, session .*ZeroDivisionError"):
        target_inputs.run(INPUTS, 1)
