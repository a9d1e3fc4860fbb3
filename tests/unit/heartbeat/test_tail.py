"""The tail of latencies: what is fitted is what was drawn, bounds hold, and what can't be told is not."""

import math
import random
from collections.abc import Callable
from statistics import NormalDist

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpio.heartbeat import tail
from mpio.heartbeat.tail import Fit, Pareto, estimate, fit_pareto, peaks_over, percentiles, upper_level_ns

NODE_YEAR = 1.58e7
MS = 1_000_000


def excesses(shape: float, count: int, seed: int) -> list[float]:
    rng = random.Random(seed)
    pareto = Pareto(shape, float(MS))
    return [pareto.quantile_ns(1 - rng.random()) for _ in range(count)]


def lognormal(count: int, seed: int, sigma: float = 0.5) -> list[int]:
    rng = random.Random(seed)
    return [round(MS * rng.lognormvariate(0, sigma)) for _ in range(count)]


@pytest.mark.parametrize("shape", [-0.4, -0.1, 0.0, 0.2, 0.4, 0.8])
def test_the_distribution_that_was_drawn_is_found(shape: float) -> None:
    found = fit_pareto(excesses(shape, 1000, seed=1))
    assert found.shape == pytest.approx(shape, abs=0.1)
    assert found.scale_ns == pytest.approx(MS, rel=0.1)


@given(st.floats(-0.9, 0.9), st.floats(1e-12, 1))
def test_beyond_and_quantile_undo_each_other(shape: float, beyond: float) -> None:
    pareto = Pareto(shape, float(MS))
    excess_ns = pareto.quantile_ns(beyond)
    back = pareto.quantile_ns(pareto.beyond(excess_ns)) if pareto.beyond(excess_ns) else excess_ns
    assert back == pytest.approx(excess_ns, rel=1e-3, abs=1)


@given(st.lists(st.floats(1, 1e12), min_size=1, max_size=60))
def test_any_excesses_have_a_finite_fit(values: list[float]) -> None:
    found = fit_pareto(values)
    assert math.isfinite(found.shape)
    assert math.isfinite(found.scale_ns)
    assert found.scale_ns > 0


def test_the_mean_excess_is_that_of_the_distribution() -> None:
    pareto = Pareto(0.2, float(MS))
    drawn = excesses(0.2, 200_000, seed=2)
    above = [value - MS for value in drawn if value > MS]
    assert sum(above) / len(above) == pytest.approx(pareto.mean_excess_ns(MS), rel=0.03)
    assert Pareto(1.0, 1.0).mean_excess_ns(0) == math.inf


def test_the_level_is_where_the_reference_has_it() -> None:
    """x_n = u + (sigma / xi) [(n zeta)^xi - 1], and u + sigma ln(n zeta) for a shape of 0."""
    fit = Fit(10 * MS, 0.05, 100, Pareto(0.2, float(MS)))
    assert fit.level_ns(1e6) == round(10 * MS + MS / 0.2 * ((1e6 * 0.05) ** 0.2 - 1))
    straight = Fit(10 * MS, 0.05, 100, Pareto(0.0, float(MS)))
    assert straight.level_ns(1e6) == round(10 * MS + MS * math.log(1e6 * 0.05))
    assert straight.level_ns(10) == 10 * MS  # ten heartbeats have none above
    assert fit.beyond(fit.level_ns(1e6)) * 1e6 == pytest.approx(1, rel=1e-3)


def test_levels_stay_finite() -> None:
    assert Fit(0, 0.05, 40, Pareto(0.49, 1e15)).level_ns(1e300) == tail.LEVEL_MAX_NS


def storms(count: int, seed: int) -> list[int]:
    """As `lognormal`, but slow heartbeats come together: a first-order autoregression of 0.8."""
    rng = random.Random(seed)
    found, level = [], 0.0
    for _ in range(count):
        level = 0.8 * level + 0.6 * rng.gauss(0, 1)
        found.append(round(MS * math.exp(0.5 * level)))
    return found


@pytest.mark.parametrize("sample", [lognormal, storms])
def test_the_upper_bound_covers_the_true_level_in_most_samples(sample: Callable[[int, int], list[int]]) -> None:
    """A level 300 times rarer than the samples are long; both kinds have the same one."""
    true_ns = math.exp(0.5 * NormalDist().inv_cdf(1 - 1e-6)) * MS
    found = [estimate(sample(3000, seed), 1e6) for seed in range(40)]
    fitted = [item for item in found if item.fit is not None]
    covered = [item for item in fitted if item.bound_ns is not None and item.bound_ns >= true_ns]
    assert len(fitted) >= 32
    assert len(covered) >= 0.8 * len(fitted)


def test_a_longer_sample_gives_a_closer_bound() -> None:
    widths = [[found.bound_ns / found.point_ns for seed in range(10)
               if (found := estimate(lognormal(count, seed), 1e6)).bound_ns] for count in (1000, 10_000)]
    assert sum(widths[1]) / len(widths[1]) < sum(widths[0]) / len(widths[0]) / 1.5


@given(st.integers(0, 1000), st.floats(10, 1e9))
@settings(max_examples=30)
def test_the_upper_bound_is_not_below_the_estimate(seed: int, heartbeats: float) -> None:
    peaks = peaks_over(lognormal(1000, seed), 2 * MS)
    fit = Fit(2 * MS, len(peaks) / 1000, len(peaks), fit_pareto(peaks))
    assert upper_level_ns(fit, peaks, heartbeats) >= fit.level_ns(heartbeats)


def test_the_level_is_never_below_the_longest_that_was_seen() -> None:
    for seed in range(5):
        values = lognormal(2000, seed)
        assert estimate(values, 1.0).level_ns >= max(values)


def test_a_bound_that_bounds_nothing_is_not_reckoned_with() -> None:
    """A thousand heartbeats and ten years: then it is the fit's own level, and never less than the plain one."""
    wide = estimate(lognormal(1000, 4, 0.8), 10 * NODE_YEAR)
    assert wide.bound_ns is not None
    assert wide.bound_ns > tail.WIDE * wide.longest_ns
    assert not wide.is_bounded
    assert wide.level_ns == max(wide.point_ns, wide.longest_ns + wide.longest_ns // 4)
    close = estimate(lognormal(20_000, 4, 0.8), 10 * NODE_YEAR)
    assert close.is_bounded
    assert close.level_ns == close.bound_ns


def test_too_few_peaks_are_not_extrapolated() -> None:
    found = estimate(lognormal(200, 1), NODE_YEAR)
    assert found.fit is None
    assert "too few" in found.why_plain
    assert found.level_ns == found.longest_ns + found.longest_ns // 4
    assert found.unseen == 3 / 200
    assert found.short


def test_a_heavy_tail_is_not_extrapolated() -> None:
    rng = random.Random(4)
    values = [round(MS * rng.paretovariate(1.1)) for _ in range(20_000)]
    found = estimate(values, NODE_YEAR)
    assert found.fit is None
    assert "too heavy" in found.why_plain


def test_a_level_far_beyond_what_was_seen_is_not_believed() -> None:
    """A shape of 0.35 is no heavy tail by itself, but a year from 700 heartbeats is too far."""
    rng = random.Random(8)
    pareto = Pareto(0.35, float(MS))
    found = estimate([MS + round(pareto.quantile_ns(1 - rng.random())) for _ in range(700)], NODE_YEAR)
    assert found.fit is None
    assert "too far beyond the longest seen" in found.why_plain
    assert found.level_ns == found.longest_ns + found.longest_ns // 4


@given(st.integers(0, 2**30), st.integers(50, 1500), st.floats(0.1, 1.5))
@settings(max_examples=30, deadline=None)
def test_what_is_reckoned_with_stays_near_what_was_seen(seed: int, count: int, sigma: float) -> None:
    found = estimate(lognormal(count, seed, sigma), NODE_YEAR)
    assert found.longest_ns <= found.level_ns <= tail.WIDE * found.longest_ns


def test_a_level_that_rises_with_the_sample_is_not_believed() -> None:
    """Quiet in the first half, stalls in the second."""
    values = lognormal(5000, 1, 0.1) + [value * (1 + (index % 40 == 0) * 8) for index, value in
                                        enumerate(lognormal(5000, 2, 0.1))]
    found = estimate(values, NODE_YEAR)
    assert found.fit is None
    assert found.why_plain


def test_a_constant_latency_has_no_tail() -> None:
    found = estimate([MS] * 1000, NODE_YEAR)
    assert found.fit is None
    assert found.longest_ns == MS
    with pytest.raises(ValueError, match="at least one"):
        estimate([], NODE_YEAR)


def test_one_latency_is_enough_for_a_plain_bound() -> None:
    found = estimate([MS], NODE_YEAR)
    assert (found.fit, found.unseen, found.level_ns) == (None, 1.0, MS + MS // 4)


def test_latencies_that_do_not_depend_on_each_other_are_a_storm_each() -> None:
    values = lognormal(2000, 3)
    above = [value - 2 * MS for value in values if value > 2 * MS]
    assert len(peaks_over(values, 2 * MS)) >= 0.8 * len(above)


def test_a_storm_is_one_peak() -> None:
    storm = [1] * 100 + [5, 9, 7, 8]
    assert peaks_over(storm * 10, 2) == [7] * 10
    assert peaks_over([1, 2, 1], 2) == []
    assert peaks_over([1, 5, 1], 2) == [3]


@given(st.lists(st.integers(0, 100), max_size=200), st.integers(0, 100))
def test_the_highest_peak_is_the_longest_latency(values: list[int], from_ns: int) -> None:
    peaks = peaks_over(values, from_ns)
    assert all(peak > 0 for peak in peaks)
    if max(values, default=0) > from_ns:
        assert max(peaks) == max(values) - from_ns
    else:
        assert peaks == []


def test_large_samples_are_fitted_further_out() -> None:
    found = estimate(lognormal(60_000, 5), NODE_YEAR)
    assert found.fit is not None
    assert tail.PEAKS_MIN <= found.fit.peaks <= tail.PEAKS_MAX
    assert found.fit.share <= 0.02


def test_percentiles_are_values_that_were_measured() -> None:
    assert percentiles(range(1, 1001)) == {"p50": 500, "p90": 900, "p99": 990, "p999": 999, "max": 1000}
    assert percentiles([7]) == dict.fromkeys(("p50", "p90", "p99", "p999", "max"), 7)
    assert percentiles([]) == {}
