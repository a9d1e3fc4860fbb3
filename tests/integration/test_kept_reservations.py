"""Persistent reservations outlive `mpio target`, also when it is killed, and are kept in files that stay whole."""

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest
from tests.peers import MpioTarget

from mpio.errors import MpioError
from mpio.events import Journal
from mpio.io.reservation_file import ReservationFile
from mpio.io.session import Reply, Route, Session, open_session
from mpio.model.settings import FAST
from mpio.model.task import Status, lun_bytes
from mpio.proto.iscsi import LoginParams
from mpio.proto.scsi import cdb, reservation
from mpio.proto.scsi.reservation import OutAction, ReservationType
from mpio.target.store import StoreError

KIND = ReservationType.WRITE_EXCLUSIVE_REGISTRANTS_ONLY
LIMIT_S = 30


async def log_in(target: MpioTarget, who: int) -> Session:
    params = LoginParams(
        f"iqn.2026-01.example:host{who}", target.target, b"\x80\0\0\0\0" + bytes((who,)), FAST, 1, bytes(32))
    session = await open_session(Route(target.portals[0]), params, FAST, time.monotonic_ns, Journal(), "test")
    while (await command(session, bytes(6))).status != Status.GOOD:
        pass
    return session


async def command(session: Session, request: bytes, read: int = 0, data: bytes | None = None) -> Reply:
    return await session.command(lun_bytes(1), request, read, data_out=data)


async def pr_out(session: Session, action: OutAction, key: int, new: int = 0) -> int:
    data = reservation.parameters(key=key, service_action_key=new, aptpl=True)
    return (await command(session, cdb.persistent_reserve_out(action, KIND), data=data)).status


async def write(session: Session) -> int:
    return (await command(session, cdb.write(0, 1), data=bytes(512))).status


def arguments(directory: Path) -> tuple[list[str], list[str]]:
    return [f"1=file:{directory}/disk.img,size=1MiB"], ["--state", str(directory / "state")]


async def reserve(target: MpioTarget) -> None:
    one, other = await log_in(target, 1), await log_in(target, 2)
    assert await pr_out(one, OutAction.REGISTER, 0, 0xA) == Status.GOOD
    assert await pr_out(one, OutAction.RESERVE, 0xA) == Status.GOOD
    assert await write(one) == Status.GOOD
    assert await write(other) == Status.RESERVATION_CONFLICT
    os.kill(target.pid, signal.SIGKILL)
    for session in (one, other):
        await session.lost


async def find(target: MpioTarget) -> None:
    one, other = await log_in(target, 1), await log_in(target, 2)
    data = (await command(other, cdb.persistent_reserve_in(1), 64)).data
    assert reservation.parse_reservation(data) == (0, 0xA, KIND)
    assert await write(other) == Status.RESERVATION_CONFLICT
    assert await write(one) == Status.GOOD
    assert await pr_out(one, OutAction.CLEAR, 0xA) == Status.GOOD
    assert await write(other) in (Status.GOOD, Status.CHECK_CONDITION)
    for session in (one, other):
        await session.logout()


def test_a_killed_target_comes_back_with_its_reservations(tmp_path: Path) -> None:
    luns, options = arguments(tmp_path)
    for scene in (reserve, find):
        with MpioTarget(tmp_path, *luns, options=options) as target:
            asyncio.run(asyncio.wait_for(scene(target), LIMIT_S))


def test_a_damaged_file_keeps_the_target_from_starting(tmp_path: Path) -> None:
    luns, options = arguments(tmp_path)
    with MpioTarget(tmp_path, *luns, options=options) as target:
        asyncio.run(asyncio.wait_for(reserve(target), LIMIT_S))
    (record,) = (tmp_path / "state").iterdir()
    record.write_text(record.read_text()[:40])
    with pytest.raises(RuntimeError, match="reservations that were kept"), MpioTarget(
        tmp_path, *luns, options=options
    ):
        pass


def test_the_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    file = ReservationFile(tmp_path / "a.json")
    assert file.load() is None
    file.save(None)
    file.save("one")
    file.save("two")
    assert file.load() == "two"
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    file.save(None)
    assert file.load() is None
    gone = ReservationFile(tmp_path / "nowhere" / "a.json")
    with pytest.raises(StoreError) as caught:
        gone.save("x")
    assert isinstance(caught.value, MpioError)
    assert "nowhere" in str(caught.value)
