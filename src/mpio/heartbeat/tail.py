"""How long a heartbeat's I/O can take: the tail of measured latencies, extended by extreme-value theory or left alone.

Peaks over threshold: what lies above a high quantile u follows a generalised Pareto distribution (shape xi, scale
sigma), so the latency that one of n heartbeats exceeds is u + (sigma / xi) ((n zeta)^xi - 1), where zeta is the share
above u. A threshold should rest on the upper 95 % confidence bound of that level, which comes from its profile
likelihood: a bootstrap's bound, tried on samples of known distributions, fell short of the true level twice as often.
Where the tail is too heavy (xi from 0.5), still grows with the sample, or has too few peaks, nothing is extrapolated:
what is left is the longest latency seen, and that at most 3 / m of all heartbeats take longer (95 %).

Sources: Pickands 1975; Zhang and Stephens, Technometrics 51 (2009): an estimate that always exists; Ferro and Segers,
J. R. Stat. Soc. B 65 (2003): which latencies are one storm; Coles, An Introduction to Statistical Modeling of Extreme
Values (2001), 4.3.3: the profile likelihood of a level.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from mpio.units import NS_PER_S, format_duration

QUANTILES = (0.95, 0.96, 0.97, 0.98, 0.99)
"""Where the tail may begin; the lowest is taken from which the mean excess is as the fit has it."""
PEAKS_MIN = 30
"""Fewer peaks say nothing of a shape."""
PEAKS_MAX = 1_000
"""More cost time and move nothing; the tail then begins further out."""
HEAVY_SHAPE = 0.5
"""From here on the tail has no variance worth the name: it belongs to failovers, whose cause is to be removed."""
SAMPLES_WANTED = 100_000
"""Heartbeats that a forecast for a year should rest on; with fewer the bound is still given, and called short."""
WIDE = 10
"""So many times the longest latency seen is too far from it: a bound there bounds nothing, a level is not believed."""
LEVEL_MAX_NS = 86_400 * NS_PER_S
"""A day: a level beyond is no latency, and numbers stay finite."""
_LIKELIHOOD_DROP = 2.706 / 2  # half of the 90 % quantile of chi squared: 95 % on one side
_SHAPES = (-1.0, 1.5)  # that a bound is sought among
_GOLDEN = (math.sqrt(5) - 1) / 2
_NARROWINGS = 24  # of a search; the last is a millionth of the first
_EXPONENT_MAX = 500.0
_STRAIGHT = 1e-9  # a shape so near to 0 is 0: the exponential distribution


@dataclass(frozen=True, slots=True)
class Pareto:
    """A generalised Pareto distribution: of what exceeds u, by how much.

    Attributes:
        shape: xi; negative: there is a longest latency. scale_ns: sigma.
    """

    shape: float
    scale_ns: float

    def quantile_ns(self, beyond: float) -> float:
        """The excess that is exceeded with this probability, above 0 and up to 1."""
        exponent = -math.log(beyond)
        if abs(self.shape) < _STRAIGHT:
            return self.scale_ns * exponent
        return self.scale_ns * math.expm1(min(self.shape * exponent, _EXPONENT_MAX)) / self.shape

    def beyond(self, excess_ns: float) -> float:
        """The probability of a larger excess."""
        if excess_ns <= 0:
            return 1.0
        if abs(self.shape) < _STRAIGHT:
            return math.exp(-excess_ns / self.scale_ns)
        inner = 1 + self.shape * excess_ns / self.scale_ns
        return 0.0 if inner <= 0 else math.exp(-math.log(inner) / self.shape)

    def mean_excess_ns(self, above_ns: float) -> float:
        """The mean excess over `above_ns` of what exceeds that; infinite from a shape of 1."""
        return (self.scale_ns + self.shape * above_ns) / (1 - self.shape) if self.shape < 1 else math.inf


@dataclass(frozen=True, slots=True)
class Fit:
    """The tail of a sample.

    Attributes:
        from_ns: u.
        share: zeta, of all heartbeats those above u. All of a storm count, so that levels are on the safe side however
            close the heartbeats were that were measured.
        peaks: storms above u, each counted once.
        pareto: of the peaks' excess over u.
    """

    from_ns: int
    share: float
    peaks: int
    pareto: Pareto

    def level_ns(self, heartbeats: float) -> int:
        """The latency that one of so many heartbeats exceeds; u if so many have none above it."""
        expected = heartbeats * self.share
        if expected <= 1:
            return self.from_ns
        return min(LEVEL_MAX_NS, round(self.from_ns + self.pareto.quantile_ns(1 / expected)))

    def beyond(self, latency_ns: int) -> float:
        """The probability that a heartbeat takes longer, for a latency above u."""
        return self.share * self.pareto.beyond(latency_ns - self.from_ns)


@dataclass(frozen=True, slots=True)
class Tail:
    """What is known of the longest latencies.

    Attributes:
        samples: how many were measured. longest_ns: the longest of them.
        heartbeats: n, the number that a level is for.
        fit: the tail; None where nothing may be extrapolated. point_ns: the level it gives.
        bound_ns: of that level, with 95 % confidence; None without a fit.
        level_ns: to be reckoned with: the bound; where that is too wide to be of use, what the fit gives, and where
            there is no fit, a quarter more than the longest seen.
        why_plain: why there is no fit, in words; empty if there is one.
        short: whether the sample is smaller than such a forecast should rest on.
    """

    samples: int
    longest_ns: int
    heartbeats: float
    fit: Fit | None
    point_ns: int
    bound_ns: int | None
    level_ns: int
    why_plain: str
    short: bool

    @property
    def is_bounded(self) -> bool:
        """Whether the level is one that holds with 95 % confidence."""
        return self.bound_ns is not None and self.level_ns >= self.bound_ns

    @property
    def unseen(self) -> float:
        """The share of heartbeats that may take longer than the longest seen, with 95 % confidence: 3 / m."""
        return min(1.0, 3 / self.samples)


class Distribution:
    """Latencies to be drawn: those that were measured, above u those of the fit.

    Args:
        latencies_ns: as measured, in any order; at least one.
        fit: of their tail, or None.
    """

    def __init__(self, latencies_ns: Sequence[int], fit: Fit | None) -> None:
        self._ordered = sorted(latencies_ns)
        self._fit = fit

    def at(self, uniform: float) -> int:
        """The latency that this share, from 0 up to 1, of all heartbeats stays below."""
        fit, beyond = self._fit, 1 - uniform
        if fit is not None and beyond < fit.share:
            return min(LEVEL_MAX_NS, round(fit.from_ns + fit.pareto.quantile_ns(max(beyond / fit.share, 1e-300))))
        return self._ordered[int(uniform * len(self._ordered))]


def percentiles(latencies_ns: Sequence[int]) -> dict[str, int]:
    """p50, p90, p99, p99.9 and max, each a value that was measured. Empty for an empty sample."""
    if not latencies_ns:
        return {}
    ordered = sorted(latencies_ns)
    shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999, "max": 1.0}
    return {name: ordered[max(0, math.ceil(share * len(ordered)) - 1)] for name, share in shares.items()}


def estimate(latencies_ns: Sequence[int], heartbeats: float) -> Tail:
    """The tail of latencies in the order in which they were measured.

    Args:
        latencies_ns: one for each heartbeat; at least one.
        heartbeats: n; for a node-year at a period of 2 s, 1.58e7.

    Raises:
        ValueError: without any latency.
    """
    if not latencies_ns:
        raise ValueError("expected at least one heartbeat's latency, found none")
    samples, longest_ns = len(latencies_ns), max(latencies_ns)
    fit, peaks = _fit(latencies_ns)
    if fit is None:
        why = f"too few peaks to fit a tail: {len(peaks)}, expected {PEAKS_MIN}"
    elif fit.pareto.shape >= HEAVY_SHAPE:
        why = f"the tail is too heavy to extrapolate: shape {fit.pareto.shape:.2f}, expected less than {HEAVY_SHAPE}"
    elif fit.level_ns(heartbeats) > WIDE * longest_ns:
        why = (f"the fitted tail leads to {format_duration(fit.level_ns(heartbeats))}, too far beyond the longest seen "
               "to be believed: measure for longer")
    else:
        why = _still_rising(latencies_ns, fit, heartbeats)
    short = samples < SAMPLES_WANTED
    more_ns = longest_ns + longest_ns // 4
    if fit is None or why:
        return Tail(samples, longest_ns, heartbeats, None, longest_ns, None, more_ns, why, short)
    point_ns, bound_ns = fit.level_ns(heartbeats), upper_level_ns(fit, peaks, heartbeats)
    level_ns = max(bound_ns, longest_ns) if bound_ns <= WIDE * longest_ns else max(point_ns, more_ns)
    return Tail(samples, longest_ns, heartbeats, fit, point_ns, bound_ns, level_ns, "", short)


def peaks_over(latencies_ns: Sequence[int], from_ns: int) -> list[int]:
    """The excess over u of each storm's highest latency.

    How many storms there are follows from the times between exceedances (Ferro and Segers' extremal index); the longest
    of these separate them. Latencies that don't depend on each other are a storm each.
    """
    places = [place for place, latency_ns in enumerate(latencies_ns) if latency_ns > from_ns]
    gaps = [later - earlier for earlier, later in pairwise(places)]
    if not gaps:
        return [latencies_ns[place] - from_ns for place in places]
    storms = min(len(places), math.floor(_extremal_index(gaps) * len(places)) + 1)
    inside = 0 if storms == len(places) else sorted(gaps, reverse=True)[storms - 1]
    peaks = [latencies_ns[places[0]] - from_ns]
    for gap, place in zip(gaps, places[1:], strict=True):
        excess_ns = latencies_ns[place] - from_ns
        if gap > inside:
            peaks.append(excess_ns)
        else:
            peaks[-1] = max(peaks[-1], excess_ns)
    return peaks


def _extremal_index(gaps: Sequence[int]) -> float:
    """One through the mean size of a storm, above 0 and up to 1, from the times between exceedances."""
    if max(gaps) <= 2:
        total, squares = sum(gaps), sum(gap * gap for gap in gaps)
    else:
        total, squares = sum(gap - 1 for gap in gaps), sum((gap - 1) * (gap - 2) for gap in gaps)
    return min(1.0, 2 * total * total / (len(gaps) * squares))


def fit_pareto(excesses: Sequence[float]) -> Pareto:
    """The distribution of these excesses, all above 0: Zhang and Stephens' estimate. Raises ValueError for none."""
    if not excesses:
        raise ValueError("expected at least one excess, found none")
    ordered = sorted(excesses)
    count, longest = len(ordered), ordered[-1]
    quartile = ordered[max(0, math.floor(count / 4 + 0.5) - 1)]
    grid = 20 + math.isqrt(count)
    thetas = [1 / longest + (1 - math.sqrt(grid / (index - 0.5))) / (3 * quartile) for index in range(1, grid + 1)]
    logs = [_log_likelihood(ordered, _given(ordered, theta)) for theta in thetas]
    best = max(logs)
    weights = [math.exp(log - best) for log in logs]
    return _given(ordered, sum(map(float.__mul__, weights, thetas)) / sum(weights))


def _given(ordered: Sequence[float], theta: float) -> Pareto:
    """The most likely distribution with -xi / sigma = theta; theta is below 1 / longest, or gets no likelihood."""
    if abs(theta * ordered[-1]) < _STRAIGHT:
        return Pareto(0.0, sum(ordered) / len(ordered))
    if theta * ordered[-1] >= 1:
        return Pareto(-1.0, ordered[-1] / 2)  # its longest is below the longest there is
    log1p = math.log1p
    shape = sum([log1p(-theta * excess) for excess in ordered]) / len(ordered)
    return Pareto(shape, -shape / theta)


def _log_likelihood(ordered: Sequence[float], pareto: Pareto) -> float:
    if abs(pareto.shape) < _STRAIGHT:
        return -len(ordered) * math.log(pareto.scale_ns) - sum(ordered) / pareto.scale_ns
    rate = pareto.shape / pareto.scale_ns
    if 1 + rate * ordered[-1] <= 0:
        return -math.inf
    log1p = math.log1p
    return (-len(ordered) * math.log(pareto.scale_ns)
            - (1 + 1 / pareto.shape) * sum([log1p(rate * excess) for excess in ordered]))


def _fit(latencies_ns: Sequence[int]) -> tuple[Fit | None, list[int]]:
    """From the lowest quantile on which the mean excess agrees with the fit; without one from the highest.

    With too few peaks everywhere None, and those above the lowest quantile.
    """
    starts = _thresholds(latencies_ns)
    fit, kept = None, peaks_over(latencies_ns, starts[0])
    for from_ns in starts:
        peaks = peaks_over(latencies_ns, from_ns)
        if len(peaks) < PEAKS_MIN:
            break
        if len(peaks) > PEAKS_MAX:
            continue
        above = sum(latency_ns > from_ns for latency_ns in latencies_ns)
        pareto, kept = fit_pareto(peaks), peaks
        fit = Fit(from_ns, above / len(latencies_ns), len(peaks), pareto)
        if _mean_excess_agrees(peaks, pareto):
            break
    return fit, kept


def _thresholds(latencies_ns: Sequence[int]) -> list[int]:
    """The quantiles, and for large samples those further out that leave at most PEAKS_MAX peaks; each value once."""
    ordered, count = sorted(latencies_ns), len(latencies_ns)
    places = [math.ceil(quantile * count) - 1 for quantile in QUANTILES]
    if count - places[-1] > PEAKS_MAX:
        places += [count - 1 - PEAKS_MAX, count - 1 - PEAKS_MAX // 2]
    values = [ordered[max(0, place)] for place in places]
    return values[:1] + [later for earlier, later in pairwise(values) if later > earlier]


def _mean_excess_agrees(peaks: Sequence[int], pareto: Pareto) -> bool:
    """Whether the mean excess over higher and higher levels is where the fit has it, within two standard errors."""
    ordered = sorted(peaks)
    for share in (0.0, 0.25, 0.5, 0.75):
        rest = ordered[int(share * len(ordered)):]
        level = 0 if share == 0 else rest[0]
        above = [peak - level for peak in rest]
        mean = sum(above) / len(above)
        error = math.sqrt(sum((value - mean) ** 2 for value in above) / len(above) / len(above))
        if abs(mean - pareto.mean_excess_ns(level)) > 2 * error:
            return False
    return True


def upper_level_ns(fit: Fit, peaks: Sequence[int], heartbeats: float) -> int:
    """The highest level that the peaks still make likely: its upper 95 % confidence bound. At least `fit.level_ns`."""
    expected = heartbeats * fit.share
    if expected <= 1:
        return fit.from_ns
    ordered = sorted(peaks)
    found_ns = fit.pareto.quantile_ns(1 / expected)
    enough = max(_log_likelihood(ordered, fit.pareto), _most_likely(ordered, expected, found_ns)) - _LIKELIHOOD_DROP
    low_ns, high_ns = found_ns, 2 * found_ns
    while high_ns < LEVEL_MAX_NS and _most_likely(ordered, expected, high_ns) > enough:
        low_ns, high_ns = high_ns, 2 * high_ns
    for _ in range(_NARROWINGS // 2):
        middle_ns = math.sqrt(low_ns * high_ns)
        if _most_likely(ordered, expected, middle_ns) > enough:
            low_ns = middle_ns
        else:
            high_ns = middle_ns
    return min(LEVEL_MAX_NS, fit.from_ns + math.ceil(high_ns))


def _most_likely(ordered: Sequence[int], expected: float, excess_ns: float) -> float:
    """The highest log-likelihood of all distributions in which one of `expected` peaks exceeds this."""
    exponent = math.log(expected)

    def likelihood(shape: float) -> float:
        straight = abs(shape) < _STRAIGHT
        return _log_likelihood(ordered, Pareto(
            shape, excess_ns / exponent if straight else excess_ns * shape / math.expm1(shape * exponent)))

    low, high = _SHAPES
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = likelihood(left), likelihood(right)
    for _ in range(_NARROWINGS):
        if at_left >= at_right:
            high, right, at_right = right, left, at_left
            left = high - _GOLDEN * (high - low)
            at_left = likelihood(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + _GOLDEN * (high - low)
            at_right = likelihood(right)
    return max(at_left, at_right)


def _still_rising(latencies_ns: Sequence[int], fit: Fit, heartbeats: float) -> str:
    """Why the level can't be trusted: the first half of the sample gave a bound that the whole exceeds. Else empty."""
    half, peaks = _fit(latencies_ns[:len(latencies_ns) // 2])
    if half is None:
        return ""
    before_ns, level_ns = upper_level_ns(half, peaks, heartbeats), fit.level_ns(heartbeats)
    if level_ns <= before_ns:
        return ""
    return (f"the level still rises with the sample: {format_duration(level_ns)} by all of it, at most "
            f"{format_duration(before_ns)} by its first half")
