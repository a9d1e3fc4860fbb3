"""A rendered scenario is read as the same scenario."""

import dataclasses

import pytest

from mpio.drill.parse import builtin, builtin_names, parse_scenario
from mpio.drill.render import as_run, render
from mpio.drill.scenario import PathsSpec
from mpio.model.settings import LINUX


@pytest.mark.parametrize("name", builtin_names())
def test_render_and_parse(name: str) -> None:
    scenario = builtin(name)
    text = render(scenario)
    assert parse_scenario(text) == dataclasses.replace(scenario, text=text)
    assert as_run(scenario) == scenario.text


def test_what_the_command_line_changed_is_in_the_text_and_secrets_are_not() -> None:
    scenario = builtin("reset")
    changed = dataclasses.replace(
        scenario, profile="linux",
        settings=LINUX.replace(username="u", password="hush", noop_out_interval=0.5, fast_io_fail_tmo=None,
                               chap_algs=("MD5",)),
        about=dataclasses.replace(scenario.about, duration=1_500_000_000, name='a "b" \\ \x7f é'))
    text = as_run(changed)
    assert "hush" not in text
    again = parse_scenario(text)
    assert again == dataclasses.replace(changed, text=text, settings=changed.settings.replace(password=None))


def test_urls() -> None:
    scenario = parse_scenario("[paths]\nurls = ['iscsi://u@h:3260/iqn.x:y/1']\n[workload]\nblock_sizes = ['8KiB']\n")
    secret = dataclasses.replace(scenario, paths=PathsSpec(("iscsi://u%secret@h/iqn.x:y/1",)))
    assert "secret" not in render(secret)
    assert parse_scenario(render(scenario)) == dataclasses.replace(scenario, text=render(scenario))
