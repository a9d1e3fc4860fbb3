"""Our target under libiscsi's conformance tests: what other people's initiators expect."""

import re
from collections.abc import Iterator

import pytest
from tests.command import tool
from tests.peers import MpioTarget

pytestmark = pytest.mark.interop

TIMEOUT_S = 180.0


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MpioTarget]:
    luns = "1=ram:256MiB", "2=ram:256MiB,bs=4096"
    with MpioTarget(tmp_path_factory.mktemp("target"), *luns, groups=(1, 2)) as running:
        yield running


def run(tests: str, *urls: str) -> tuple[int, int, str]:
    """Tests that ran, and that failed, from CUnit's summary; and all that was said."""
    done = tool("iscsi-test-cu", "--dataloss", "--test", tests, *urls, timeout_s=TIMEOUT_S)
    said = done.out + done.err
    assert done.code == 0, said[-2000:]
    found = re.search(r"tests\s+\d+\s+(\d+)\s+\d+\s+(\d+)", done.out)
    assert found is not None, said[-2000:]
    return int(found[1]), int(found[2]), said


def test_all_suites(target: MpioTarget) -> None:
    ran, failed, said = run("ALL", target.url())
    assert failed == 0, said
    assert ran > 200


@pytest.mark.parametrize("suites", ["[OPUVW]*", "Read*"])  # Orwrite, Prefetch, Unmap, Verify, Write
def test_suites_about_blocks_with_blocks_of_4_kib(target: MpioTarget, suites: str) -> None:
    ran, failed, said = run(f"ALL.{suites}", target.url(lun=2))
    assert failed == 0, said
    assert ran > 20


def test_multipath_suite(target: MpioTarget) -> None:
    ran, failed, said = run("ALL.MultipathIO", target.url(1), target.url(2))
    assert (ran, failed) == (4, 0), said
    assert "SKIPPED" not in said
