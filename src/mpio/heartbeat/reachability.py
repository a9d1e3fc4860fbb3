"""How well clients reach this node: the score of a ping list, damped as ocf:pacemaker:ping and attrd do it.

A host counts if it answered within the last `attempts` rounds. The score is the hosts that count times the multiplier.
A new score is told only after it has been different from the told one for the whole dampening time; what is told then
is the score of that moment, so flapping delays the news by no more than that. Dampening should be longer than what the
network takes to heal itself, so that a switch-over moves no service.
"""

from collections.abc import Sequence

from mpio.heartbeat.machine import Reachable
from mpio.units import NS_PER_S


class Reachability:
    """The score of one node.

    Args:
        hosts: the ping list: hosts on the clients' network, never a node of the cluster. Raises ValueError if empty.
        multiplier: points for each.
        dampen_ns: how long a change must last.
        attempts: how many rounds in a row a host may stay silent, less one.

    Attributes:
        score: what was told last, at first 0. raw: what the last rounds amount to.
    """

    def __init__(self, hosts: Sequence[str], multiplier: int = 1, dampen_ns: int = 5 * NS_PER_S,
                 attempts: int = 3) -> None:
        if not hosts or len(dict.fromkeys(hosts)) != len(hosts):
            raise ValueError(f"ping list: expected at least one host and each once, found {', '.join(hosts) or 'none'}")
        if multiplier < 1 or attempts < 1 or dampen_ns < 0:
            raise ValueError(f"ping list: expected a multiplier and attempts of at least 1 and a dampening of 0 or "
                             f"more, found {multiplier}, {attempts} and {dampen_ns} ns")
        self.score = 0
        self._multiplier = multiplier
        self._dampen_ns = dampen_ns
        self._attempts = attempts
        self._silent = dict.fromkeys(hosts, attempts)
        self._different_since: int | None = None

    @property
    def raw(self) -> int:
        """The score without dampening."""
        return self._multiplier * sum(silent < self._attempts for silent in self._silent.values())

    def heard(self, host: str, answered: bool, now: int) -> list[Reachable]:
        """One round's result for a host. Returns the new score if it is time to tell it. KeyError: not in the list."""
        self._silent[host] = 0 if answered else min(self._silent[host] + 1, self._attempts)
        if self.raw == self.score:
            self._different_since = None
        elif self._different_since is None:
            self._different_since = now
        return self.handle_timer(now)

    def handle_timer(self, now: int) -> list[Reachable]:
        """Tell the score if the dampening time is over."""
        if self._different_since is None or now < self._different_since + self._dampen_ns:
            return []
        self._different_since = None
        self.score = self.raw
        return [Reachable(self.score)]

    def next_deadline(self) -> int | None:
        """When a change has lasted long enough; None while there is none."""
        return None if self._different_since is None else self._different_since + self._dampen_ns
