"""Many simulated runs of one scenario, under one or more settings side by side; each run with a seed of its own.

Run n of a campaign that begins at seed s has the seed s + n under all of its settings, so that what differs between two
subjects is their settings alone. Where runs are carried out (here, in processes of this machine, on a Dask cluster) is
a `Pool`'s business and changes nothing in them: the digests are the same.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mpio.check.verdict import Result
from mpio.drill.scenario import Scenario
from mpio.errors import InputError, MpioError
from mpio.model.settings import Settings
from mpio.sim.run import SHAKE_NS, SimResult, simulate

CLAIMS_KEPT_MAX = 20
FALSE_FAILOVER = "no false failover"  # the claim whose evidence are such failovers
RUNS_MAX = 1_000_000
SEED_MAX = 2**63 - 1


class WorkersLost(MpioError):
    """What carried out the runs is gone before all of them were done. Those that were done count."""

    code = "workers-lost"


@dataclass(frozen=True, slots=True)
class Subject:
    """Settings under test, by the name that a reader knows them by; `origin` says where they are from."""

    name: str
    settings: Settings
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Job:
    """One run to do. `scenario` has the subject's settings."""

    subject: int
    seed: int
    scenario: Scenario
    shake_ns: int


@dataclass(frozen=True, slots=True)
class FaultOutcome:
    """What one fault of one run cost; the bounds are None where nothing is promised."""

    fault: str
    path: int
    stall_ns: int
    best_ns: int | None
    bound_ns: int | None
    ios: int
    was_noticed: bool

    @property
    def share(self) -> float | None:
        """How much of its bound it took; None without one."""
        return self.stall_ns / self.bound_ns if self.bound_ns else None


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """What one run came to, small enough to keep a million of them.

    Attributes:
        subject: index of the settings. seed: that repeats it.
        broken: claims that failed, with their detail; undecided: those that could not be judged.
        ios: I/Os by operation and outcome. bad_blocks: blocks by kind.
        false_failover: whether some path was given up that no fault was on, allowed or not.
        error: why the run did not come to its end. refused: why the scenario can't be run at all.
    """

    subject: int
    seed: int
    verdict: Result
    faults: tuple[FaultOutcome, ...] = ()
    broken: tuple[tuple[str, str], ...] = ()
    undecided: tuple[tuple[str, str], ...] = ()
    ios: Mapping[str, int] = field(default_factory=dict)
    bad_blocks: Mapping[str, int] = field(default_factory=dict)
    false_failover: bool = False
    digest: str = ""
    simulated_ns: int = 0
    error: str = ""
    refused: str = ""

    @property
    def worst_stall_ns(self) -> int:
        """Of all its faults; 0 without any."""
        return max((fault.stall_ns for fault in self.faults), default=0)


Pool = Callable[[Sequence[Job]], Iterator[RunOutcome]]
"""Carries out jobs in any order and yields each outcome as it comes. Raises WorkersLost when some will never come."""


@dataclass(frozen=True, slots=True)
class Campaign:
    """What to run: every subject with every seed from `first_seed` on.

    Attributes:
        shake_ns: each step of the scenario is put off by up to so much, drawn from the seed.
    """

    scenario: Scenario
    subjects: tuple[Subject, ...]
    runs: int
    first_seed: int = 1
    shake_ns: int = SHAKE_NS

    def __post_init__(self) -> None:
        if not self.subjects or not 1 <= self.runs <= RUNS_MAX:
            raise ValueError(f"runs: expected 1 to {RUNS_MAX} runs of at least one subject")
        if not 0 <= self.first_seed <= SEED_MAX - self.runs:
            raise ValueError(f"seed: expected 0 to {SEED_MAX - self.runs}, found {self.first_seed}")

    def jobs(self) -> list[Job]:
        """All runs, seed by seed, so that a campaign that is broken off has seen all subjects alike."""
        scenarios = [under(self.scenario, subject) for subject in self.subjects]
        return [Job(index, seed, scenario, self.shake_ns)
                for seed in range(self.first_seed, self.first_seed + self.runs)
                for index, scenario in enumerate(scenarios)]


@dataclass(frozen=True, slots=True)
class CampaignResult:
    """All runs that were done, by subject and seed; `lost` says why there are no more of them."""

    campaign: Campaign
    outcomes: tuple[RunOutcome, ...]
    lost: str = ""

    @property
    def missing(self) -> int:
        """How many runs were to be done and were not."""
        return self.campaign.runs * len(self.campaign.subjects) - len(self.outcomes)

    def of(self, subject: int) -> list[RunOutcome]:
        """The runs of one subject, by seed."""
        return [outcome for outcome in self.outcomes if outcome.subject == subject]


def run_campaign(
    campaign: Campaign, pool: Pool, progress: Callable[[RunOutcome], None] | None = None
) -> CampaignResult:
    """Do all runs. A pool that breaks, or an interrupt, leaves what was done.

    Raises:
        InputError: the scenario can't be run.
    """
    outcomes: list[RunOutcome] = []
    lost = ""
    try:
        for outcome in pool(campaign.jobs()):
            if outcome.refused:
                raise InputError("", outcome.refused)
            outcomes.append(outcome)
            if progress is not None:
                progress(outcome)
    except WorkersLost as error:
        lost = str(error)
    except KeyboardInterrupt:
        lost = "interrupted"
    outcomes.sort(key=lambda outcome: (outcome.subject, outcome.seed))
    return CampaignResult(campaign, tuple(outcomes), lost)


def run_job(job: Job) -> RunOutcome:
    """One run. Errors of the scenario are told in the outcome, because not every error survives a pipe."""
    try:
        result = simulate(job.scenario, job.seed, shake_ns=job.shake_ns)
    except InputError as error:
        return RunOutcome(job.subject, job.seed, Result.UNKNOWN, refused=str(error))
    return outcome_of(job.subject, result)


def replay(campaign: Campaign, subject: int, seed: int, out: Path) -> SimResult:
    """One run of a campaign once more, with its run directory written. Raises InputError."""
    return simulate(under(campaign.scenario, campaign.subjects[subject]), seed, shake_ns=campaign.shake_ns, out=out)


def under(scenario: Scenario, subject: Subject) -> Scenario:
    """The scenario with a subject's settings."""
    return dataclasses.replace(scenario, settings=subject.settings, profile=subject.name)


def outcome_of(subject: int, result: SimResult) -> RunOutcome:
    """What is kept of a run."""
    faults = tuple(
        FaultOutcome(stall.trace.fault, stall.trace.path, stall.worst_stall_ns, stall.best_ns, stall.bound_ns,
                     stall.ios, stall.trace.at("detected") is not None) for stall in result.stalls)
    bad_blocks = Counter[str]()
    for finding in result.findings:
        bad_blocks[str(finding.kind)] += finding.blocks
    of_result = {wanted: tuple((claim.name, claim.detail) for claim in result.claims if claim.result is wanted)
                 for wanted in (Result.FAIL, Result.UNKNOWN)}
    return RunOutcome(
        subject, result.seed, result.verdict, faults, of_result[Result.FAIL][:CLAIMS_KEPT_MAX],
        of_result[Result.UNKNOWN][:CLAIMS_KEPT_MAX], dict(result.counts), dict(bad_blocks),
        any(claim.name == FALSE_FAILOVER and claim.evidence for claim in result.claims),
        result.digest, result.simulated_ns, result.error)
