"""When to ping a silent peer, and when to give it up (iscsid: noop_out_interval and noop_out_timeout).

Every byte received is proof of life, not only the answer to the ping.
"""

from enum import Enum

LATE_NS = 20_000_000
"""A timer that comes this late was held up in our own process, which then has not read what the peer sent."""


class Verdict(Enum):
    """What is to be done now."""

    NOTHING = 0
    PING = 1
    DEAD = 2


class Keepalive:
    """The silence timer of one connection. Both durations 0: never pings.

    Attributes:
        last_receive_ns: when the last bytes came.
    """

    def __init__(self, interval_ns: int, timeout_ns: int) -> None:
        self._interval_ns = interval_ns
        self._timeout_ns = timeout_ns
        self.last_receive_ns = 0
        self._pinged = False  # and nothing has come since
        self._forgiven = False
        self._deadline_ns = 0  # of the answer, while pinged

    def received(self, now: int) -> None:
        """Something came."""
        self.last_receive_ns = now
        self._pinged = False

    def next_deadline(self) -> int | None:
        """When `check` has something to say."""
        if not self._timeout_ns:
            return None
        return self._deadline_ns if self._pinged else self.last_receive_ns + self._interval_ns

    def check(self, now: int) -> Verdict:
        """What is due. PING is said once in a silence; the ping is then taken as sent.

        If the check itself comes late, the peer can't be accused: it gets as long again as we were late, at most the
        whole timeout, once in a silence.
        """
        deadline = self.next_deadline()
        if deadline is None or now < deadline:
            return Verdict.NOTHING
        if not self._pinged:
            self._pinged, self._forgiven = True, False
            self._deadline_ns = now + self._timeout_ns
            return Verdict.PING
        late_ns = now - deadline
        if late_ns > LATE_NS and not self._forgiven:
            self._forgiven = True
            self._deadline_ns = now + min(late_ns, self._timeout_ns)
            return Verdict.NOTHING
        return Verdict.DEAD
