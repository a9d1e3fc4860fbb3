"""The way of requests through a map whose paths work: commands, splitting, limits, queueing, counters."""

from dataclasses import replace
from typing import Any

import pytest
from tests.unit.engine.engine_kit import BLOCK, IDENTITY, MS, Bench, FakeTransport

from mpio.engine.map import TRANSFER_BYTES_MAX, MultipathMap
from mpio.errors import LocalProtocolError
from mpio.events import Journal, Kind
from mpio.model.settings import FAST
from mpio.model.task import Task
from mpio.proto.scsi import cdb


def commands(transport: FakeTransport) -> list[tuple[int, int, int]]:
    """(operation code, LBA, blocks) of the tasks."""
    return [(task.cdb[0], *cdb.lba_and_blocks(task.cdb.ljust(16, b"\0"))) for task in transport.submitted]


def test_each_operation_is_one_command() -> None:
    bench = Bench(1)
    bench.read(8 * BLOCK, 4096)
    bench.write(16 * BLOCK, 1024, fua=True)
    bench.flush()
    bench.discard(32 * BLOCK, 2048)
    transport = bench.transports[1]
    assert commands(transport)[:2] == [(0x28, 8, 8), (0x2A, 16, 2)]
    assert transport.submitted[1].cdb[1] & cdb.FUA
    assert transport.submitted[2].cdb[0] == 0x35
    assert cdb.parse_unmap_list(transport.submitted[3].data_out or b"") == [(32, 4)]
    assert all(task.timeout_ns == 5_000 * MS for task in transport.submitted)
    bench.good()
    assert bench.errors() == ["ok"] * 4
    assert bench.map.status(0).counters == {
        "reads": 1, "read_bytes": 4096, "writes": 1, "write_bytes": 1024, "flushes": 1, "discards": 1, "errors": 0,
        "retries": 0, "rerouted": 0}


@pytest.mark.parametrize(("offset", "length"), [
    (1, 512), (0, 511), (0, 0), (-512, 512), (IDENTITY.size_bytes, 512), (IDENTITY.size_bytes - 512, 1024),
    (0, IDENTITY.size_bytes + 512),
])
def test_what_is_not_inside_the_disk_in_whole_blocks_is_refused(offset: int, length: int) -> None:
    bench = Bench(1)
    for submit in (bench.write, bench.discard):
        with pytest.raises(ValueError, match="whole blocks"):
            submit(offset, min(length, 1 << 21) if length != IDENTITY.size_bytes + 512 else length)
    assert not bench.transports[1].tasks


def test_buffers_must_be_of_bytes() -> None:
    bench = Bench(1)
    wide = memoryview(bytearray(4096)).cast("Q")
    with pytest.raises(ValueError, match="buffer of bytes"):
        bench.map.submit_read(0, wide, bench.done.append, 0)
    with pytest.raises(ValueError, match="buffer of bytes"):
        bench.map.submit_write(0, wide, bench.done.append, 0)


def test_no_requests_before_the_first_path_and_after_the_end() -> None:
    bench = Bench(1, up=False)
    for submit in (bench.read, bench.write, bench.flush, bench.discard):
        with pytest.raises(LocalProtocolError, match="not had a path"):
            submit()
    bench.up(1)
    bench.map.close(0)
    for submit in (bench.read, bench.write, bench.flush, bench.discard):
        with pytest.raises(LocalProtocolError, match="closed"):
            submit()


@pytest.mark.parametrize(("changes", "blocks_max", "part"), [
    ({}, 0, TRANSFER_BYTES_MAX), ({"max_sectors_kb": 64}, 0, 64 << 10), ({}, 100, 100 * BLOCK),
    ({"max_sectors_kb": 4096}, 0, 4096 << 10), ({"max_sectors_kb": 4096}, 2048, 1 << 20),
])
def test_large_requests_are_split(changes: dict[str, Any], blocks_max: int, part: int) -> None:
    bench = Bench(1, up=False, **changes)
    bench.up(1, replace(IDENTITY, transfer_blocks_max=blocks_max))
    length = 5 * part + BLOCK
    data = bytes(i & 0xFF for i in range(1 << 16)) * (length // (1 << 16) + 1)
    bench.map.submit_write(BLOCK, data[:length], bench.done.append, 0)
    tasks = bench.transports[1].submitted
    assert b"".join(bytes(task.data_out or b"") for task in tasks) == data[:length]
    assert [blocks for _, _, blocks in commands(bench.transports[1])] == [part // BLOCK] * 5 + [1]
    assert commands(bench.transports[1])[0][1] == 1
    for task in list(bench.transports[1].tasks)[:-1]:
        bench.transports[1].end(task)
        assert not bench.done
    bench.good()
    assert bench.errors() == ["ok"]


def test_a_split_read_fills_the_whole_buffer() -> None:
    bench = Bench(2, max_sectors_kb=4)
    buffer = bytearray(20 * 1024)
    bench.map.submit_read(0, memoryview(buffer), bench.done.append, 0)
    for transport in bench.transports.values():
        for task in transport.tasks:
            assert task.read_buffer is not None
            lba, blocks = cdb.lba_and_blocks(task.cdb.ljust(16, b"\0"))
            task.read_buffer[:] = bytes([lba]) * (blocks * BLOCK)
    bench.good()
    assert bench.errors() == ["ok"]
    assert buffer == b"".join(bytes([lba]) * 4096 for lba in (0, 8, 16, 24, 32))


def test_discards_are_split_at_what_the_lu_can() -> None:
    bench = Bench(1, up=False)
    bench.up(1, replace(IDENTITY, unmap_blocks_max=10))
    bench.discard(0, 25 * BLOCK)
    ranges = [cdb.parse_unmap_list(task.data_out or b"")[0] for task in bench.transports[1].submitted]
    assert ranges == [(0, 10), (10, 10), (20, 5)]


def test_discard_without_unmap_is_an_error() -> None:
    bench = Bench(1, up=False)
    bench.up(1, replace(IDENTITY, unmap_blocks_max=0))
    bench.discard()
    assert bench.errors() == ["TargetError"]
    assert not bench.transports[1].tasks


def test_every_path_limits_all() -> None:
    bench = Bench(2, up=False)
    bench.up(1)
    bench.up(2, replace(IDENTITY, transfer_blocks_max=8))
    bench.write(0, 8192)
    assert sum(len(transport.submitted) for transport in bench.transports.values()) == 2


def test_requests_beyond_the_queue_depth_wait_in_order() -> None:
    bench = Bench(2, queue_depth=3)
    for i in range(10):
        bench.read(i * 4096)
    assert [bench.in_flight(1), bench.in_flight(2)] == [3, 3]
    status = bench.map.status(0)
    assert (status.in_flight, status.queued, status.queued_bytes) == (6, 4, 4 * 4096)
    first = bench.transports[1].tasks[0]
    bench.transports[1].end(first)
    assert bench.transports[1].submitted[-1].cdb == cdb.read(6 * 8, 8)
    bench.good()
    assert bench.errors() == ["ok"] * 10
    assert bench.map.status(0).queued_bytes == 0


def test_a_split_request_does_not_take_more_slots_than_there_are() -> None:
    bench = Bench(1, queue_depth=2, max_sectors_kb=4)
    bench.write(0, 40 * 1024)
    bench.read(0, 4096)
    assert bench.in_flight(1) == 2
    assert bench.map.status(0).queued_bytes == 32 * 1024 + 4096
    bench.good()
    assert bench.errors() == ["ok", "ok"]


def test_queue_full() -> None:
    bench = Bench(1, queue_depth=1, queue_bytes_max=10_000)
    bench.write()
    bench.write()
    bench.write()
    bench.write()
    assert bench.errors() == ["QueueFull"]
    bench.write(0, 512)
    bench.write(0, 512)
    bench.flush()  # weighs as much as a block
    bench.flush()
    assert bench.errors() == ["QueueFull"] * 2
    bench.good()
    assert bench.errors() == ["QueueFull"] * 2 + ["ok"] * 6


def test_a_command_that_ends_twice_is_caught() -> None:
    bench = Bench(1)
    bench.read()
    task = bench.transports[1].tasks[0]
    bench.good()
    with pytest.raises(AssertionError, match="ended twice"):
        task.on_done(task)


def test_a_transport_that_answers_at_once() -> None:
    class Instant:
        def submit(self, task: Task, now: int) -> None:
            task.outcome = task.outcome.COMPLETED
            task.on_done(task)

    map_ = MultipathMap(FAST.replace(max_sectors_kb=4), Journal(), "m")
    map_.add_path(1, "p", 0)
    map_.path_up(1, IDENTITY, Instant(), bytes(8), 0)
    done: list[object] = []
    map_.submit_write(0, bytes(4 << 20), done.append, 0)  # 1024 parts without recursion
    assert len(done) == 1


def test_requests_from_callbacks() -> None:
    bench = Bench(1, queue_depth=1)
    count = 0

    def again(request: object) -> None:
        nonlocal count
        count += 1
        if count < 500:
            bench.map.submit_read(0, memoryview(bytearray(512)), again, 0)

    again(None)
    bench.good()
    assert count == 500


def test_latency_sink_and_context() -> None:
    bench = Bench(1)
    seen: list[tuple[int, int, int]] = []
    bench.map.latency_sink = lambda operation, length, ns: seen.append((operation, length, ns))
    bench.map.submit_read(0, memoryview(bytearray(512)), bench.done.append, 0, context="mine")
    bench.map.now = 7 * MS
    bench.good()
    assert seen == [(0, 512, 7 * MS)]
    assert bench.done[0].context == "mine"


def test_a_good_io_leaves_no_event() -> None:
    bench = Bench(2)
    before = len(bench.journal)
    for _ in range(50):
        bench.read()
        bench.write()
    bench.good()
    assert len(bench.journal) == before


def test_wake_tells_once_until_the_deadline_is_read() -> None:
    bench = Bench(2)
    calls: list[int] = []
    bench.map.wake = lambda: calls.append(1)
    bench.read()
    bench.good()
    assert calls == []
    bench.read()
    bench.read()
    bench.transports[1].refuse((2, 0x04, 0x0C))
    bench.transports[2].refuse((2, 0x04, 0x0C))
    assert calls == [1]
    assert bench.map.next_deadline() == bench.map.now
    bench.step()
    assert len(calls) == 2 or bench.map.next_deadline() is not None


def test_close_ends_everything() -> None:
    bench = Bench(2, queue_depth=1)
    bench.read()
    bench.write()
    bench.read()
    bench.write(0, 4 << 20)
    bench.transports[1].close()
    bench.transports[2].close()
    bench.map.close(0)
    assert sorted(bench.errors()) == ["NoUsablePath", "NoUsablePath", "NoUsablePath", "OutcomeUnknown"]
    assert bench.map.status(0).queued_bytes == 0
    assert bench.map.next_deadline() is None


def test_nothing_is_due_after_close() -> None:
    bench = Bench(1)
    due = bench.map.next_deadline()
    assert due is not None
    bench.map.close(due)
    assert bench.map.next_deadline() is None


def test_tasks_that_end_after_close_end_their_requests() -> None:
    bench = Bench(1)
    bench.read()
    bench.write()
    bench.map.close(0)
    assert bench.errors() == []
    bench.transports[1].close()
    assert sorted(bench.errors()) == ["NoUsablePath", "OutcomeUnknown"]
    assert not bench.events(Kind.QUEUEING_STARTED)
