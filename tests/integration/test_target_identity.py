"""What `mpio target` calls its LUNs: the same disk must keep its name, another must never have it."""

import asyncio
from pathlib import Path

from tests.command import mpio as command
from tests.peers import MpioTarget

import mpio


def wwid(target: MpioTarget) -> str:
    async def read() -> str:
        async with mpio.open_map(target.urls) as disk:
            assert disk.map.identity is not None
            return disk.map.identity.wwid

    return asyncio.run(read())


def wwid_of(directory: Path, lun: str) -> str:
    with MpioTarget(directory, lun) as target:
        return wwid(target)


def test_a_file_keeps_its_name(tmp_path: Path) -> None:
    first = f"1=file:{tmp_path}/a.img,size=1MiB"
    assert wwid_of(tmp_path, first) == wwid_of(tmp_path, first)
    assert wwid_of(tmp_path, first) != wwid_of(tmp_path, f"1=file:{tmp_path}/b.img,size=1MiB")


def test_what_was_in_ram_does_not_come_back(tmp_path: Path) -> None:
    assert wwid_of(tmp_path, "1=ram:1MiB") != wwid_of(tmp_path, "1=ram:1MiB")


def test_a_given_name(tmp_path: Path) -> None:
    assert wwid_of(tmp_path, f"1=ram:1MiB,wwid=6{31 * 'a'}") == f"36{31 * 'a'}"
    assert wwid_of(tmp_path, f"1=ram:1MiB,wwid=36{31 * 'b'}") == f"36{31 * 'b'}"


def test_two_targets_of_one_name_are_not_joined(tmp_path: Path) -> None:
    with MpioTarget(tmp_path) as one, MpioTarget(tmp_path) as other:
        done = command("bench", one.url(), other.url(), "--seconds", "0.1")
        assert done.code == 2
        assert wwid(one) in done.err
        assert wwid(other) in done.err
        assert done.err.count("\n") == 1
