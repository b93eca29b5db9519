"""A run's lines come off the pending invoices again."""

from __future__ import annotations

from tasks.deliver import deliver
from tasks.engine import flow
from tasks.publish import publish
from tasks.runs import Request, running
from tasks.undo import UNDO_WAVES, UndoReport, decide_undo, report_undo


@flow(name="undo_run", flow_run_name="undo_run {run_id} by {by}")
def undo_run(run_id: str, by: str = "somebody") -> UndoReport:
    """A run's lines come off the pending invoices again; their portions are set aside until somebody says retry.

    Args:
        run_id: The run of sync_bills or approve_bills whose lines are taken off.
        by: Who wants it; it is written down.
    """
    with running("undo_run", Request(reads=False)) as run:
        undoing = decide_undo(run, run_id, by)
        delivered = deliver(run, UNDO_WAVES)
        report = report_undo(run, undoing, delivered)
        publish(run, report)
        return report
