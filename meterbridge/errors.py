"""Every error the bridge raises, grouped by what the caller does next.

    MeterbridgeError
    ├── SetupError        a person must change configuration; stop
    ├── RetriableError    nothing was decided; try later
    │   ├── Throttled     after ``retry_after`` seconds
    │   └── OnHold        once a person lets it go on
    ├── OutcomeUnknown    a write may have landed; probe before any resend
    ├── RecordRefused     this record cannot pass; quarantine it, go on
    ├── Exhausted         the machine has no room left; a person makes some, then run again
    ├── Interrupted       somebody stopped it; run again
    └── BrokenInvariant   our bug or corrupt state; stop

Each carries a code out of :data:`CODES`; the code's remedy tells the person who
reads it at night what to do. ``docs/reference/error-codes.md`` lists the same
table and a test keeps the two in step.
"""

from __future__ import annotations

from meterbridge.codes import CODES, Code
from meterbridge.redaction import without_secrets

__all__ = [
    "CODES",
    "BrokenInvariant",
    "Code",
    "Exhausted",
    "Interrupted",
    "MeterbridgeError",
    "OnHold",
    "OutcomeUnknown",
    "RecordRefused",
    "RetriableError",
    "SetupError",
    "Throttled",
]


class MeterbridgeError(Exception):
    """Base of all; carries code, message and remedy.

    Args:
        code: A key of :data:`CODES`.
        message: What happened, to which record; no personal data. Registered secrets are masked: it may hold a
            vendor's words, and one vendor's answer may quote what only another one should know.
        remedy: What to do, when the code's own words are not exact enough.
        key: The record's natural key or id, where there is one.
    """

    def __init__(self, code: str, message: str, *, remedy: str | None = None, key: str | None = None) -> None:
        message = without_secrets(message)
        super().__init__(message)
        self.code = code
        self.message = message
        self.remedy = remedy or CODES[code].remedy
        self.key = key

    def __str__(self) -> str:
        return f"{self.code}: {self.message} → {self.remedy}"


class SetupError(MeterbridgeError):
    """A person must change configuration; the run stops (exit 2)."""


class RetriableError(MeterbridgeError):
    """Nothing was decided or written; trying later may work."""


class Throttled(RetriableError):
    """A vendor asked us to wait.

    ``retry_after`` is in seconds, as the vendor said, else None.
    """

    def __init__(self, code: str, message: str, *, retry_after: float | None = None, key: str | None = None) -> None:
        super().__init__(code, message, key=key)
        self.retry_after = retry_after


class OnHold(RetriableError):
    """A person stopped the sending: nothing of this was sent, and nothing is until somebody lets it go on (exit 3)."""


class OutcomeUnknown(MeterbridgeError):
    """A write left us and its answer never came: probe before any resend.

    ``status`` is what the vendor answered last, where it answered: 409 or 429 may mean that it is still at work on it.
    """

    def __init__(self, code: str, message: str, *, key: str | None = None, status: int | None = None) -> None:
        super().__init__(code, message, key=key)
        self.status = status


class RecordRefused(MeterbridgeError):
    """This record cannot pass for a reason of its own; the others go on.

    ``status`` and ``vendor_code`` say what the vendor answered, where one did;
    ``replayed`` is True when the vendor served the answer from its idempotency store.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        remedy: str | None = None,
        key: str | None = None,
        status: int | None = None,
        vendor_code: str | None = None,
        replayed: bool = False,
    ) -> None:
        super().__init__(code, message, remedy=remedy, key=key)
        self.status = status
        self.vendor_code = vendor_code
        self.replayed = replayed


class Exhausted(MeterbridgeError):
    """The machine has no room left, on disk or in memory: trying again at once would only meet the same."""


class Interrupted(MeterbridgeError):
    """Somebody stopped it."""


class BrokenInvariant(MeterbridgeError):
    """Our bug or corrupt state; going on would make it worse."""
