"""``meterbridge hold`` and ``release``: a person stops the sending, for all or one customer, and lets it go on."""

from __future__ import annotations

from typing import Annotated

import typer

from meterbridge.cli.ledger_here import ledger_here
from meterbridge.cli.show import AsJson, say, write
from meterbridge.errors import SetupError
from meterbridge.ledger import holds

Customer = Annotated[str | None, typer.Option(help="Only writes for this Chargebee customer; without it all.")]
By = Annotated[str, typer.Option(help="Who says so; it is written down.")]
Note = Annotated[str, typer.Option(help="Why, for whoever asks later.")]


def hold(by: By, note: Note, customer: Customer = None, as_json: AsJson = False) -> None:
    """Stop the sending: from the next write on nothing leaves, by any process on this ledger, until `release`."""
    _set("hold", customer, by, note, as_json=as_json)


def release(by: By, note: Note, customer: Customer = None, as_json: AsJson = False) -> None:
    """Let the sending go on that `hold` stopped; a hold on everybody and one on a customer are released apart."""
    _set("release", customer, by, note, as_json=as_json)


def _set(what: str, customer: str | None, by: str, note: str, *, as_json: bool) -> None:
    whom, by, note = (customer or holds.ALL).strip(), by.strip(), note.strip()
    if not by or not note or (customer is not None and not whom):
        raise SetupError("MB-COMMAND", "--by, --note and --customer must say something")
    with ledger_here() as (_, ledger):
        with ledger.write() as tx:
            done = (holds.put if what == "hold" else holds.release)(tx, whom, by, note)
            tx.commit()
        with ledger.read() as rx:
            in_force = holds.active(rx)
    named = f"customer {whom}" if whom else "everything"
    if not done:
        state = "on hold already" if what == "hold" else "not on hold"
        raise SetupError("MB-COMMAND", f"{named} is {state}", remedy="`meterbridge status` shows every hold.")
    if as_json:
        write({"holds": holds.shown(in_force)})
        return
    say(f"{named}: {'nothing is sent any more' if what == 'hold' else 'sending goes on'}")
    for one in in_force:
        say(one.words)
