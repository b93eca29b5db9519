"""When a request may be sent again, and after how long: a pure decision.

The policy knows no clock, no socket and no vendor. The transport tells it what
became of one try; it answers with a pause in seconds, or with None: stop.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Fate(Enum):
    """What became of one try."""

    ANSWERED = "answered"
    """The vendor did what we asked and its answer can be read."""
    NOT_SENT = "not sent"
    """Nothing of the request reached the vendor: refused connection, no token, no free slot."""
    NOT_EXECUTED = "not executed"
    """The vendor says that it did nothing and wants us to come back (429, a typed 503)."""
    LOST = "lost"
    """The request left us and no usable answer came: a write may have landed."""
    AT_WORK = "at work"
    """The vendor may still be at work on an earlier try under the same key: a refusal of this one proves nothing."""
    REFUSED = "refused"
    """The vendor refuses this very request; sending it again changes nothing."""
    STOPPED = "stopped"
    """Configuration is at fault: credentials, rights, addresses."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Bounded tries with full jitter between them.

    Args:
        attempts: Tries in all, the first one included.
        first_delay: Upper end of the first pause, in seconds; doubles with each try.
        max_delay: Upper end of any pause that the vendor did not ask for, in seconds.
        retry_after_cap: Longest ``Retry-After`` that is waited for, in seconds; a longer one
            ends the tries at once, for coming back early would only be refused again.
    """

    attempts: int = 5
    first_delay: float = 0.5
    max_delay: float = 20.0
    retry_after_cap: float = 120.0

    def pause(
        self, fate: Fate, *, attempt: int, repeatable: bool, jitter: float, retry_after: float | None = None
    ) -> float | None:
        """Seconds until the next try, or None when there must be none.

        Args:
            fate: What became of the try just made.
            attempt: Its number, from 1.
            repeatable: Whether the request may be executed twice without harm.
            jitter: A random number in [0, 1).
            retry_after: Seconds that the vendor asked for, if it did.

        >>> RetryPolicy(first_delay=1.0).pause(Fate.NOT_EXECUTED, attempt=2, repeatable=False, jitter=0.5)
        1.0
        >>> RetryPolicy().pause(Fate.LOST, attempt=1, repeatable=False, jitter=0.5) is None
        True
        """
        if attempt >= self.attempts or not self._may_repeat(fate, repeatable):
            return None
        backoff = jitter * min(self.max_delay, self.first_delay * 2.0 ** (attempt - 1))
        if retry_after is None:
            return backoff
        if retry_after > self.retry_after_cap:
            return None
        return retry_after + jitter * self.first_delay

    @staticmethod
    def _may_repeat(fate: Fate, repeatable: bool) -> bool:
        if fate in (Fate.NOT_SENT, Fate.NOT_EXECUTED, Fate.AT_WORK):
            return True
        return fate is Fate.LOST and repeatable
