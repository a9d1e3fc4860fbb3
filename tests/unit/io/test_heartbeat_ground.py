"""Where heartbeats are measured: scratch files that leave nothing, and sectors that are put back."""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from mpio.errors import InputError
from mpio.heartbeat.formats import o2cb, own, sbd
from mpio.heartbeat.region import Holds, Layout
from mpio.io import heartbeat_ground
from mpio.io.heartbeat_ground import borrowed, make_scratch, must_be_free
from mpio.io.heartbeat_measure import MAGIC
from mpio.io.heartbeat_region import make
from mpio.io.heartbeat_store import FileBlocks

OWN_SECTOR = 15 * 512


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "disk"
    path.write_bytes(bytes(1 << 18))
    return path


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(main)


def with_blocks(path: Path, work: Any) -> None:
    async def main() -> None:
        blocks = FileBlocks(path, 512)
        try:
            await work(blocks)
        finally:
            await blocks.close()

    run(main())


def test_a_scratch_file_is_full_of_data_and_nobody_elses(tmp_path: Path) -> None:
    made = make_scratch(tmp_path, 3 << 20)
    assert made.parent == tmp_path
    assert made.stat().st_size == 3 << 20
    assert made.stat().st_mode & 0o777 == 0o600
    assert len(set(made.read_bytes()[:4096])) > 200
    assert make_scratch(tmp_path / "named", 4096) == tmp_path / "named"


def test_a_scratch_file_never_takes_the_place_of_another(path: Path) -> None:
    with pytest.raises(InputError, match="a scratch file can't be made there: File exists"):
        make_scratch(path, 4096)
    assert path.read_bytes() == bytes(1 << 18)


def test_no_room_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_fd: int, _data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mpio.io.heartbeat_ground.os.write", full)
    with pytest.raises(InputError, match="can't be filled: No space left on device"):
        make_scratch(tmp_path, 4096)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a scratch file can't be made there: No such file or directory"):
        make_scratch(tmp_path / "no" / "where", 4096)


def test_a_borrowed_sector_is_put_back(path: Path, tmp_path: Path) -> None:
    before = bytes(range(256)) * 1024
    path.write_bytes(before)
    undo = tmp_path / "undo"

    async def work(blocks: FileBlocks) -> None:
        async with borrowed(blocks, OWN_SECTOR, MAGIC, undo):
            assert undo.read_bytes() == before[OWN_SECTOR:OWN_SECTOR + 512]
            with path.open("r+b") as file:
                file.seek(OWN_SECTOR)
                file.write(MAGIC.ljust(512, b"x"))

    with_blocks(path, work)
    assert path.read_bytes() == before
    assert not undo.exists()


def test_what_somebody_else_has_written_there_meanwhile_stays(path: Path, tmp_path: Path) -> None:
    async def work(blocks: FileBlocks) -> None:
        async with borrowed(blocks, OWN_SECTOR, MAGIC, tmp_path / "undo"):
            with path.open("r+b") as file:
                file.seek(OWN_SECTOR)
                file.write(b"theirs")

    with_blocks(path, work)
    assert path.read_bytes()[OWN_SECTOR:].startswith(b"theirs")


def test_it_is_put_back_after_an_error_too(path: Path, tmp_path: Path) -> None:
    async def work(blocks: FileBlocks) -> None:
        async with borrowed(blocks, OWN_SECTOR, MAGIC, tmp_path / "undo"):
            with path.open("r+b") as file:
                file.seek(OWN_SECTOR)
                file.write(MAGIC)
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        with_blocks(path, work)
    assert path.read_bytes() == bytes(1 << 18)


@pytest.mark.parametrize("fails", [False, True])
def test_what_cannot_be_put_back_is_kept_and_told(path: Path, tmp_path: Path, fails: bool) -> None:
    path.write_bytes(b"\7" * (1 << 18))
    undo = tmp_path / "undo"

    async def work(blocks: FileBlocks) -> None:
        async with borrowed(blocks, OWN_SECTOR, MAGIC, undo) as loan:
            with path.open("r+b") as file:
                file.truncate(512)
            if fails:
                raise InputError("disk", "has failed")
        assert "could not be put back: " in loan.trouble
        assert loan.trouble.endswith(f"what it held is in {undo}")

    if fails:
        with pytest.raises(InputError, match=r"^disk: has failed; the sector at .* could not be put back"):
            with_blocks(path, work)
    else:
        with_blocks(path, work)
    assert undo.read_bytes() == b"\7" * 512


def test_a_write_that_is_still_out_may_land_on_what_was_put_back(path: Path, tmp_path: Path) -> None:
    undo = tmp_path / "undo"

    async def work(blocks: FileBlocks) -> None:
        async with borrowed(blocks, OWN_SECTOR, MAGIC, undo) as loan:
            with path.open("r+b") as file:
                file.seek(OWN_SECTOR)
                file.write(MAGIC)
            loan.in_doubt = True
        assert "may land" in loan.trouble

    with_blocks(path, work)
    assert path.read_bytes() == bytes(1 << 18)
    assert undo.read_bytes() == bytes(512)


def test_nothing_is_borrowed_if_its_contents_cannot_be_kept(path: Path, tmp_path: Path) -> None:
    (tmp_path / "undo").write_bytes(b"another's")

    async def work(blocks: FileBlocks) -> None:
        async with borrowed(blocks, OWN_SECTOR, MAGIC, tmp_path / "undo"):
            raise AssertionError

    with pytest.raises(InputError, match="can't be kept here: File exists"):
        with_blocks(path, work)


def test_zeros_may_be_borrowed(path: Path) -> None:
    async def work(blocks: FileBlocks) -> None:
        assert (await must_be_free(blocks, placed=False)).holds is Holds.EMPTY

    with_blocks(path, work)


def test_somebodys_data_only_where_a_person_says_so(path: Path) -> None:
    path.write_bytes(b"XFSB" + bytes((1 << 18) - 4))

    async def refused(blocks: FileBlocks) -> None:
        with pytest.raises(InputError, match="there is an XFS file system; say with --region"):
            await must_be_free(blocks, placed=False)
        assert (await must_be_free(blocks, placed=True)).holds is Holds.FOREIGN

    with_blocks(path, refused)


@pytest.mark.parametrize("placed", [False, True])
def test_a_disk_of_sbd_never(path: Path, placed: bool) -> None:
    async def work(blocks: FileBlocks) -> None:
        await make(blocks, Layout(Holds.SBD, 512, 8), sbd.Header(sector=512, slots=8, uuid=bytes(16)))
        with pytest.raises(InputError, match="a region of SBD, and nothing tells whether nodes read it"):
            await must_be_free(blocks, placed=placed)

    with_blocks(path, work)


def test_a_region_only_if_nobody_heartbeats_in_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat_ground, "QUIET_S", 0.3)
    layout = Layout(Holds.OWN, 512, 200)

    async def work(blocks: FileBlocks) -> None:
        await make(blocks, layout, own.Header(bytes(range(16)), own.Timing(2, 60, 66), 512, 200))
        assert (await must_be_free(blocks, placed=False)).holds is Holds.OWN

        async def beat() -> None:
            for number in range(100):
                with path.open("r+b") as file:
                    file.seek(layout.slot(190))  # far behind the slots that a measurement reads
                    file.write(bytes([number]) * 512)
                await asyncio.sleep(0.02)

        beating = asyncio.create_task(beat())
        await asyncio.sleep(0.05)
        with pytest.raises(InputError, match="nodes are heartbeating in it"):
            await must_be_free(blocks, placed=True)
        beating.cancel()

    with_blocks(path, work)


def test_ocfs2_that_was_left_is_known_by_its_blocks(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat_ground, "QUIET_S", 0.05)
    with path.open("r+b") as file:
        file.write(o2cb.render(o2cb.Block(sequence=1, node=0, generation=5, dead_ms=62_000), 512))

    async def work(blocks: FileBlocks) -> None:
        assert (await must_be_free(blocks, placed=False)).holds is Holds.O2CB

    with_blocks(path, work)
