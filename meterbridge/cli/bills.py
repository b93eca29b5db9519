"""``meterbridge bills``: what a person did about a bill by hand."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from meterbridge.cli.ledger_here import ledger_here
from meterbridge.cli.show import AsJson, say, write
from meterbridge.errors import SetupError
from meterbridge.ledger import releases
from meterbridge.rules.money import amount_text
from tasks.mark_invoiced import mark_invoiced as settle_by_hand
from tasks.release_bill import release as release_bill

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
        say(f"{money} of subscription {one.subscription_id} count as settled by hand")


@app.command("release")
def release(
    bill_id: Annotated[str, typer.Argument(metavar="ID", help="The m3ter bill's id.")],
    amount: Annotated[str, typer.Option(help="How much beyond the bill's total may be charged, such as 12.50.")],
    by: Annotated[str, typer.Option(help="Who allows it; it is written down.")],
    note: Annotated[str, typer.Option(help="Why, for whoever asks later.")],
    as_json: AsJson = False,
) -> None:
    """Allow a bill to be charged beyond its total; the next `sync bills` sends what it held back, up to the amount."""
    if not note.strip() or not by.strip():
        raise SetupError("MB-COMMAND", "--note and --by must say something")
    with ledger_here() as (settings, ledger), ledger.write() as tx:
        places = settings.three_decimal_exponent
        entry = release_bill(tx, bill_id.strip(), amount, by.strip(), note.strip(), three_decimal=places)
        total = sum(one.amount for one in releases.of(tx, entry.bill_id))
        tx.commit()
    if as_json:
        write({"bill_id": entry.bill_id, "amount": entry.amount, "currency": entry.currency, "released": total})
        return
    money, all_of_it = (amount_text(minor, entry.currency) for minor in (entry.amount, total))
    say(f"{money} released for bill {entry.bill_id}, {all_of_it} in all")
