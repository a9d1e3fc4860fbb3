"""The target's command window: which CmdSN is next, how many more are welcome, and what came early (§4.2.2.1).

One window belongs to one session, which here is one connection. A command takes its number when its turn comes, and
gives its place back when it has been answered or dropped; so MaxCmdSN never goes down.
"""

from mpio.proto.iscsi.pdu import SERIAL_HALF, SERIAL_MASK, RequestHeader

HELD_BYTES_MAX = 1 << 20  # data of commands that came early; more are ignored, as if they were lost


class CommandWindow:
    """Counters of the window, and commands that wait for their turn.

    Attributes:
        expected: ExpCmdSN, the number whose turn it is.
        maximum: MaxCmdSN, the last number that is welcome.
        held: commands that came early, by CmdSN, with their data; None: to be skipped when its turn comes.
    """

    __slots__ = ("_held_bytes", "expected", "held", "maximum")

    def __init__(self, first: int, depth: int) -> None:
        self.expected = first
        self.maximum = (first + depth - 1) & SERIAL_MASK
        self.held: dict[int, tuple[RequestHeader, bytes] | None] = {}
        self._held_bytes = 0

    @property
    def is_shut(self) -> bool:
        """Whether no command is welcome."""
        return (self.maximum - self.expected) & SERIAL_MASK >= SERIAL_HALF

    def accepts(self, cmd_sn: int) -> bool:
        """Whether a command may be taken, now or later; the others are ignored without an answer."""
        width = (self.maximum - self.expected) & SERIAL_MASK
        return width < SERIAL_HALF and (cmd_sn - self.expected) & SERIAL_MASK <= width

    def take(self) -> None:
        """The command whose turn it is has come."""
        self.expected = (self.expected + 1) & SERIAL_MASK

    def release(self) -> None:
        """A command is done with: one more is welcome."""
        self.maximum = (self.maximum + 1) & SERIAL_MASK

    def hold(self, header: RequestHeader, data: bytes) -> None:
        """Keep a command that came early. A second one with the same number is ignored."""
        if header.cmd_sn not in self.held and self._held_bytes + len(data) <= HELD_BYTES_MAX:
            self.held[header.cmd_sn] = (header, data)
            self._held_bytes += len(data)

    def skip(self, cmd_sn: int) -> None:
        """Count a command as received and done, whether it comes or not."""
        self._discard(self.held.get(cmd_sn))
        self.held[cmd_sn] = None

    def next_held(self) -> tuple[RequestHeader, bytes] | None:
        """Take the held command whose turn it is, if there is one."""
        while self.expected in self.held:
            command = self.held.pop(self.expected)
            self.take()
            if command is not None:
                self._discard(command)
                return command
            self.release()
        return None

    def _discard(self, command: tuple[RequestHeader, bytes] | None) -> None:
        if command is not None:
            self._held_bytes -= len(command[1])
