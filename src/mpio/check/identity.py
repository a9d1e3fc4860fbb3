"""Identity: two logical units never under one map.

A simulator knows which unit answers a command; a map knows only what the unit says of itself. Told of both, this check
finds a map that was made to believe.
"""

from mpio.check.breach import Breach, Breaches


class IdentityCheck:
    """Told of every request's command that a unit has begun.

    Rules: `two-units` requests of one map reached two units; `two-disks` a map's size or block size changed under it.
    """

    def __init__(self) -> None:
        self._unit: dict[str, tuple[object, str]] = {}
        self._shape: dict[str, tuple[int, int]] = {}
        self._breaches = Breaches()

    @property
    def breaches(self) -> list[Breach]:
        """What was broken so far."""
        return self._breaches.kept

    def served(self, map_name: str, path: str, unit: object, t_ns: int) -> None:
        """A read, write, flush or discard of the map's users reached this unit (any name or object of it) by a path."""
        first, first_path = self._unit.setdefault(map_name, (unit, path))
        if first != unit:
            self._breaches.add(
                "two-units", t_ns, f"{map_name}: {path} leads to {unit}, {first_path} to {first}")

    def seen(self, map_name: str, blocks: int, block_size: int, t_ns: int) -> None:
        """The map shows its users a disk of this shape."""
        shape = self._shape.setdefault(map_name, (blocks, block_size))
        if shape != (blocks, block_size):
            self._breaches.add("two-disks", t_ns, f"{map_name}: {blocks} blocks of {block_size} bytes, "
                                                  f"it had {shape[0]} of {shape[1]}")
