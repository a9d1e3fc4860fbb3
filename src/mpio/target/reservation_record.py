"""Persistent reservations as text, to be kept while the target does not run (APTPL, SPC-4 §5.13.5).

The text is JSON. What can't be read is an error, never an empty state: an initiator that has been fenced off must not
come back because a file was damaged.
"""

import json
from typing import Any, Protocol

from mpio.proto.scsi.reservation import ReservationType
from mpio.target.nexus import NexusKey
from mpio.target.reservation import PersistentReservations

VERSION = 1


class ReservationKeeper(Protocol):
    """Keeps the text of one logical unit. Both methods may raise StoreError."""

    def load(self) -> str | None:
        """The text as last saved, None if there is none."""

    def save(self, text: str | None) -> None:
        """Keep a text, on stable storage when this returns; None: nothing is to be kept any more."""


def encode(state: PersistentReservations) -> str:
    """The registrations and the reservation as text."""
    order = list(state.keys)
    return json.dumps({
        "version": VERSION,
        "type": state.type,
        "holder": None if state.holder is None else order.index(state.holder),
        "registrations": [
            {"initiator": nexus.initiator, "isid": nexus.isid.hex(), "tpgt": nexus.tpgt, "key": f"{key:016x}"}
            for nexus, key in state.keys.items()
        ],
    }, indent=1)


def decode(text: str) -> PersistentReservations:
    """A state from its text; the generation counts from 0 again. Raises ValueError with what is wrong."""
    try:
        record: dict[str, Any] = json.loads(text)
        if record["version"] != VERSION:
            raise ValueError(f"expected version {VERSION}, found {record['version']!r}")
        state = PersistentReservations()
        for entry in record["registrations"]:
            nexus = NexusKey(str(entry["initiator"]), bytes.fromhex(entry["isid"]), int(entry["tpgt"]))
            state.keys[nexus] = int(entry["key"], 16)
        if record["type"] is not None:
            state.type = ReservationType(record["type"])
        if record["holder"] is not None:
            state.holder = list(state.keys)[record["holder"]]
        if not all(state.keys.values()) or (state.type is not None and not state.keys):
            raise ValueError("a registration without a key, or a reservation without registrations")
        if (state.holder is None) is not (state.type is None or state.holds_jointly):
            raise ValueError("the holder does not fit the type of the reservation")
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(f"a part is missing or of another kind: {error}") from None
    state.aptpl = True
    return state
