"""``meterbridge bills``: what a person did about a bill by hand."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from meterbridge.cli.ledger_here import ledger_here
from meterbridge.cli.show import AsJson, console, write
from meterbridge.errors import SetupError
from meterbridge.rules.money import amount_text
from tasks.mark_invoiced import mark_invoiced as settle_by_hand

app = typer.Typer(no_args_is_help=True, help="Bills that a person dealt with by hand.")

SOMEBODY = "somebody"


@app.callback()
def bills() -> None:
    """Options that belong to no command."""


@app.command("mark-invoiced")
def mark_invoiced(
    bill_id: Annotated[str, typer.Argument(metavar="ID", help="The m3ter bill's id.")],
    note: Annotated[str, typer.Option(help="What was done, for whoever asks later.")],
    by: Annotated[str, typer.Option(help="Who did it.")] = SOMEBODY,
    subscription: Annotated[str | None, typer.Option(help="Only this subscription's portion of the bill.")] = None,
    as_json: AsJson = False,
) -> None:
    """A person invoiced the bill by hand: its open amounts count as settled; later only a difference is sent."""
    if not note.strip() or not by.strip():
        raise SetupError("MB-COMMAND", "--note and --by must say something")
    with ledger_here() as (_, ledger), ledger.write() as tx:
        settled = settle_by_hand(tx, bill_id.strip(), subscription, by.strip(), note.strip())
        tx.commit()
    if as_json:
        write({"bill_id": bill_id, "settled": [asdict(one) for one in settled]})
        return
    for one in settled:
        money = amount_text(one.amount, one.currency)
        console().print(f"{money} of subscription {one.subscription_id} count as settled by hand", markup=False)
