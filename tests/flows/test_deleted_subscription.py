from tests.flows.billed_month import BilledMonth, asides


def test_a_deleted_subscription_takes_no_charge_and_is_not_asked_again(open_sandbox):
    month = BilledMonth(open_sandbox, charge=False)
    with month.world.lock:
        state = month.world.chargebee
        (row,) = state.subscriptions.rows()
        state.save(
            state.subscriptions, row | {"status": "cancelled", "cancelled_at": month.world.clock.now(), "deleted": True}
        )
    for _ in range(2):
        month.world.log.clear()
        report = month.charge()
        assert asides(report) == [("MB-NO-INVOICE", month.total())]
        assert [row["customer_id"] for row in report.quarantined] == ["cust-single"]
        assert month.writes() == []
