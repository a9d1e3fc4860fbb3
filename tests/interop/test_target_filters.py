"""Every filter under a real client: QEMU, libiscsi's tools, or our own initiator. What each sees is documented."""

import asyncio
import contextlib
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.command import Done, tool
from tests.peers import MpioTarget, find

import mpio
from mpio.errors import IdentityMismatch
from mpio.io.control_socket import ask
from mpio.io.disk import Disk
from mpio.model.address import TargetAddress
from mpio.target.filters import FILTERS
from mpio.units import NS_PER_S

pytestmark = pytest.mark.interop

PATIENCE_S = 20.0
SETTINGS = mpio.profile("fast").replace(no_path_retry="queue", polling_interval=0.3)


class Filtered(MpioTarget):
    """Our target with a control socket; LUN 1 and the larger LUN 2 are in RAM, and portals have groups of their own."""

    def __init__(self, directory: Path) -> None:
        self.socket = directory / "control"
        super().__init__(directory, "1=ram:16MiB", "2=ram:32MiB", groups=(1, 2),
                         options=["--control", str(self.socket), "--log", str(directory / "log")])

    def ask(self, do: str, **arguments: object) -> Any:
        return asyncio.run(ask(self.socket, {"do": do, **arguments}))

    def struck(self, key: str) -> int:
        return _struck(self.ask("filters"), key)

    @contextlib.contextmanager
    def filter(self, name: str, **parameters: object) -> Iterator[str]:
        key = self.ask("add", name=name, **{key.replace("_", "-"): value for key, value in parameters.items()})
        try:
            yield key
        finally:
            with contextlib.suppress(mpio.MpioError):
                self.ask("remove", id=key)

    def addresses(self, *luns: int) -> list[TargetAddress]:
        return [TargetAddress(portal, self.target, lun)
                for portal, lun in zip(self.portals, luns or (1, 1), strict=True)]


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filtered]:
    with Filtered(tmp_path_factory.mktemp("filters")) as running:
        yield running


@pytest.fixture(autouse=True)
def _same_blocks(target: Filtered) -> None:
    good(qemu_io(target, "write -P 1 0 1M"))


def qemu_io(target: Filtered, *steps: str, options: str = "") -> Done:
    disk = f"driver=iscsi,transport=tcp,portal={target.portals[0]},target={target.target},lun=1{options}"
    return tool("qemu-io", "--image-opts", disk, *(word for step in steps for word in ("-c", step)))


def good(done: Done) -> str:
    said = done.out + done.err
    assert done.code == 0, said
    assert "failed" not in said, said
    return said


def has(target: Filtered, pattern: int, where: str = "0 64k") -> bool:
    """Whether a range is all of one byte; read once."""
    done = qemu_io(target, f"read -P {pattern} {where}")
    assert f"read {65536 if '64k' in where else 32768}" in done.out, done.out + done.err
    return "Pattern verification failed" not in done.out


def until(is_so: Any) -> None:
    end = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.05)


@contextlib.asynccontextmanager
async def opened(target: Filtered, **settings: Any) -> AsyncIterator[Disk]:
    async with asyncio.timeout(2 * PATIENCE_S), mpio.open_map(target.addresses(), SETTINGS.replace(**settings)) as disk:
        yield disk


def test_every_filter_is_here() -> None:
    """One test a filter, at least: its name is in that of a test."""
    tests = [name for name in globals() if name.startswith("test_")]
    for name in FILTERS:
        assert any(test.startswith(f"test_{name.replace('-', '_')}") for test in tests), name


def test_nothing_without_filters(target: Filtered) -> None:
    assert target.ask("filters") == []
    good(qemu_io(target, "write -P 3 0 64k", "read -P 3 0 64k"))


def test_delay(target: Filtered) -> None:
    with target.filter("log", opcode="READ_10"), target.filter("delay", time="300ms", opcode="read") as key:
        good(qemu_io(target, "read -P 1 0 64k"))
        assert target.struck(key) == 1
        assert target.ask("log")[-1]["took_ns"] >= 300_000_000


def test_hang(target: Filtered) -> None:
    with target.filter("hang", opcode="read") as key:
        client = subprocess.Popen(
            [find("qemu-io"), "-f", "raw", "-c", "read -P 1 0 64k", target.url()], stdout=subprocess.PIPE, text=True)
        until(lambda: [task["command"] for task in target.ask("tasks")] == ["READ_10"])
        target.ask("remove", id=key)
        said, _ = client.communicate(timeout=PATIENCE_S)
    assert "read 65536/65536" in said


def test_error(target: Filtered) -> None:
    with target.filter("error", sense="03/11/00", opcode="read", lba="0-7"):
        done = qemu_io(target, "read 0 4k", "read -P 1 4k 4k")
    assert "(3)" in done.err
    assert "0x1100" in done.err
    assert done.out.count("read 4096/4096") == 1


@pytest.mark.parametrize("status", ["busy", "task-set-full"])
def test_busy(target: Filtered, status: str) -> None:
    with target.filter("busy", status=status, opcode="medium", count=3) as key:
        good(qemu_io(target, "write -P 2 0 4k", "read -P 2 0 4k"))
        assert target.struck(key) == 3


def test_drop_response(target: Filtered) -> None:
    async def run() -> bytes:
        async with opened(target, timeout=0.5) as disk:
            await disk.write(0, b"d" * 4096)
            return bytes(await disk.read(0, 4096))

    with target.filter("drop-response", opcode="write", count=1) as key:
        assert asyncio.run(run()) == b"d" * 4096
        assert target.struck(key) == 1


def test_drop_nop(target: Filtered) -> None:
    def tsihs() -> list[int]:
        return [row["tsih"] for row in target.ask("sessions") if row["group"] == 1]

    async def run() -> None:
        async with opened(target, noop_out_interval=0.2, noop_out_timeout=0.2) as disk:
            before = await asyncio.to_thread(tsihs)
            assert len(before) == 1
            key = await ask(target.socket, {"do": "add", "name": "drop-nop", "group": 1, "count": 1})
            await asyncio.to_thread(until, lambda: len(tsihs()) == 1 and tsihs() != before)
            await ask(target.socket, {"do": "remove", "id": key})
            await disk.write(0, b"n" * 4096)

    asyncio.run(run())


@pytest.mark.parametrize("digest", ["header", "data"])
def test_wrong_digest(target: Filtered, digest: str) -> None:
    async def run() -> bytes:
        async with opened(target, header_digest="CRC32C", data_digest="CRC32C") as disk:
            return bytes(await disk.read(0, 65536))

    with target.filter("wrong-digest", digest=digest, opcode="read", count=1) as key:
        assert asyncio.run(run()) == b"\1" * 65536
        assert target.struck(key) == 1


def test_wrong_digest_under_qemu(target: Filtered) -> None:
    with target.filter("wrong-digest", digest="header", opcode="read", count=1) as key:
        good(qemu_io(target, "read -P 1 0 64k", options=",header-digest=crc32c"))
        assert target.struck(key) == 1


@pytest.mark.parametrize("on", ["read", "write"])
def test_corrupt(target: Filtered, on: str) -> None:
    with target.filter("corrupt", on=on, at=100, count=1):
        good(qemu_io(target, "write -P 4 0 64k"))
        assert not has(target, 4)
    assert has(target, 4) == (on == "read")


def test_stale_read(target: Filtered) -> None:
    with target.filter("stale-read", count=1):
        good(qemu_io(target, "write -P 5 0 64k"))
        assert has(target, 1)
        assert has(target, 5)


def test_torn_write(target: Filtered) -> None:
    with target.filter("torn-write", keep=0.5, count=1):
        good(qemu_io(target, "write -P 6 0 64k"))
        assert has(target, 6, "0 32k")
        assert has(target, 1, "32k 32k")


def test_lost_write(target: Filtered) -> None:
    with target.filter("lost-write", count=1):
        good(qemu_io(target, "write -P 7 0 64k"))
        assert has(target, 1)
        good(qemu_io(target, "write -P 7 0 64k"))
        assert has(target, 7)


def test_delayed_execution(target: Filtered) -> None:
    with target.filter("delayed-execution", time="2s", rogue=True, opcode="write", count=1):
        client = subprocess.Popen([find("qemu-io"), "-f", "raw", "-c", "write -P 8 0 64k", target.url()],
                                  stdout=subprocess.DEVNULL)
        until(lambda: [task["command"] for task in target.ask("tasks")] == ["WRITE_10"])
        client.kill()
        client.wait()
        until(lambda: target.ask("sessions") == [])
        good(qemu_io(target, "write -P 9 0 64k", "read -P 9 0 64k"))
        until(lambda: has(target, 8))


def test_read_only(target: Filtered) -> None:
    with target.filter("read-only"):
        done = qemu_io(target, "write -P 2 0 4k")
        assert "wrote" not in done.out
        assert done.code != 0 or "failed" in done.out + done.err
        good(tool("qemu-io", "-r", "-f", "raw", "-c", "read -P 1 0 64k", target.url()))
    good(qemu_io(target, "write -P 1 0 4k"))


def test_throttle(target: Filtered) -> None:
    with target.filter("log", opcode="read"), target.filter("throttle", iops=40, opcode="read") as key:
        good(tool("qemu-img", "bench", "-c", 20, "-d", 8, "-f", "raw", target.url()))
        assert target.struck(key) >= 20
        last = target.ask("log")[-20:]
        assert last[-1]["t_ns"] + last[-1]["took_ns"] - last[0]["t_ns"] >= 19 * NS_PER_S // 40


def test_alua_flap(target: Filtered) -> None:
    async def run() -> None:
        async with opened(target) as disk:
            request = {"do": "add", "name": "alua-flap", "target-group": 1, "every": "100ms",
                       "states": "standby,optimized,unavailable,non-optimized", "count": 8}
            key = await ask(target.socket, request)
            for number in range(1000):
                await disk.write(number % 16 * 4096, bytes((number % 251,)) * 4096)
                if number % 20 == 0 and _struck(await ask(target.socket, {"do": "filters"}), key) == 8:
                    break
                await asyncio.sleep(0.01)
            assert bytes(await disk.read(number % 16 * 4096, 4096)) == bytes((number % 251,)) * 4096
            await ask(target.socket, {"do": "remove", "id": key})

    asyncio.run(run())
    assert target.ask("groups")[0]["state"] == "optimized"


def _struck(rows: list[dict[str, Any]], key: str) -> int:
    return next(int(row["struck"]) for row in rows if row["id"] == key)


def test_unit_attention(target: Filtered) -> None:
    async def run() -> bytes:
        async with opened(target) as disk:
            for block in range(50):
                await disk.write(block * 4096, bytes((block,)) * 4096)
            return bytes(await disk.read(0, 50 * 4096))

    with target.filter("unit-attention", opcode="medium", rate=0.3) as key:
        assert asyncio.run(run()) == b"".join(bytes((block,)) * 4096 for block in range(50))
        assert target.struck(key) > 5


def test_kick(target: Filtered) -> None:
    with target.filter("kick", opcode="read", count=1) as key:
        good(qemu_io(target, "read -P 1 0 64k"))
        assert target.struck(key) == 1


def test_duplicate_wwid(target: Filtered) -> None:
    def identity(lun: int) -> str:
        done = good(tool("iscsi-inq", "--evpd=1", "--pagecode=131", target.url(lun=lun)))
        return done[done.index("Designator"):]

    async def join() -> None:
        async with mpio.open_map(target.addresses(1, 2), SETTINGS):
            pass

    assert identity(1) != identity(2)
    with target.filter("duplicate-wwid", lun=2, as_lun=1):
        assert identity(1) == identity(2)
        with pytest.raises(IdentityMismatch, match=r"blocks|size"):
            asyncio.run(join())


def test_short_read(target: Filtered) -> None:
    async def run() -> bytes:
        async with opened(target) as disk:
            return bytes(await disk.read(0, 65536))

    with target.filter("short-read", opcode="READ_10", lba="0-127", count=1) as key:
        assert asyncio.run(run()) == b"\1" * 65536, "it read the rest"
        assert target.struck(key) == 1


def test_log(target: Filtered) -> None:
    with target.filter("log", opcode="write"):
        good(qemu_io(target, "write -P 1 64k 64k"))
        (record,) = [row for row in target.ask("log") if row["command"] == "WRITE_10" and row["ranges"][0][0] == 128]
        assert (record["status"], record["ranges"], record["lun"]) == ("GOOD", [[128, 128]], 1)


# --- the rest of what can be ordered


def test_a_lun_grows_under_qemu(target: Filtered) -> None:
    before = good(tool("iscsi-readcapacity16", target.url(lun=2)))
    size = int(before.partition("Total size:")[2].split()[0]) * 2
    target.ask("grow", lun=2, size=size)
    assert f"Total size:{size}" in good(tool("iscsi-readcapacity16", target.url(lun=2)))
    good(tool("qemu-io", "-f", "raw", "-c", f"write -P 1 {size - 4096} 4k", target.url(lun=2)))


def test_a_portal_goes_offline_and_a_map_goes_on(target: Filtered) -> None:
    async def run() -> None:
        async with opened(target) as disk:
            for do in ("offline", "online"):
                await ask(target.socket, {"do": do, "portal": str(target.portals[0])})
                await disk.write(0, do.ljust(4096).encode())
                assert bytes(await disk.read(0, 4096)) == do.ljust(4096).encode()

    asyncio.run(run())
    good(qemu_io(target, "read 0 4k"))
