"""Stores in files."""

import ctypes
import errno
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mpio.errors import InputError
from mpio.io import file_store
from mpio.io.file_store import FileStore
from mpio.proto.scsi.sense import READ_ERROR, SPACE_ALLOCATION_FAILED, WRITE_ERROR
from mpio.target.store import StoreError

SIZE = 64 << 10


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "lun.img", SIZE)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, SIZE), st.integers(0, SIZE), st.integers(1, 255)), max_size=8))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
def test_a_file_store_is_a_bytearray(store: FileStore, steps: list[tuple[bool, int, int, int]]) -> None:
    store.discard(0, SIZE)
    model = bytearray(SIZE)
    for writes, one, other, value in steps:
        start, end = min(one, other), max(one, other)
        if start == end:
            continue
        data = bytes([value if writes else 0]) * (end - start)
        if writes:
            store.write(start, data)
        else:
            store.discard(start, end - start)
        model[start:end] = data
    assert store.read(0, SIZE) == model


def test_data_are_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "lun.img"
    first = FileStore(path, SIZE)
    first.write(512, b"x" * 512)
    first.flush()
    first.close()
    second = FileStore(path)
    assert second.size_bytes == SIZE
    assert second.read(0, 1024) == bytes(512) + b"x" * 512


def test_two_targets_do_not_serve_one_file(store: FileStore) -> None:
    with pytest.raises(InputError, match="another target serves it"):
        FileStore(store.path)
    FileStore(store.path, shared=True).close()
    store.close()
    FileStore(store.path).close()


def test_files_that_do_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "lun.img"
    with pytest.raises(InputError, match="can't be opened"):
        FileStore(path)
    path.touch()
    with pytest.raises(InputError, match="is empty"):
        FileStore(path)
    path.write_bytes(bytes(1024))
    with pytest.raises(InputError, match="expected 512 bytes, found 1024"):
        FileStore(path, 512)
    with pytest.raises(InputError, match="can't be opened"):
        FileStore(tmp_path)
    FileStore(path, 2048).close()
    assert path.stat().st_size == 2048


def test_read_only(tmp_path: Path) -> None:
    path = tmp_path / "lun.img"
    path.write_bytes(b"z" * 512)
    store = FileStore(path, read_only=True)
    assert not store.writable
    assert store.read(0, 512) == b"z" * 512
    with pytest.raises(StoreError):
        store.write(0, b"y")


def test_a_file_that_is_cut_short_is_a_medium_error(store: FileStore) -> None:
    os.truncate(store.path, 512)
    with pytest.raises(StoreError) as caught:
        store.read(0, 1024)
    assert caught.value.sense == READ_ERROR


def test_a_full_file_system_is_not_a_medium_error(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "pwritev", failing(errno.ENOSPC))
    with pytest.raises(StoreError) as caught:
        store.write(0, b"x")
    assert caught.value.sense == SPACE_ALLOCATION_FAILED


def test_a_flush_that_failed_once_fails_for_ever(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", failing(errno.EIO))
        with pytest.raises(StoreError) as caught:
            store.flush()
    assert caught.value.sense == WRITE_ERROR
    with pytest.raises(StoreError):
        store.flush()


def test_without_hole_punching_zeroes_are_written(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write(0, b"x" * 4096)

    def refuse(*_: int) -> int:
        ctypes.set_errno(errno.EOPNOTSUPP)
        return -1

    monkeypatch.setattr(file_store, "_fallocate", refuse)
    store.discard(512, 1024)
    assert store.read(0, 2048) == b"x" * 512 + bytes(1024) + b"x" * 512


def failing(number: int) -> object:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail
