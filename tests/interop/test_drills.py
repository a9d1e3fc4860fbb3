"""Drills on targets that others wrote: the claims must hold there as on our own."""

import json
import re
from importlib import resources
from pathlib import Path

import pytest
from tests.command import mpio
from tests.peers import Istgt, Tgtd, find

pytestmark = pytest.mark.interop


def shortened(name: str, directory: Path) -> Path:
    """A built-in scenario with pauses of a second at most and a small region."""
    text = (resources.files("mpio.drill") / "scenarios" / f"{name}.toml").read_text()
    text = re.sub(r'^(at|delay|duration) = "[^"]*"', r'\1 = "0.5s"', text, flags=re.MULTILINE)
    if "[workload]" not in text:
        text += '\n[workload]\nregion = "4MiB"\n'
    path = directory / f"{name}.toml"
    path.write_text(text)
    return path


def drill(*arguments: object, out: Path) -> dict[str, object]:
    done = mpio("drill", *arguments, "--out", out, "--json", "--quiet")
    assert done.code == 0, done.out + done.err
    assert done.left == []
    verdict: dict[str, object] = json.loads(done.out)
    assert verdict["verdict"] == "pass"
    assert verdict["blocks"] == []
    return verdict


@pytest.mark.parametrize("name", ["tgtd", "tgtd-stop", "tgtd-kill"])
def test_tgtd(tmp_path: Path, name: str) -> None:
    find("tgtd", "tgtadm")
    verdict = drill(shortened(name, tmp_path), out=tmp_path / "out")
    assert isinstance(verdict["stalls"], list)
    assert len(verdict["stalls"]) == 2


def test_no_old_write_lands_on_tgtd_after_a_fence(tmp_path: Path) -> None:
    """What was on its way to the old session arrives after the new one was made: tgtd must have ended the old one."""
    with Tgtd(tmp_path) as target:
        drill(shortened("hold", tmp_path), *target.urls, "--scratch", "0+4MiB", "--yes", out=tmp_path / "out")


def test_istgt(tmp_path: Path) -> None:
    """Slow to log in, so that the fence needs more time than on others."""
    with Istgt(tmp_path) as target:
        patience = ("--set", "login_timeout=10", "--set", "fence_timeout=5")
        drill(shortened("default", tmp_path), *target.urls, "--scratch", "0+4MiB", "--yes", *patience,
              out=tmp_path / "out")  # fmt: skip
