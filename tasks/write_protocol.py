"""What a kind of write says about itself, and what may come of it: the small interface that every kind implements."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from connectors.transport import Answer, Request
from meterbridge.errors import MeterbridgeError, OutcomeUnknown, RecordRefused
from meterbridge.ledger.intents import IntentRow
from meterbridge.ledger.ledger import Writer
from tasks.batch import Batch


@dataclass(frozen=True, slots=True)
class Send:
    """This request must go out.

    Args:
        baseline: What stands at the target before the first try (JSON values).
        again: The vendor still knows the key of an earlier try, which may be running: the same try goes on.
    """

    request: Request
    baseline: Mapping[str, Any] = field(default_factory=dict)
    again: bool = False


@dataclass(frozen=True, slots=True)
class Done:
    """The target is as intended. ``close`` writes that down; it returns False if another run has taken the row over.

    ``written``: a write of ours made it so. ``note`` is for the report. ``remote_id`` names what was made, where one
    batch may have made it twice.
    """

    close: Callable[[Writer], bool]
    written: bool = True
    note: str = ""
    remote_id: str = ""


@dataclass(frozen=True, slots=True)
class Wrong:
    """What was booked is not what was sent: it is corrected, then the row is set aside.

    ``correct`` writes down what is right of it and takes off what is wrong, each a write of its own.
    """

    refusal: RecordRefused
    correct: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Later:
    """It may have landed and is not in sight: the row stays ``unknown`` and is looked for again later."""

    why: str


@dataclass(frozen=True, slots=True)
class Left:
    """Nothing may be done about the row here: it stays as it is, and so does what comes after it in its scope.

    ``unsent``: it was marked, and its request never left.
    """

    why: str
    unsent: bool = False


@dataclass(frozen=True, slots=True)
class Superseded:
    """The bill is no longer what the row was decided on: the next run decides anew."""


@dataclass(frozen=True, slots=True)
class Failed:
    """Trouble ended it. ``unsent``: nothing of a marked attempt was executed."""

    error: MeterbridgeError
    unsent: bool = False


Step = Send | Done | Wrong | Later | Left
Outcome = Done | Wrong | Later | Left | Superseded | Failed


class Write(Protocol):
    """One kind of write, for the rows of one batch. Methods are called from threads, one at a time for each scope."""

    width: ClassVar[int] = 1
    """Rows marked in one commit and sent side by side, scopes apart."""

    def lanes(self, rows: Sequence[IntentRow]) -> tuple[list[list[IntentRow]], list[list[IntentRow]]]:
        """Lanes that go alone, one after the other, and then those that go side by side."""
        return [list(rows)], []

    def look(self, row: IntentRow) -> Step:
        """See what stands, and what must be sent.

        Raises:
            RecordRefused: It must not be sent; the row is set aside.
        """
        raise NotImplementedError

    def read(self, row: IntentRow, sent: Send, answer: Answer) -> Done | Wrong:
        """Read what an answer shows of the row.

        Raises:
            RecordRefused: What stands is not what was sent.
            OutcomeUnknown: The answer cannot be read; the write has landed.
        """
        raise NotImplementedError

    def failed(self, row: IntentRow, sent: Send, failure: RecordRefused | OutcomeUnknown) -> Step:
        """Go on after a refusal or a lost answer; by default that is what became of the row."""
        del row, sent
        raise failure

    def set_aside(self, tx: Writer, row: IntentRow, refusal: RecordRefused) -> RecordRefused:
        """The refusal as the row is closed with; ``tx`` knows what became of the rows before it in the same hand."""
        del tx, row
        return refusal

    def overtaken(self, row: IntentRow, done: Done) -> None:
        """Another run had taken the row over when this one's write was to be written down."""


Open = Callable[[Batch], Write]
"""Makes the kind's writer for a batch."""
