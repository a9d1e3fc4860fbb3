"""What was on the medium before a write, for filters that undo some of it behind the unit's back.

The write itself goes its usual way, with all checks of the unit; only what it left is changed, and only if it went
well. Where a unit runs its commands one at a time, nobody sees what was there in between; over a store that has several
I/Os in flight, somebody may.
"""

from mpio.target.filters.request import Request
from mpio.target.response import Response
from mpio.target.store import StoreError


def image_before(request: Request) -> bytes | None:
    """The bytes that a plain write is about to replace; None if it can't be told, or if they stay the same."""
    unit, span = request.unit, request.span
    if unit is None or span is None or len(request.data) != span[1]:
        return None
    try:
        before = unit.store.read(*span)
    except StoreError:
        return None
    return before if before != request.data else None


def put_back(request: Request, response: Response, image: bytes, before: bytes) -> None:
    """Lay an image over what a write that went well has left, if the write took place where `before` was."""
    unit, span = request.unit, request.span
    if response.status != 0 or unit is None or span is None or len(before) != len(image):
        return
    try:
        unit.store.write(span[0], image)
    except StoreError:
        return  # the write itself stays, which is no fault
