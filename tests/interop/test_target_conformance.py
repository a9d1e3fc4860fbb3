"""Our target under libiscsi's conformance tests and QEMU's driver: what other people's initiators expect."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

pytestmark = pytest.mark.interop

NAME = "iqn.2026-01.dev.mpio:conformance"
TIMEOUT_S = 180


@pytest.fixture(scope="module")
def target() -> Iterator[list[str]]:
    """URLs of a target without the LUN: one of each portal, in two portal groups."""
    command = [sys.executable, "-m", "mpio.cli.main", "target", "--name", NAME, "--portal", "127.0.0.1:0,1",
               "--portal", "127.0.0.1:0,2", "--lun", "1=ram:256MiB", "--lun", "2=ram:256MiB,bs=4096"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        word, _, ready = process.stdout.readline().partition(" ")
        assert word == "ready"
        yield [f"iscsi://127.0.0.1:{portal['port']}/{NAME}" for portal in json.loads(ready)["portals"]]
        process.terminate()


def run(*command: str) -> str:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout + done.stderr


def passed(output: str) -> tuple[int, int]:
    """Tests that ran, and that failed, from CUnit's summary."""
    found = re.search(r"tests\s+\d+\s+(\d+)\s+\d+\s+(\d+)", output)
    assert found is not None, output[-2000:]
    return int(found[1]), int(found[2])


@pytest.mark.parametrize("lun", [1, 2])
def test_all_suites_of_libiscsi(target: list[str], lun: int) -> None:
    output = run("iscsi-test-cu", "--dataloss", "--test", "ALL", f"{target[0]}/{lun}")
    ran, failed = passed(output)
    assert failed == 0, output
    assert ran > 200


def test_multipath_suite_of_libiscsi(target: list[str]) -> None:
    output = run("iscsi-test-cu", "--dataloss", "--test", "ALL.MultipathIO", f"{target[0]}/1", f"{target[1]}/1")
    assert passed(output) == (4, 0), output
    assert "SKIPPED" not in output


def test_discovery_by_libiscsi(target: list[str]) -> None:
    found = run("iscsi-ls", "--show-luns", target[0].rsplit("/", 1)[0] + "/")
    assert found.count(f"Target:{NAME}") == 2
    assert found.count("DIRECT_ACCESS") == 4


@pytest.mark.parametrize("lun", [1, 2])
def test_a_disk_of_qemu(target: list[str], lun: int) -> None:
    output = run(
        "qemu-io", "-f", "raw", "-c", "write -P 0x5a 0 1M", "-c", "read -P 0x5a 0 1M", "-c", "discard 64k 64k",
        "-c", "read -P 0 64k 64k", "-c", "write -z 128k 64k", "-c", "read -P 0 128k 64k", "-c", "write -f -P 7 0 4k",
        "-c", "read -P 7 0 4k", "-c", "flush", f"{target[0]}/{lun}",
    )
    assert "failed" not in output
    assert "verification" not in output
