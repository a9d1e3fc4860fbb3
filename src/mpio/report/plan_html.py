"""A timing sheet as one HTML page that needs nothing else, no network and no script.

Jinja's autoescape is on, the drawing escapes itself (`svg`), so that no text of a file can become markup.
"""

from jinja2 import Environment, PackageLoader, StrictUndefined

from mpio import __version__
from mpio.report.plan_ladder import NARROW, WIDE, ladder, ordered
from mpio.report.plan_text import FINDINGS_MAX, JUDGEMENT_SIGNS, SIGNS, STATE_SIGNS, span
from mpio.report.sheet import Sheet, State, Verdict

STATE_WORDS: dict[State, str] = {"ok": "holds", "tight": "tight", "violated": "violated"}
_TONES: dict[Verdict, str] = {"ok": "pass", "findings": "fail"}


def render_plan(sheet: Sheet) -> str:
    """The whole page."""
    environment = Environment(loader=PackageLoader("mpio.report"), autoescape=True, undefined=StrictUndefined,
                              trim_blocks=True, lstrip_blocks=True)
    environment.filters["span"] = span
    return environment.get_template("plan.html.j2").render(
        sheet=sheet,
        version=__version__,
        tone=_TONES[sheet.verdict],
        sign=SIGNS[sheet.verdict],
        state_signs=STATE_SIGNS,
        state_words=STATE_WORDS,
        judgement_signs=JUDGEMENT_SIGNS,
        letters=ordered(sheet.deadlines),
        findings_max=FINDINGS_MAX,
        wide=ladder(sheet, WIDE) if sheet.rungs else "",
        narrow=ladder(sheet, NARROW) if sheet.rungs else "",
    )
