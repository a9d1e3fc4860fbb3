"""The pytest plugin, in a pytest of its own, as those who use it have it."""

import asyncio
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import mpio
from mpio.errors import MpioError
from mpio.testing import Target, TargetError

SETTINGS = mpio.profile("fast").replace(no_path_retry="fail", login_timeout=20.0)


def run_pytest(directory: Path, text: str) -> str:
    (directory / "test_it.py").write_text(textwrap.dedent(text))
    (directory / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers\n")
    # By name, since an installation from before the plugin does not announce it
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "mpio.testing.plugin", "-p", "no:cacheprovider", str(directory)],
        cwd=directory, capture_output=True, text=True, timeout=120, check=False)
    return done.stdout + done.stderr


def test_the_example_of_the_docs_passes(tmp_path: Path) -> None:
    docs = (Path(__file__).parents[2] / "docs" / "ci.md").read_text()
    example = docs.split("```python\n", 1)[1].split("```", 1)[0]
    said = run_pytest(tmp_path, example)
    assert "3 passed" in said, said


def test_a_wrong_marker_is_told(tmp_path: Path) -> None:
    said = run_pytest(tmp_path, """
        import pytest

        @pytest.mark.iscsi_target("1=tape:1MiB")
        def test_it(iscsi_target):
            pass
    """)
    assert "TargetError: mpio target did not start: mpio: --lun 1=tape:1MiB: expected ram:SIZE" in said, said


def test_several_targets_do_not_meet(tmp_path: Path) -> None:
    said = run_pytest(tmp_path, """
        def test_it(iscsi_target, iscsi_target_factory):
            other = iscsi_target_factory("7=ram:1MiB", portals=2, separate_groups=True)
            assert [lun["lun"] for lun in other.ask("luns")] == [7]
            assert [group["group"] for group in other.ask("groups")] == [1, 2]
            assert len({*iscsi_target.urls, *other.urls}) == 3
    """)
    assert "1 passed" in said, said


def test_its_life() -> None:
    async def use(url: str) -> bytes:
        async with mpio.open_map([url], SETTINGS) as disk:
            return bytes(await disk.read(0, 512))

    target = Target()
    with pytest.raises(TargetError, match="has not been started"):
        _ = target.log
    with target:
        url = target.url()
        with pytest.raises(TargetError, match="runs already"):
            target.start()
        assert asyncio.run(use(url)) == bytes(512)
        target.kill()
        with pytest.raises(MpioError):
            asyncio.run(use(url))
        with pytest.raises(TargetError, match="sessions: no answer"):
            target.ask("sessions")
        target.start()
        assert target.url() == url
        assert asyncio.run(use(url)) == bytes(512)
        with target.frozen(), pytest.raises(TimeoutError):
            asyncio.run(asyncio.wait_for(use(url), 1))
        assert asyncio.run(use(url)) == bytes(512)
        target.stop()
        assert "stopped" in target.log


def test_filters_come_and_go() -> None:
    async def writes(url: str) -> str:
        async with mpio.open_map([url], SETTINGS) as disk:
            try:
                await disk.write(0, b"x" * 512)
            except MpioError as error:
                return type(error).__name__
            return "good"

    with Target() as target:
        with target.misbehaving("error", opcode="write", sense="03/0c/00") as id_:
            assert [row["id"] for row in target.ask("filters")] == [id_]
            assert asyncio.run(writes(target.url())) == "TargetError"
        assert asyncio.run(writes(target.url())) == "good"
        with pytest.raises(TargetError, match="add: "):
            target.add("no-such-filter")
