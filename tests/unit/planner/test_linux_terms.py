"""Arithmetic of lists of terms."""

from hypothesis import given
from hypothesis import strategies as st

from mpio.planner.budget import Term
from mpio.planner.linux_terms import best_ns, lowered, remaining, sooner, worst_ns

TERMS = st.lists(
    st.tuples(st.integers(0, 1000), st.integers(0, 1000)).map(lambda pair: Term("t", min(pair), max(pair), "s")),
    max_size=6)


@given(TERMS, TERMS)
def test_the_sooner_of_two_ends(first: list[Term], second: list[Term]) -> None:
    chosen = sooner(first, second)
    assert best_ns(chosen) == min(best_ns(first), best_ns(second))
    assert worst_ns(chosen) == min(worst_ns(first), worst_ns(second))


@given(TERMS, st.integers(0, 8000))
def test_what_remains(terms: list[Term], elapsed_ns: int) -> None:
    left = remaining(terms, elapsed_ns)
    assert worst_ns(left) == max(worst_ns(terms) - elapsed_ns, 0)
    assert best_ns(left) <= max(best_ns(terms) - elapsed_ns, 0)
    assert all(0 <= term.best_ns <= term.value_ns for term in left)


@given(TERMS, st.integers(-1000, 8000))
def test_a_lowered_best_leaves_the_worst(terms: list[Term], by_ns: int) -> None:
    less = lowered(terms, by_ns)
    assert worst_ns(less) == worst_ns(terms)
    assert best_ns(less) == best_ns(terms) - min(max(by_ns, 0), best_ns(terms))
    assert all(term.best_ns >= 0 for term in less)
