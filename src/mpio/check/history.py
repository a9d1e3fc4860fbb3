"""The history of a run: one record for each I/O, as JSON lines, and the block check replayed from it.

A record says when the I/O was invoked and when it ended, by the run's one clock, and how: `ok`, `fail` (the error is a
fact) or `unknown` (a write that may or may not land). Reads carry what they saw as runs of `[sequence, blocks]`,
negative for a Defect, so that the verdict can be worked out again from the file alone.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal, get_args

from mpio.check.blocks import Finding, ReadToken, RegisterCheck

Op = Literal["read", "write", "flush", "discard"]
Ending = Literal["ok", "fail", "unknown"]
LINES_MAX = 2_000_000  # a history of days stays bounded; records beyond it are counted only


@dataclass(frozen=True, slots=True)
class IoRecord:
    """One I/O. `offset` and `length` in bytes; `end_ns` None for one that had not ended with the run.

    `seen`: for reads, runs of (sequence, blocks). `path`: for reads through one path, else None.
    `node`: in runs of several, whose workload it is; `id` and `worker` count by node.
    """

    id: int
    op: Op
    offset: int
    length: int
    start_ns: int
    end_ns: int | None
    outcome: Ending
    error: str | None = None
    seq: int | None = None
    worker: int = 0
    seen: tuple[tuple[int, int], ...] | None = None
    path: str | None = None
    node: int | None = None

    def to_json(self) -> str:
        """One JSON line without the line end."""
        record: dict[str, object] = {
            "id": self.id, "op": self.op, "offset": self.offset, "length": self.length, "start_ns": self.start_ns,
            "end_ns": self.end_ns, "outcome": self.outcome, "error": self.error, "seq": self.seq,
            "worker": self.worker,
        }
        if self.seen is not None:
            record["seen"] = self.seen
        if self.path is not None:
            record["path"] = self.path
        if self.node is not None:
            record["node"] = self.node
        return json.dumps(record, ensure_ascii=False)

    @classmethod
    def from_json(cls, line: str) -> "IoRecord":
        """Read a line that `to_json` wrote. Raises ValueError, KeyError or TypeError on anything else."""
        record = json.loads(line)
        if not isinstance(record, dict):
            raise ValueError("a history line must be a JSON object")
        if record["op"] not in get_args(Op) or record["outcome"] not in get_args(Ending):
            raise ValueError(f"unknown op or outcome: {record['op']!r}, {record['outcome']!r}")
        seen = record.pop("seen", None)
        return cls(**record, seen=None if seen is None else tuple((int(value), int(count)) for value, count in seen))


def runs(values: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Run lengths: [7, 7, 8] becomes ((7, 2), (8, 1))."""
    return tuple((value, sum(1 for _ in group)) for value, group in groupby(values))


def check_history(
    records: Iterable[IoRecord], first_lba: int, blocks: int, block_size: int, *, late_unknowns_legal: bool = False,
) -> list[Finding]:
    """Replay a history through the block check; `late_unknowns_legal` as there.

    Where an end and a beginning carry the same instant, they count as concurrent.
    """
    check = RegisterCheck(first_lba, blocks, late_unknowns_legal=late_unknowns_legal)
    steps: list[tuple[int, int, IoRecord]] = []  # (instant, 0 for invoked and 1 for ended, record)
    for record in records:
        if record.op in ("read", "write"):
            steps.append((record.start_ns, 0, record))
            if record.end_ns is not None:
                steps.append((record.end_ns, 1, record))
    steps.sort(key=lambda step: (step[0], step[1], step[2].id))
    tokens: dict[int, ReadToken] = {}
    for _, is_end, record in steps:
        lba, count = record.offset // block_size, record.length // block_size
        if record.op == "write":
            assert record.seq is not None, "a write without its sequence"
            if is_end:
                check.write_ended(lba, count, record.seq, acknowledged=record.outcome == "ok")
            else:
                check.write_invoked(lba, count, record.seq)
        elif not is_end:
            tokens[record.id] = check.read_invoked(lba, count)
        elif record.outcome == "ok" and record.seen is not None:
            found = [value for value, length in record.seen for _ in range(length)]
            check.read_ended(tokens.pop(record.id), lba, found, t_ns=record.end_ns or 0, path=record.path,
                             io=record.id)
    return check.findings()
