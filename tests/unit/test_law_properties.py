"""The law holds after every single write, in whatever order they land and whichever of them never do."""

from dataclasses import replace
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from meterbridge.rules.bill_lines import identities
from meterbridge.rules.bills import decide_bill
from meterbridge.rules.law import LOWERS
from meterbridge.rules.records import InFlight, Intent, InvoiceLine, StandingLine
from tests.unit.bill_world import APRIL, MARCH, MAY, bill, case, draft, line, plan, policy, subscription

SUBS = (1, 2, 3)
amounts = st.integers(-5, 9).map(lambda units: Decimal(units))


@st.composite
def worlds(draw):
    lines, standing, invoices, flying = [], [], [draft(number, at=MAY) for number in SUBS], []
    for index in range(draw(st.integers(1, 5))):
        number = draw(st.sampled_from([*SUBS, None]))
        place = {"plan": f"plan{number}", "product": f"p{number}"} if number else {"plan": None, "product": None}
        lines.append(line(f"l{index}", draw(amounts), index, pricing_id=f"x{index}", **place))
    for index in range(draw(st.integers(0, 4))):
        number = draw(st.sampled_from(SUBS))
        amount = draw(st.integers(1, 9)) * 100
        status = draw(st.sampled_from(["pending", "paid", "voided"]))
        line_id = f"li-{index}"
        identity = draw(st.sampled_from([f"old-{index}", *identities(lines)]))
        key = ("bill1", f"sub{number}", identity)
        if key in {one.key for one in standing}:
            continue
        held = InvoiceLine(line_id, "adhoc", None, "", MARCH, APRIL, amount, f"sub{number}")
        invoices.append(draft(number, held, id=f"inv-{index}", status=status, strong=True))
        standing.append(StandingLine(key, "bill1", f"sub{number}", f"inv-{index}", line_id, amount, "EUR", "f"))
    if draw(st.booleans()):
        flying.append(InFlight("charge", ("bill1", "sub1", "lost"), draw(st.integers(1, 9)) * 100, "EUR", "cust"))
    return case(
        bill(*lines),
        plans=tuple(plan(number) for number in SUBS),
        subscriptions={f"sub{number}": subscription(number) for number in SUBS},
        standing=tuple(standing),
        invoices=tuple(invoices),
        in_flight=tuple(flying),
        released=draw(st.sampled_from([0, 0, 0, 250])),
    )


@given(
    worlds(),
    st.booleans(),
    st.sampled_from(["quarantine", "promotional_credit"]),
    st.sampled_from(["quarantine", "create", "unbilled"]),
    st.sampled_from(["hold", "recharge"]),
    st.randoms(use_true_random=False),
)
def test_no_write_makes_the_excess_positive_or_more_positive(world, across, negative, apart, on_void, dice):
    settings = {"net_across_subscriptions": across, "negative": negative, "no_pending_invoice": apart}
    settings["on_void"] = on_void
    writes = [one for one in decide_bill(world, policy(**settings)) if isinstance(one, Intent)]
    total = int(sum(one.amount for one in world.bill.lines) * 100) + world.released
    excess = sum(one.amount for one in (*stands(world), *world.in_flight)) - total
    noted = sum(one.amount for one in (*world.standing, *world.in_flight))
    done, left = set(), list(writes)
    while left:
        able = [one for one in left if all((ref.kind, ref.key) in done for ref in one.depends_on)]
        if not able:
            break
        one = dice.choice(able)
        left.remove(one)
        if dice.random() < 0.25:
            continue  # it never lands
        change = -abs(one.amount) if one.kind in LOWERS else one.amount
        assert change <= 0 or excess + change <= 0, f"{one.reason}: excess {excess} {change:+}"
        excess += change
        noted += change
        assert change <= 0 or noted <= one.payload["ceiling"], "the sender would refuse what is within the law"
        done.add((one.kind, one.key))


def stands(world):
    """The lines that are on an invoice that counts."""
    gone = {one.id for one in world.invoices if one.status == "voided"}
    return [one for one in world.standing if one.invoice_id not in gone]


@given(worlds(), st.booleans(), st.sampled_from(["hold", "recharge"]))
def test_what_is_decided_again_after_all_landed_writes_nothing(world, across, on_void):
    world = replace(world, in_flight=())
    settings = policy(net_across_subscriptions=across, on_void=on_void)
    for again in (False, True):
        writes = [one for one in decide_bill(world, settings) if isinstance(one, Intent)]
        if again:
            assert writes == []
        world = landed(world, writes)


def landed(world, writes):
    """The world once every write is done."""
    gone = {one.payload["line_ids"][0] for one in writes if one.kind == "charge_removal"}
    lines = {invoice.id: [x for x in invoice.lines if x.id not in gone] for invoice in world.invoices}
    standing = [one for one in world.standing if one.line_id not in gone]
    for number, one in enumerate(writes):
        if one.kind != "charge":
            continue
        where, name, owner = one.payload["invoice_id"], f"new-{number}-{one.amount}", one.payload["subscription_id"]
        lines[where].append(InvoiceLine(name, "adhoc", None, "", MARCH, APRIL, one.amount, owner))
        standing = [old for old in standing if old.key != one.key]
        standing.append(StandingLine(one.key, "bill1", owner, where, name, one.amount, "EUR", one.fingerprint))
    invoices = tuple(replace(one, lines=tuple(lines[one.id]), strong=True) for one in world.invoices)
    return replace(world, standing=tuple(standing), invoices=invoices)
