"""Every error code, with its meaning and its remedy; ``docs/reference/error-codes.md`` lists the same table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Code:
    """One error code: what it means, and what to do about it."""

    meaning: str
    remedy: str


CODES: dict[str, Code] = {
    # --- configuration: exit 2 -------------------------------------------------
    "MB-SETTING": Code(
        "A setting is missing or has a wrong value.", "Set it in the environment, .env or meterbridge.toml."
    ),
    "MB-CATALOG": Code(
        "The catalog map cannot be read.", "Correct the file at the line named; `meterbridge doctor` checks it."
    ),
    "MB-CREDENTIALS": Code(
        "A vendor refuses our credentials or their rights.",
        "Check key, secret, site and organisation; `meterbridge doctor` names the missing right.",
    ),
    "MB-SITE": Code(
        "The Chargebee site cannot be used.", "The site must run Product Catalog 2.0 with metered billing on."
    ),
    "MB-BOUND": Code(
        "The ledger is bound to another site and organisation.",
        "Use another METERBRIDGE_CONNECTION or METERBRIDGE_LEDGER_URL for this pair.",
    ),
    "MB-BILLS-SINCE": Code(
        "The first bills run needs to know the first bill date to charge.",
        "Set METERBRIDGE_BILLS_SINCE to the first bill date (YYYY-MM-DD) that meterbridge may charge.",
    ),
    "MB-NATIVE": Code(
        "m3ter's own Chargebee integration is enabled for the same accounts.",
        "Compare with `meterbridge sync bills --shadow`, then disable it in m3ter or take these accounts off it.",
    ),
    "MB-ORIGIN": Code(
        "A foreign package named flows, tasks or connectors comes first on the path.",
        "Run in an environment of its own, or put the checkout first in PYTHONPATH.",
    ),
    "MB-LEDGER-BEHIND": Code(
        "The ledger is older than what was written by it: a backup was restored, or it was lost.",
        "Put the newest ledger in its place, or run `meterbridge ledger rebuild`.",
    ),
    "MB-LEDGER-COPY": Code(
        "The ledger is a copy, and the one that it was copied from is still there.",
        "Work with one of them only, and remove the other; until then everything is looked up before it is charged.",
    ),
    "MB-SCHEMA": Code(
        "The ledger's schema does not fit this version.",
        "Run `meterbridge doctor`; upgrade meterbridge if the ledger is newer.",
    ),
    "MB-APPROVAL": Code(
        "There is nothing to approve under this hash.",
        "`meterbridge status` shows what awaits approval, and under which hash.",
    ),
    "MB-COMMAND": Code("The command was called in a way that cannot work.", "See `meterbridge COMMAND --help`."),
    "MB-USAGE-MAPPING": Code(
        "The usage mapping cannot be read, or does not fit m3ter's meters.", "Correct the file at the line named."
    ),
    "MB-USAGE-INPUT": Code(
        "The usage input is not there, not whole, or not as it was asked for (--strict, --expect-rows).",
        "Correct what the message names; nothing of the input was sent.",
    ),
    "MB-LOOPBACK": Code(
        "The demo and the tests talk to loopback addresses only.",
        "Unset the base URLs, or use `meterbridge sync` for a real account.",
    ),
    # --- passing trouble: exit 1, the next run tries again -----------------------
    "MB-THROTTLED": Code(
        "A vendor kept answering 429.",
        "Lower the request rate setting, or wait; the next run goes on where this one stopped.",
    ),
    "MB-UNAVAILABLE": Code(
        "A vendor or the ledger could not be reached or was out of order.",
        "Nothing is lost: run again when it answers; see the vendor's status page.",
    ),
    "MB-TIME-TRAVEL": Code(
        "The Chargebee test site is on its way to another time.",
        "Run again when Time Machine has arrived: what is due on the way has not all happened yet.",
    ),
    "MB-ANSWER": Code(
        "A vendor's answer cannot be read.", "Run again; if it stays, keep the staging file and report it."
    ),
    "MB-OUTCOME-UNKNOWN": Code(
        "A write may or may not have landed.", "Run again: it is looked up before anything is sent twice."
    ),
    "MB-HELD": Code(
        "Another run holds records of this one.",
        "Wait for it to end, or for its lease (60 s) to run out, then run again.",
    ),
    "MB-PREFECT": Code(
        "Prefect's server cannot be reached, or answers that it is out of order.",
        "Start it, or correct PREFECT_API_URL; unset, a command starts a server of its own.",
    ),
    "MB-DISK": Code(
        "The disk is full.",
        "Make room, or set METERBRIDGE_HOME to another disk; then run again: nothing is lost.",
    ),
    "MB-MEMORY": Code(
        "The machine, or DuckDB's limit, has too little memory.",
        "Read less at once (`--id`, smaller files), or run on a larger machine; nothing is lost.",
    ),
    "MB-INTERRUPTED": Code("Somebody stopped the command.", "Nothing is lost: the next run goes on from here."),
    # --- stopped by a person: exit 3 ----------------------------------------------
    "MB-ON-HOLD": Code(
        "A person stopped the sending, for everybody or for this customer.",
        "`meterbridge status` shows who and why; `meterbridge release` lets it go on.",
    ),
    # --- one record cannot pass: quarantined, exit 3 -------------------------------
    "MB-REFUSED": Code(
        "A vendor refused this record.",
        "Correct the record as the vendor's message says, then `meterbridge quarantine retry`.",
    ),
    "MB-RECORD": Code(
        "A record from a vendor misses a field the bridge needs.",
        "Complete the record at the vendor, then `meterbridge quarantine retry`.",
    ),
    "MB-MISSING": Code(
        "Chargebee's events tell of a record that was asked for by id and that Chargebee does not show.",
        "Wait: each run asks again. If it is gone for good, `meterbridge quarantine dismiss`.",
    ),
    "MB-FOREIGN-EDIT": Code(
        "Somebody changed or deleted an account plan or an account of ours in m3ter.",
        "Undo it there, dismiss it to accept it, or sync with on_foreign_edit=repair to bring it back.",
    ),
    "MB-ACCOUNT-CLASH": Code(
        "An m3ter account's code equals the customer id only after case folding, or it is mapped elsewhere or "
        "another site's.",
        "Rename one, correct the external mapping in m3ter, or set site_in_ids, then retry.",
    ),
    "MB-ACCOUNT-TWIN": Code(
        "An m3ter account of nobody has this customer's e-mail or name; a second one would split its usage and bills.",
        "Link the two (`meterbridge link`), or dismiss the record to give the customer an account of its own.",
    ),
    "MB-LINK": Code(
        "A line of a link file contradicts what stands.",
        "Correct or remove the line as its message says, then apply the file again; the other lines went through.",
    ),
    "MB-ACCOUNT-CURRENCY": Code(
        "The customer's subscriptions have two currencies; an account has one.",
        "Set on_product_overlap to child_account, or split the customer.",
    ),
    "MB-ID-CLASH": Code(
        "Two different subscription items make the same external id.",
        "Rename one of the subscription or item price ids.",
    ),
    "MB-PLAN-AMBIGUOUS": Code(
        "Several unmapped account plans could be this subscription item's.",
        "Map the right one in m3ter (external mapping), then retry.",
    ),
    "MB-PLAN-OVERLAP": Code(
        "Two subscription items of one customer are on plans of the same product.",
        "Set on_product_overlap to child_account, or allow overlapping plans in m3ter.",
    ),
    "MB-PLAN-UNKNOWN": Code(
        "The catalog names an m3ter plan that does not exist.",
        "Correct the catalog, or create the plan in m3ter; then retry.",
    ),
    "MB-PLAN-CURRENCY": Code(
        "The item price's currency differs from its m3ter plan's.", "Map the item price to a plan of its currency."
    ),
    "MB-PLAN-BILLED": Code(
        "An account plan that should never have existed has started or was billed.",
        "Decide in m3ter: delete it (the next run takes that over), or give it an end and dismiss.",
    ),
    "MB-STATUS": Code(
        "The subscription is in a state the bridge cannot place.",
        "See the message; correct the subscription, then retry.",
    ),
    "MB-BILL-CURRENCY": Code(
        "Bill, subscription and invoice do not share one currency.",
        "Correct the account's currency in m3ter and recalculate the bill.",
    ),
    "MB-BILL-TOTAL": Code("The bill's lines do not add up to its total.", "Recalculate the bill in m3ter, then retry."),
    "MB-BILL-LINE": Code(
        "A bill line cannot be placed on a subscription or a charge.",
        "Complete the mapping or the catalog's charges, then retry; the message says what of the bill is held back.",
    ),
    "MB-BILL-NEGATIVE": Code(
        "What is left of a portion after netting is negative.",
        "Give the customer a credit in Chargebee, then dismiss, or wait for the next bill.",
    ),
    "MB-BILL-OVERDRAWN": Code(
        "More would be charged than the bill's total while another subscription has as much too much.",
        "Set METERBRIDGE_NET_ACROSS_SUBSCRIPTIONS=true to cancel the two, or let the amount out with "
        "`meterbridge bills release BILL --amount AMOUNT --by NAME --note TEXT`.",
    ),
    "MB-BILL-CHANGED": Code(
        "A bill changed after it was charged.",
        "The message has the exact difference; correct the invoice by hand, then dismiss.",
    ),
    "MB-BILL-UNAPPROVED": Code(
        "A bill that was charged is no longer approved.",
        "Approve it again in m3ter, or take its lines off the invoice.",
    ),
    "MB-BILL-DELETED": Code(
        "A bill that was charged has been deleted in m3ter.",
        "Take its lines off the invoice, or credit them, then dismiss.",
    ),
    "MB-CURRENCY-EXPONENT": Code(
        "A three-decimal currency: its scale at Chargebee is not proven.",
        "Test it on a test site, then set METERBRIDGE_THREE_DECIMAL_EXPONENT.",
    ),
    "MB-PRICE-TYPE": Code(
        "The invoice's price type does not fit bill_amounts.",
        "Set METERBRIDGE_BILL_AMOUNTS to what the bills hold (net or gross).",
    ),
    "MB-INVOICE-AMBIGUOUS": Code(
        "Several pending invoices could take the charge and no fact decides.",
        "Close or delete one of the named drafts, then retry.",
    ),
    "MB-NO-INVOICE": Code(
        "There is no pending invoice to charge and none is to be expected.",
        "Charge it by hand and dismiss, or create a pending invoice and retry. For annual plans set "
        "METERBRIDGE_NO_PENDING_INVOICE: create bills it at once, unbilled leaves it for the next invoice, quarantine "
        "for you.",
    ),
    "MB-INVOICE-FULL": Code(
        "The pending invoice has no room for more lines.",
        "Close it, or set charge_grouping to aggregation or product; then retry.",
    ),
    "MB-INVOICE-CLOSED": Code(
        "The invoice closed, or took an unbilled charge up, between reading and writing.",
        "Nothing was changed on it; the next run decides from where everything stands.",
    ),
    "MB-CHARGE-WRONG": Code(
        "Chargebee booked something other than what we sent.",
        "See the message; check the site's price override setting, then retry.",
    ),
    "MB-DOUBLE-CHARGE": Code(
        "More lines of one charge stand on an invoice than we intended.",
        "Compare the lines named and delete the surplus by hand, then retry.",
    ),
    "MB-LINE-CHANGED": Code(
        "A line of ours was changed or removed by hand.", "Put it back, or settle the difference by hand and dismiss."
    ),
    "MB-DRAFT-LOST": Code(
        "A draft with lines of ours is gone and no final invoice was found.",
        "Find the invoice in Chargebee; then retry or dismiss.",
    ),
    "MB-VOIDED": Code(
        "An invoice with lines of ours was voided or deleted.", "Decide whether to charge again, then retry or dismiss."
    ),
    "MB-UNDONE": Code(
        "A run's lines were taken off by `meterbridge undo`; they may be another subscription's by now.",
        "`meterbridge quarantine retry` lets the next run charge it; if it was settled by hand, dismiss.",
    ),
    "MB-DEPENDS": Code(
        "Something this record depends on is quarantined or not done.",
        "Clear that one first; this one follows by itself.",
    ),
    "MB-USAGE-ROW": Code(
        "Usage rows cannot become measurements.", "Correct the rows that the list of rejected rows names; run again."
    ),
    "MB-USAGE-ACCOUNT": Code(
        "Usage rows name an account that m3ter does not have, or that is out of scope.",
        "Run sync_subscriptions, or correct the account column; run again: only the missing rows are sent.",
    ),
    "MB-USAGE-METER": Code(
        "Usage rows name a meter or a field that m3ter does not have.",
        "Create it in m3ter, or correct the mapping; run again.",
    ),
    "MB-USAGE-OLD": Code(
        "Usage rows are older than m3ter can recognise a repetition (34 days), or were backfilled before.",
        "Declare a backfill with --allow-old, once.",
    ),
    "MB-USAGE-FUTURE": Code(
        "Usage rows lie more than an hour ahead.", "Check time zone and format of ts in the mapping; run again later."
    ),
    "MB-USAGE-DUPLICATE": Code(
        "Usage rows repeat the key of an earlier row of the input.",
        "Complete the key columns, or remove the repetition.",
    ),
    "MB-USAGE-CHANGED": Code(
        "A measurement was sent before with other content; m3ter keeps the first.",
        "Send the difference as a row with a key of its own.",
    ),
    "MB-USAGE-PERIOD": Code(
        "Usage lies where Chargebee bills none: its subscription was not active, or the period is invoiced.",
        "Bill it by hand, or correct the rows; nothing was sent.",
    ),
    "MB-USAGE-QUANTITY": Code(
        "A period's usage cannot be said in Chargebee: below 1, negative, or too long.",
        "Correct the rows, or widen the period in the mapping; run again.",
    ),
    "MB-USAGE-PART": Code(
        "Rows that a usage record counted before are missing from this input.",
        "Put all rows of a period into one input, those that came before included; run again.",
    ),
    "MB-USAGE-INVOICED": Code(
        "Usage changed after Chargebee had invoiced it.",
        "Bill or credit the difference by hand; the message has both quantities.",
    ),
    "MB-USAGE-LIMIT": Code(
        "A subscription is at the end of the usage records that Chargebee takes in its life.",
        "Widen the period in the mapping, or ask Chargebee for a higher limit.",
    ),
    "MB-USAGE-CLASH": Code(
        "Another usage record stands where ours should, or ours does not stand as it was sent.",
        "Compare the record that the message names with the input; delete what is wrong, then say quarantine retry.",
    ),
    "MB-USAGE-INGEST": Code(
        "m3ter took a measurement and could not ingest it afterwards.",
        "Correct what m3ter's message names, then send the rows again under another key.",
    ),
    "MB-EVENT": Code(
        "What a webhook event names could not be synced after several tries.",
        "See the message; the next scheduled run tries the record again, `meterbridge sync --id` does so now.",
    ),
    "MB-WEBHOOK": Code(
        "A webhook's body is no event.",
        "Compare its outline in `meterbridge webhooks list` with the vendor's documents; it was answered with 400.",
    ),
    # --- our own faults ----------------------------------------------------------
    "MB-INVARIANT": Code(
        "The bridge met a state that must not exist.", "Stop the schedule, keep ledger and staging file, and report it."
    ),
}
