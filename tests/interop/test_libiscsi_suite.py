"""Our target under libiscsi's whole conformance suite, data-loss tests on, with units of every kind.

Each run takes most of its time sleeping, so they all go on at once, each against a target of its own. What may be
skipped, and why, is a table here; docs/target.md explains each row.
"""

import contextlib
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.command import tool
from tests.interop.test_nbd_store import nbdkit, qemu_nbd
from tests.peers import MpioTarget, find

pytestmark = [pytest.mark.interop, pytest.mark.timeout(1000)]

TIMEOUT_S = 900.0
TESTS = 230
SIZE = 256 << 20
DOCS = Path(__file__).parents[2] / "docs" / "target.md"


@dataclass(frozen=True, slots=True)
class Run:
    """One run: the LUN, the number of paths, and which rows of SKIPPED apply.

    In `lun`, DIR is a directory of the run's own, and NBDKIT and QCOW2 are servers: the one of a disk in memory, and
    qemu-nbd with an image.
    """

    lun: str
    paths: int
    skips: frozenset[str]


@dataclass(frozen=True, slots=True)
class Answers:
    """What the suite said, by test: everything, and the names of those that failed and that were skipped."""

    said: Mapping[str, str]
    failed: frozenset[str]
    skipped: frozenset[str]


SANITIZE = (
    "BlockErase", "BlockEraseReserved", "CryptoErase", "CryptoEraseReserved", "ExitFailureMode", "InvalidServiceAction",
    "Overwrite", "OverwriteReserved", "Readonly", "Reservations", "Reset",
)  # fmt: skip
SKIPPED: dict[str, frozenset[str]] = {
    "always": frozenset((
        *(f"Sanitize.{name}" for name in SANITIZE), "WriteSame10.ZeroBlocks", "WriteSame16.ZeroBlocks")),
    "writable": frozenset(("ReadOnly.ReadOnlySBC",)),
    "one path": frozenset((
        "MultipathIO.Simple", "MultipathIO.Reset", "MultipathIO.CompareAndWrite", "MultipathIO.CompareAndWriteAsync")),
    "one logical block a physical block": frozenset((
        "CompareAndWrite.InvalidDataOutSize", "WriteSame10.UnmapUnaligned", "WriteSame10.InvalidDataOutSize",
        "WriteSame16.UnmapUnaligned", "WriteSame16.InvalidDataOutSize")),
    "thick": frozenset((
        "CompareAndWrite.InvalidDataOutSize", "GetLBAStatus.UnmapSingle", "Inquiry.BlockLimits", "NoMedia.NoMediaSBC",
        "Unmap.Simple", "Unmap.VPD", "Unmap.ZeroBlocks", "WriteSame10.Unmap", "WriteSame10.UnmapUnaligned",
        "WriteSame10.UnmapUntilEnd", "WriteSame10.InvalidDataOutSize", "WriteSame16.Unmap",
        "WriteSame16.UnmapUnaligned", "WriteSame16.UnmapUntilEnd", "WriteSame16.InvalidDataOutSize")),
    "fixed medium": frozenset((
        *(f"PreventAllow.{name}" for name in ("Simple", "Eject", "ITNexusLoss", "Logout", "WarmReset", "ColdReset",
                                             "LUNReset", "2ITNexuses")),
        "StartStopUnit.Simple")),
    "store that can be torn": frozenset(
        f"WriteAtomic16.{name}" for name in ("Simple", "BeyondEol", "ZeroBlocks", "WriteProtect", "DpoFua", "VPD")),
}  # fmt: skip


def _skips(*rows: str) -> frozenset[str]:
    return frozenset().union(*(SKIPPED[row] for row in ("always", *rows)))


PLAIN = "one logical block a physical block"
TORN = "store that can be torn"
RUNS = {
    "thin": Run("1=ram:256MiB,removable", 2, _skips("writable", PLAIN)),
    "thin, 4 KiB": Run("1=ram:256MiB,removable,bs=4096", 1, _skips("writable", PLAIN, "one path")),
    "thin, fixed": Run("1=ram:256MiB", 1, _skips("writable", PLAIN, "one path", "fixed medium")),
    "thick": Run("1=ram:256MiB,removable,thick", 1, _skips("writable", "one path", "thick")),
    "thick, 4 KiB": Run("1=ram:256MiB,removable,thick,bs=4096", 2, _skips("writable", "thick")),
    "physical blocks": Run("1=ram:256MiB,removable,pbs=4096", 2, _skips("writable")),
    "file": Run("1=file:DIR/disk.img,size=256MiB,removable", 2, _skips("writable", PLAIN, TORN)),
    "direct": Run("1=file:DIR/disk.img,size=256MiB,direct,removable", 2, _skips("writable", PLAIN, TORN)),
    "direct, thick, 4 KiB": Run(
        "1=file:DIR/disk.img,size=256MiB,direct,removable,thick,bs=4096", 1,
        _skips("writable", "one path", "thick", TORN)),
    "NBD, nbdkit": Run("1=NBDKIT,removable", 1, _skips("writable", "one path", PLAIN, TORN)),
    "NBD, a qcow2 image": Run("1=QCOW2,removable", 2, _skips("writable", PLAIN, TORN)),
    "overlay": Run("1=cow:DIR/base.img,removable", 1, _skips("writable", "one path", PLAIN)),
    "read-only": Run("1=ram:256MiB,ro", 2, _skips(PLAIN, "fixed medium")),
    "read-only, 4 KiB": Run("1=ram:256MiB,ro,bs=4096", 1, _skips(PLAIN, "one path", "fixed medium")),
}
READ_ONLY = [name for name in RUNS if name.startswith("read-only")]

FAULTY = {"physical blocks": {"GetLBAStatus.UnmapSingle": (
    'test_get_lba_status_unmap_single.c:135', "lba offset in first descriptor does not match request")}}
"""Tests that fail by their own fault, by run, with the line and the words of their complaint, which is to be the only
one. This one asks for the status of LBA n + 1 and wants the answer to begin at n + LBPPB; SBC-3 §5.4 has it begin at
the LBA that was asked for. With one logical block a physical block the two are the same."""

WRITES_REFUSED = ("0x2700", "0x0d01")
"""How a command to a write-protected unit ends: WRITE PROTECTED, and for a copy THIRD PARTY DEVICE FAILURE."""
READS_ONLY = re.compile(r"Read(\d|Cap|Def|Only)|Prefetch|Inquiry|ModeSense6|Report|TestUnitReady|Prin|Reserve6")
ONLY_SAY_THAT_A_WRITE_FAILED = {"Write10.Async", "iSCSITMF.AbortTaskSimpleAsync"}


@contextlib.contextmanager
def _lun(directory: Path, text: str) -> Iterator[str]:
    """What a run's `lun` stands for, with its server running."""
    if "base.img" in text:
        with (directory / "base.img").open("wb") as file:
            file.truncate(SIZE)
    text = text.replace("DIR", str(directory))
    if "NBDKIT" in text:
        with nbdkit(directory, "memory", str(SIZE)) as (uri, _):
            yield text.replace("NBDKIT", uri)
    elif "QCOW2" in text:
        image = directory / "disk.qcow2"
        assert tool("qemu-img", "create", "-f", "qcow2", image, SIZE).code == 0
        with qemu_nbd(directory, image) as (uri, _):
            yield text.replace("QCOW2", uri)
    else:
        yield text


def _run_suite(directory: Path, run: Run) -> Answers:
    directory.mkdir()
    with _lun(directory, run.lun) as lun, MpioTarget(directory, lun, groups=(1, 2)) as target:
        urls = target.urls[: run.paths]
        done = tool("iscsi-test-cu", "--dataloss", "--test", "ALL", *urls, timeout_s=TIMEOUT_S)
    return _read(done.out + done.err)


def _read(text: str) -> Answers:
    said: dict[str, str] = {}
    suite = test = ""
    for line in text.partition("Run Summary")[0].splitlines():
        if found := re.match(r"Suite: (\S+)", line):
            suite, test = found[1], ""
        elif found := re.match(r"\s+Test: (\S+) \.\.\.(.*)", line):
            test = f"{suite}.{found[1]}"
            said[test] = found[2] + "\n"
        elif test:
            said[test] += line + "\n"
    failed = frozenset(name for name, words in said.items() if re.search(r"^FAILED\b", words, re.MULTILINE))
    return Answers(said, failed, frozenset(name for name, words in said.items() if "[SKIPPED]" in words))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Answers]]]:
    find("iscsi-test-cu")
    root = tmp_path_factory.mktemp("suites")
    with ThreadPoolExecutor(len(RUNS)) as pool:
        yield {
            name: pool.submit(_run_suite, root / str(number), run) for number, (name, run) in enumerate(RUNS.items())
        }


@pytest.mark.parametrize("name", [name for name in RUNS if name not in READ_ONLY])
def test_no_test_fails_and_only_the_listed_ones_are_skipped(runs: dict[str, Future[Answers]], name: str) -> None:
    answers = runs[name].result()
    assert len(answers.said) == TESTS
    faulty = FAULTY.get(name, {})
    assert {test: answers.said[test][:500] for test in sorted(answers.failed - faulty.keys())} == {}
    for test, complaint in faulty.items():
        words = answers.said[test].replace('" "', "")
        assert [word in words for word in complaint] == [True, True], words
        assert "    2. " not in words, words
    assert sorted(answers.skipped) == sorted(RUNS[name].skips)


@pytest.mark.parametrize("name", READ_ONLY)
def test_on_write_protected_units_only_what_has_to_write_fails(runs: dict[str, Future[Answers]], name: str) -> None:
    answers = runs[name].result()
    assert len(answers.said) == TESTS
    for test in sorted(answers.failed - ONLY_SAY_THAT_A_WRITE_FAILED):
        assert any(code in answers.said[test] for code in WRITES_REFUSED), (test, answers.said[test][:500])
    assert "ReadOnly.ReadOnlySBC" not in answers.failed | answers.skipped
    assert sorted(answers.skipped - RUNS[name].skips) == []
    assert [test for test in sorted(answers.failed) if READS_ONLY.match(test)] == []


def test_every_test_is_run_by_some_run_but_those_that_are_not_offered(runs: dict[str, Future[Answers]]) -> None:
    ran = {test for name in RUNS for test in runs[name].result().said.keys() - runs[name].result().skipped}
    everything = set(runs["thin"].result().said)
    assert everything - ran == SKIPPED["always"]


def test_the_docs_list_what_is_skipped() -> None:
    text = DOCS.read_text()
    for tests in SKIPPED.values():
        for test in tests:
            suite, _, name = test.partition(".")
            assert f"`{suite}.{name}`" in text or f"`{suite}.*`" in text, test
