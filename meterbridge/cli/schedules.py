"""The scheduled flows without a worker: deployments named ``served``, run by a child of ``meterbridge serve``."""

from __future__ import annotations

RUNS_AT_ONCE = 3


def run_schedules() -> None:
    """Register the deployments and run what their schedules ask for, until the process ends."""
    import prefect
    from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
    from prefect.deployments.runner import RunnerDeployment
    from prefect.types.entrypoint import EntrypointType

    from flows.reconcile import reconcile
    from flows.sync_bills import sync_bills
    from flows.sync_subscriptions import sync_subscriptions

    # A run that comes while another one works is dropped: the next reads from the watermark anyway.
    alone = ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW)
    schedules = ((sync_subscriptions, "*/15 * * * *"), (sync_bills, "7 * * * *"), (reconcile, "10 5 * * *"))
    deployments = [
        flow.to_deployment(
            "served",
            cron=cron,
            concurrency_limit=alone,
            tags=["meterbridge", "served"],
            # By file, flows/ would come first on the path of the run.
            entrypoint_type=EntrypointType.MODULE_PATH,
        )
        for flow, cron in schedules
    ]
    # Without a limit all runs that an outage missed would start at once; a stop must not switch the schedules off.
    registered = [each for each in deployments if isinstance(each, RunnerDeployment)]
    prefect.serve(*registered, limit=RUNS_AT_ONCE, pause_on_shutdown=False)
