"""Hostile inputs for the target, made from a seed: `python -m fuzz.target_inputs [--inputs N] [--seed N]`.

Each session goes some way by the rules, to a stage of the login or into the full feature phase, and then says things
that are almost right: PDUs of every kind with fields at their limits, commands that would be carried out and such that
only look like it, lengths that lie, bytes that were turned over, long silence. An input is one PDU. Whatever comes, the
target answers or ends the connection, keeps to its limits, and still serves a good initiator afterwards.
"""

import argparse
import faulthandler
import random
import resource
import struct
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace

from fuzz.target_commands import command as plausible_command

from mpio.model.address import Portal
from mpio.model.task import Buffer, lun_bytes
from mpio.proto.iscsi import pdu
from mpio.proto.iscsi.chap import ChapConfig
from mpio.proto.iscsi.digest import digest
from mpio.proto.iscsi.pdu import Opcode
from mpio.proto.iscsi.target import OUTPUT_BYTES_MAX, TargetConnection
from mpio.proto.iscsi.target_state import State
from mpio.proto.scsi.cdb import Op
from mpio.target.limits import Limits
from mpio.target.node import Access, TargetNode
from mpio.target.state import TRANSFER_BYTES_MAX
from mpio.target.store import RamStore
from mpio.target.task_queue import Done
from mpio.units import seconds

PORTAL = Portal("192.0.2.1")
NAME = "iqn.2026-01.example:t"
LIMITS = Limits(tasks=8, sessions=16, gather_bytes=1 << 20, write_bytes=1 << 20)
PARAMS = replace(LIMITS.params(PORTAL), challenge_seed=bytes(range(32)))
INPUTS_A_SESSION = 40
DATA_MAX = 2048
LUNS = 5
LATE_LUN = 4
MEMORY_MAX = 2 << 30
HANG_S = 300.0
"""No 64 sessions take so long, on any machine."""
_EDGES = (0, 1, 2, 7, 0x7F, 0x80, 0xFF, 0x100, 0x1FF, 0x200, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE,
          0xFFFFFFFF)  # fmt: skip
_KEYS = ("InitiatorName", "TargetName", "SessionType", "AuthMethod", "CHAP_A", "CHAP_N", "CHAP_R", "CHAP_I", "CHAP_C",
         "HeaderDigest", "DataDigest", "MaxRecvDataSegmentLength", "MaxBurstLength", "FirstBurstLength", "InitialR2T",
         "ImmediateData", "MaxConnections", "ErrorRecoveryLevel", "MaxOutstandingR2T", "DefaultTime2Wait",
         "SendTargets", "TargetPortalGroupTag", "X-com.example", "")  # fmt: skip
_VALUES = ("None", "CRC32C", "CRC32C,None", "CHAP", "CHAP,None", "Yes", "No", "0", "1", "512", "262144", "16777215",
           "99999999999", "-1", "0x10", "0b!!", "5", "7,6,5", "Normal", "Discovery", "All", "", "Reject", "?",
           NAME, "a" * 300)  # fmt: skip
_OPCODES = tuple(int(op) for op in Op)
_ACTIONS = {int(Op.SERVICE_ACTION_IN_16): (0x10, 0x12), int(Op.MAINTENANCE_IN): (0x0A, 0x0C, 0x0D),
            int(Op.MAINTENANCE_OUT): (0x0A,), int(Op.PERSISTENT_RESERVE_IN): range(5),
            int(Op.PERSISTENT_RESERVE_OUT): range(9), int(Op.RECEIVE_COPY_RESULTS): range(5),
            int(Op.EXTENDED_COPY): (0, 1)}  # fmt: skip


class LateStore(RamStore):
    """Ends what was begun when it is told to, in any order; what is begun lands when it ends."""

    defers = True

    def __init__(self, size_bytes: int) -> None:
        super().__init__(size_bytes)
        self._begun: list[Callable[[], None]] = []

    def begin_read(self, offset: int, length: int, done: Done) -> bytes | None:
        """See DeferringStore."""
        self._begun.append(lambda: done(self.read(offset, length)))
        return None

    def begin_write(self, offset: int, data: Buffer, done: Done, *, fua: bool) -> bool:  # noqa: ARG002
        """See DeferringStore."""

        def end() -> None:
            self.write(offset, data)
            done(b"")

        self._begun.append(end)
        return False

    def begin_flush(self, done: Done) -> bool:
        """See DeferringStore."""
        self._begun.append(lambda: done(b""))
        return False

    def end(self, rng: random.Random) -> None:
        """Something that was begun ends, if there is anything."""
        if self._begun:
            self._begun.pop(rng.randrange(len(self._begun)))()

    def drain(self) -> None:
        """See DeferringStore."""
        while self._begun:
            self._begun.pop(0)()


def make_node(*, chap: bool) -> TargetNode:
    """A target with two port groups, and LUNs of both block sizes, thin, thick, read-only, removable, and slow ones."""
    access = Access(chap=ChapConfig("joe", "a-secret-of-16-b", "disk", "another-secret-1")) if chap else None
    node = TargetNode(NAME, access=access, explicit_alua=True, limits=LIMITS)
    node.add_portal(1, PORTAL)
    node.add_portal(2, Portal("198.51.100.1"))
    node.add_lun(0, RamStore(1 << 20))
    node.add_lun(1, RamStore(1 << 20), block_size=4096, thin=False)
    node.add_lun(2, RamStore(1 << 20), read_only=True)
    node.add_lun(3, RamStore(1 << 20), removable=True)
    node.add_lun(LATE_LUN, LateStore(1 << 20))
    return node


class Hostile:
    """One connection to the node, and what it says."""

    def __init__(self, node: TargetNode, rng: random.Random) -> None:
        self._rng = rng
        self._now = 0
        self.target = TargetConnection(PARAMS, node, 0)
        self._units = node.device.units
        late = self._units[LATE_LUN].store
        assert isinstance(late, LateStore)
        self._late = late
        self._cmd_sn = 1
        self._itt = 0
        self._isid = self._some_isid()
        self._kinds = (self._command, self._command, self._plausible, self._plausible, self._plausible, self._plausible,
                       self._data_out, self._data_out, self._other)
        stage = rng.choice(_STAGES)
        for flags, text in stage:
            self._login(flags, text)

    def _login(self, flags: int, text: str) -> None:
        data = text.encode()
        self._tell(pdu.login_request(flags, self._isid, 0, 1, 0, self._cmd_sn, 0, len(data)), data)

    def _some_isid(self) -> bytes:
        return bytes((0x80, 0, 0, 0, 0, self._rng.randrange(4)))

    def _tell(self, header: bytes, data: bytes = b"") -> None:
        self.target.receive(header + data + bytes(-len(data) & 3), 0)

    def say_something(self) -> None:
        """One input; and the world goes on."""
        rng = self._rng
        if rng.random() < 0.3:
            self._late.end(rng)
        if rng.random() < 0.002:
            self._now += seconds(rng.choice((0.1, 6.0, 20.0)))
        self.target.handle_timer(self._now)
        if self.target.state is State.LOGIN:
            header, data = self._login_request()
        else:
            header, data = rng.choice(self._kinds)()
        raw = bytearray(header + data + bytes(-len(data) & 3))
        if rng.random() < 0.08:
            for _ in range(rng.randrange(1, 4)):
                at = rng.randrange(len(raw)) if rng.random() < 0.3 else rng.randrange(min(len(raw), 48))
                raw[at] = rng.choice((0, 0xFF, raw[at] ^ 1 << rng.randrange(8), rng.randrange(256)))
        if rng.random() < 0.98:
            raw = self._with_digests(raw)
        if rng.random() < 0.01:
            raw = raw[: rng.randrange(len(raw))]
        step = rng.choice((len(raw), len(raw), 7, 48)) or 1
        for at in range(0, len(raw), step):
            self.target.receive(bytes(raw[at : at + step]), self._now)

    def _with_digests(self, raw: bytearray) -> bytearray:
        agreed = self.target.negotiated
        if self.target.state is State.LOGIN or agreed is None:
            return raw
        header, data = raw[: pdu.BHS_BYTES], raw[pdu.BHS_BYTES :]
        if agreed.header_digest:
            header += digest(header)
        return header + data + (digest(data) if agreed.data_digest and data else b"")

    def _number(self) -> int:
        rng = self._rng
        return rng.choice(_EDGES) if rng.random() < 0.6 else rng.randrange(1 << rng.choice((4, 11, 16, 32)))

    def _lun(self) -> bytes:
        rng = self._rng
        return lun_bytes(rng.randrange(LUNS)) if rng.random() < 0.9 else rng.randbytes(8)

    def _login_request(self) -> tuple[bytes, bytes]:
        rng = self._rng
        text = b"".join(
            f"{rng.choice(_KEYS)}={rng.choice(_VALUES)}".encode() + b"\0" * (rng.random() < 0.95)
            for _ in range(rng.randrange(6)))
        if rng.random() < 0.1:
            text += rng.randbytes(rng.randrange(200))
        flags = rng.choice((0x00, 0x04, 0x44, 0x81, 0x87, 0x83, 0x40, 0xC0, rng.randrange(256)))
        isid = self._isid if rng.random() < 0.95 else self._some_isid()
        tsih = 0 if rng.random() < 0.95 else rng.choice((1, 0xFFFF))
        return pdu.login_request(flags, isid, tsih, 1, 0, self._cmd_sn, 0, len(text)), text

    def _cdb(self) -> bytes:
        rng = self._rng
        opcode = rng.choice(_OPCODES) if rng.random() < 0.95 else rng.randrange(256)
        body = bytearray(rng.randbytes(15) if rng.random() < 0.3 else bytes(15))
        for _ in range(rng.randrange(3)):
            struct.pack_into(">I", body, rng.randrange(12), self._number() & 0xFFFFFFFF)
        if opcode in _ACTIONS and rng.random() < 0.9:
            body[0] = rng.choice(_ACTIONS[opcode]) | (rng.random() < 0.1) << 5
        elif rng.random() < 0.7:
            body[0] = rng.choice((0, 1, 2, 8, 0x10, 0x18))
        return bytes((opcode,)) + bytes(body)

    def _command(self) -> tuple[bytes, bytes]:
        rng = self._rng
        data = b""
        if rng.random() < 0.5:
            count = rng.choice((0, 4, 16, 24, 28, 512, 1024, rng.randrange(DATA_MAX)))
            data = rng.randbytes(count) if rng.random() < 0.5 else bytes(count)
        flags = rng.choice((0x80, 0xC0, 0xA0, 0xE0, 0x20, 0x40)) | rng.randrange(5)
        expected = len(data) if rng.random() < 0.6 else min(self._number(), 1 << 22)
        self._itt += 1
        sn = self._next_sn()
        immediate = pdu.IMMEDIATE if rng.random() < 0.05 else 0
        return pdu.REQUEST.pack(
            Opcode.SCSI_COMMAND | immediate, flags, 0, 0, len(data), self._lun(), self._some_itt(), expected, sn,
            self._number(), self._cdb()), data

    def _plausible(self) -> tuple[bytes, bytes]:
        """A command that would be carried out, with all its data or the first of them; now and then with a flaw."""
        rng = self._rng
        lun = rng.randrange(LUNS)
        cdb, data, asks = plausible_command(rng, self._units, lun)
        if rng.random() < 0.1:
            spoilt = bytearray(cdb)
            spoilt[rng.randrange(1, 16)] ^= 1 << rng.randrange(8)
            cdb = bytes(spoilt)
        expected = len(data) or asks
        if rng.random() < 0.05:
            expected = rng.choice((0, expected + 1, expected * 2, max(expected - 1, 0)))
        flags = 0x80 | (0x20 if data else 0x40 if asks else 0) | rng.randrange(3)
        limit = 0 if rng.random() < 0.1 else 1024  # as it was agreed on, in most sessions
        self._itt += 1
        return pdu.REQUEST.pack(
            Opcode.SCSI_COMMAND, flags, 0, 0, len(data[:limit]), lun_bytes(lun), self._some_itt(), expected,
            self._next_sn(), 0, cdb), data[:limit]

    def _some_itt(self) -> int:
        return self._itt if self._rng.random() < 0.95 else self._number()

    def _next_sn(self) -> int:
        """Mostly the one whose turn it is."""
        sn = self.target._window.expected  # noqa: SLF001 - what an initiator would have counted itself
        return sn if self._rng.random() < 0.95 else (sn + self._rng.choice((1, 2, 7, 1 << 31, -1))) & 0xFFFFFFFF

    def _data_out(self) -> tuple[bytes, bytes]:
        rng = self._rng
        due = [task for task in self.target.tasks() if task.gathered is not None and task.ttt >= 0]
        if due and rng.random() < 0.8:  # what was asked for
            task = rng.choice(due)
            data = bytes(max(task.burst_end - task.received, 0))[: LIMITS.pdu_bytes]
            return pdu.REQUEST.pack(
                Opcode.SCSI_DATA_OUT, 0x80, 0, 0, len(data), task.lun, task.itt, task.ttt, 0, 0,
                struct.pack(">4xII4x", task.data_sn, task.received)), data
        data = bytes(rng.choice((0, 4, 512, 1024, rng.randrange(DATA_MAX))))
        ttt = self.target._writes.next_ttt - rng.randrange(1, 4) if rng.random() < 0.8 else self._number()  # noqa: SLF001
        itt = max(self._itt - rng.randrange(4), 0)
        return pdu.REQUEST.pack(
            Opcode.SCSI_DATA_OUT, rng.choice((0, 0x80)), 0, 0, len(data), self._lun(), itt, ttt & 0xFFFFFFFF, 0, 0,
            struct.pack(">4xII4x", rng.choice((0, 0, 1, 2)), rng.choice((0, 0, 512, self._number())))), data

    def _other(self) -> tuple[bytes, bytes]:
        rng = self._rng
        kind = rng.choice((Opcode.NOP_OUT, Opcode.TASK_MANAGEMENT_REQUEST, Opcode.TEXT_REQUEST, Opcode.LOGIN_REQUEST,
                           Opcode.SNACK_REQUEST, rng.randrange(64)))  # fmt: skip
        if rng.random() < 0.01:
            kind = Opcode.LOGOUT_REQUEST
        data = b"SendTargets=All\0" if kind is Opcode.TEXT_REQUEST else rng.randbytes(rng.choice((0, 0, 8, 100)))
        immediate = pdu.IMMEDIATE if rng.random() < 0.5 else 0
        self._itt += 1
        return pdu.REQUEST.pack(
            int(kind) | immediate, 0x80 | rng.randrange(10), 0, 0, len(data), self._lun(), self._some_itt(),
            rng.choice((0xFFFFFFFF, self._number())), self._next_sn(), self._number(), rng.randbytes(16)), data

    def check(self) -> None:
        """It has kept to its limits. What it has to say is taken, or it would be right to say no more."""
        target = self.target
        assert target.in_flight <= PARAMS.queue_depth + PARAMS.immediate_max
        assert target._writes.gathered_bytes <= PARAMS.gather_bytes_max + PARAMS.write_length_max  # noqa: SLF001
        sent = sum(len(piece) for piece in target.data_to_send())
        assert sent <= 2 * (OUTPUT_BYTES_MAX + TRANSFER_BYTES_MAX)
        while target.next_event() is not None:
            pass


_KNOWN = f"InitiatorName=iqn.2026-01.example:bad\0TargetName={NAME}\0"
_SIZES = "InitialR2T=No\0MaxBurstLength=4096\0FirstBurstLength=1024\0MaxRecvDataSegmentLength=8192\0"
_STAGES: Sequence[Sequence[tuple[int, str]]] = (
    (),
    ((0x00, _KNOWN + "AuthMethod=CHAP,None\0"),),
    ((0x00, _KNOWN + "AuthMethod=CHAP\0"), (0x00, "CHAP_A=5,7\0")),
    ((0x81, _KNOWN + "AuthMethod=None\0"),),
    ((0x04, _KNOWN),),
    *[((0x87, _KNOWN + _SIZES),)] * 6,
    ((0x87, _KNOWN + "InitialR2T=Yes\0ImmediateData=No\0"),),
    ((0x87, _KNOWN + "HeaderDigest=CRC32C\0DataDigest=CRC32C\0"),),
    ((0x87, "InitiatorName=iqn.2026-01.example:bad\0SessionType=Discovery\0"),),
)


def is_well(node: TargetNode) -> bool:
    """Whether a good initiator gets in and gets an answer (of a node without CHAP)."""
    target = TargetConnection(PARAMS, node, 0)
    text = f"InitiatorName=iqn.2026-01.example:good\0TargetName={NAME}\0".encode()
    target.receive(pdu.login_request(0x87, b"\x80\0\0\0\0\1", 0, 1, 0, 1, 0, len(text)), 0)
    target.receive(text + bytes(-len(text) & 3), 0)
    if target.state is not State.FULL_FEATURE:
        return False
    target.data_to_send()
    target.receive(pdu.REQUEST.pack(
        Opcode.SCSI_COMMAND, 0xC1, 0, 0, 0, bytes(8), 7, 36, 1, 0, bytes.fromhex("120000002400") + bytes(10)), 0)
    answer: list[Buffer] = target.data_to_send()
    target.close()
    return sum(len(piece) for piece in answer) >= pdu.BHS_BYTES + 36


def run(inputs: int, seed: int, progress: Callable[[int], None] = lambda _done: None) -> dict[str, int]:
    """Send so many inputs. Returns what came of it; raises whatever the target raised, with the seed in front of it."""
    counts = {"inputs": 0, "in the full feature phase": 0, "sessions": 0, "full feature": 0, "ended by the target": 0}
    while counts["inputs"] < inputs:
        rng = random.Random(f"{seed}/{counts['sessions']}")
        if counts["sessions"] % 64 == 0:
            node = make_node(chap=counts["sessions"] % 256 == 0)
            progress(counts["inputs"])
        try:
            hostile = Hostile(node, rng)
            counts["full feature"] += hostile.target.state is State.FULL_FEATURE
            for _ in range(INPUTS_A_SESSION):
                if hostile.target.state not in (State.LOGIN, State.FULL_FEATURE):
                    counts["ended by the target"] += 1
                    break
                counts["in the full feature phase"] += hostile.target.state is State.FULL_FEATURE
                hostile.say_something()
                counts["inputs"] += 1
                hostile.check()
            if rng.random() < 0.9:  # some stay, and take up room
                hostile.target.receive_eof(0)
                assert hostile.target.in_flight == 0
            if counts["sessions"] % 64 == 63 and node.access.chap is None:
                assert is_well(node) or len(node.sessions) >= LIMITS.sessions, "a good initiator gets no answer"
        except Exception as error:
            raise RuntimeError(f"seed {seed}, session {counts['sessions']}: {error!r}") from error
        counts["sessions"] += 1
    return counts


def _say(text: str) -> None:
    sys.stderr.write(text)


def main() -> int:
    parser = argparse.ArgumentParser(description="Send the target hostile inputs.")
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX, MEMORY_MAX))

    def progress(done: int) -> None:
        faulthandler.dump_traceback_later(HANG_S, exit=True)
        if sys.stderr.isatty():
            _say(f"\r{done}")

    counts = run(arguments.inputs, arguments.seed, progress)
    faulthandler.cancel_dump_traceback_later()
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    _say(", ".join(f"{count} {name}" for name, count in counts.items()) + f"; {peak_mib} MiB at most\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
