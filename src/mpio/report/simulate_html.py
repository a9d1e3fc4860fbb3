"""The account of a campaign as one HTML page that needs nothing else, no network and no script.

Owns: what the page shows of the account and of its worst run; the template owns the markup. Jinja's autoescape is on,
drawings escape themselves (`svg`), so that no text of a scenario can become markup.
"""

import dataclasses

from jinja2 import Environment, PackageLoader, StrictUndefined

from mpio import __version__
from mpio.check.verdict import Result
from mpio.drill.render import as_run
from mpio.report import words
from mpio.report.account import Account
from mpio.report.html import stall_card
from mpio.report.run import Run
from mpio.report.simulate_text import SIGNS, WORDS, bad_words, bound_words, duration, percent, sentence
from mpio.report.spread_chart import NARROW, WIDE, spread_chart
from mpio.report.timeline import NARROW as NARROW_TIMELINE
from mpio.report.timeline import WIDE as WIDE_TIMELINE
from mpio.report.timeline import run_timeline
from mpio.sim.campaign import Campaign
from mpio.units import NS_PER_S, format_duration

COMPLAINTS_MAX = 100
CARDS_MAX = 12
_TONES = {Result.PASS: "pass", Result.FAIL: "fail", Result.UNKNOWN: "unknown"}
_SECRETS = ("password", "password_in", "discovery_password")


def render_account(campaign: Campaign, account: Account, worst: Run, replay: str) -> str:
    """The whole page; `worst` is the worst run, `replay` the command that repeats it."""
    environment = Environment(loader=PackageLoader("mpio.report"), autoescape=True, undefined=StrictUndefined,
                              trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"duration": format_duration, "number": words.number, "span": duration,
                            "percent": percent, "bound": bound_words, "bad": bad_words}
    rows = account.rows
    row_index, outcome = account.worst or (0, None)
    complaints = [(row, item) for row in rows for item in row.complaints]
    return environment.get_template("simulate.html.j2").render(
        account=account,
        rows=rows,
        runs=sum(row.runs for row in rows),
        version=__version__,
        words=words,
        tone=_TONES[account.verdict],
        tones=_TONES,
        signs=SIGNS,
        verdict_words=WORDS,
        results=tuple(Result),
        sentence=sentence(account),
        simulated=words.number(round(sum(row.simulated_ns for row in rows) / NS_PER_S)),
        description=account.description,
        wide=spread_chart(rows, WIDE),
        narrow=spread_chart(rows, NARROW),
        bad_blocks=sum(count for row in rows for count in row.bad_blocks.values()),
        complaints=complaints[:COMPLAINTS_MAX],
        complaints_total=len(complaints),
        worst=worst,
        worst_name=rows[row_index].subject.name,
        seed=None if outcome is None else outcome.seed,
        cards=[stall_card(worst, number, stall) for number, stall in enumerate(worst.stalls[:CARDS_MAX], 1)],
        wide_timeline=run_timeline(worst, WIDE_TIMELINE),
        narrow_timeline=run_timeline(worst, NARROW_TIMELINE),
        settings=differences(campaign),
        scenario=as_run(campaign.scenario),
        replay=replay,
    )


def differences(campaign: Campaign) -> list[tuple[str, list[str]]]:
    """Settings that are not the same everywhere, with the value of each subject; all of them if there is but one."""
    table = []
    for item in dataclasses.fields(campaign.subjects[0].settings):
        values = [getattr(subject.settings, item.name) for subject in campaign.subjects]
        if item.name not in _SECRETS and (len(values) == 1 or any(value != values[0] for value in values)):
            table.append((item.name, [_text(value) for value in values]))
    return table


def _text(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else words.setting_text(value)  # type: ignore[arg-type]
