"""docs/json.md and docs/report.md name everything that the code writes and reads."""

import json
import re
from pathlib import Path

import pytest
from tests.unit.report.synthetic import Plan, write_run

from mpio.events import Kind
from mpio.report import read_run
from mpio.report.run import OPS, OUTCOMES, STEPS

DOCS = Path(__file__).parents[3] / "docs"
SHAPES = (DOCS / "json.md").read_text()


@pytest.mark.parametrize("name", [*(str(kind) for kind in Kind), *OPS, *OUTCOMES, *STEPS])
def test_every_word_of_the_files_is_documented(name: str) -> None:
    assert f"`{name}`" in SHAPES


@pytest.mark.parametrize("step", STEPS)
def test_every_step_is_explained(step: str) -> None:
    assert f"| {step} |" in (DOCS / "report.md").read_text()


def test_the_examples_are_a_run_that_can_be_read(tmp_path: Path) -> None:
    examples = re.findall(r"```json\n(.*?)```", SHAPES, re.DOTALL)
    assert len(examples) >= 6
    verdict, metrics, history, journal = (json.dumps(json.loads(example)) + "\n" for example in examples[:4])
    directory = write_run(tmp_path / "run", Plan(ios=1, faults=[]))
    for name, content in (
        ("verdict.json", verdict),
        ("metrics.json", metrics),
        ("history.jsonl", history),
        ("journal.jsonl", journal),
    ):
        (directory / name).write_text(content)
    run = read_run(directory)
    assert (len(run.history), len(run.journal), run.verified_bytes) == (1, 1, 64 << 20)
    assert run.paths[0].throughput_bytes == (5242880, 5111808)
    assert run.stalls[0].kept
