"""A person's approval of a proposed change set, and its delivery."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tasks.approve import ApprovalReport, approve, report_approval
from tasks.deliver import BILL_WAVES, deliver
from tasks.engine import flow
from tasks.native import refuse_native
from tasks.publish import publish
from tasks.runs import Request, running
from tasks.settle import settle_portions
from tasks.stage import BILLS, stage

# The form in the UI refuses what cannot be one; whoever calls the flow is told by the approval itself, with a code.
_Hash = Annotated[str, Field(json_schema_extra={"pattern": r"^\s*[0-9a-f]{16}\s*$"})]
_Person = Annotated[str, Field(json_schema_extra={"pattern": r"\S"})]


@flow(name="approve_bills", flow_run_name="approve_bills {change_set} by {by}")
def approve_bills(
    change_set: _Hash,
    by: _Person,
    note: str = "",
) -> ApprovalReport:
    """A person's approval of a proposed change set, and its delivery.

    What has changed since it was proposed is not sent; the next run of sync_bills proposes it again.

    Args:
        change_set: The hash that the report, its artifact and `meterbridge status` show: 16 digits and letters.
        by: Who approves; it is written down.
        note: Anything that whoever asks later should know.
    """
    with running("approve_bills", Request(reads=False)) as run:
        stage(run, BILLS)  # no bill is read anew: the tables are there and empty
        refuse_native(run)
        approved = approve(run, change_set, by, note)
        delivered = deliver(run, BILL_WAVES)
        settle_portions(run)
        report = report_approval(run, approved, delivered)
        publish(run, report)
        return report
