"""Settings of housekeeping."""

from __future__ import annotations

from pydantic_settings import BaseSettings

from meterbridge.settings.fields import own


class HousekeepingSettings(BaseSettings):
    """Housekeeping."""

    # housekeeping
    deliver_threads: int = own("deliver_threads", 8, ge=1, le=32, about="Requests under way at once while delivering.")
    keep_staging_days: int = own("keep_staging_days", 30, ge=1, about="Staging files older than this are pruned, days.")
    keep_staging_mb: int = own(
        "keep_staging_mb",
        5_000,
        ge=1,
        about="All staging files together; above it the oldest are pruned, but for those of runs that set something "
        "aside, megabytes.",
    )
    lease_seconds: int = own(
        "lease_seconds", 60, ge=5, about="How long a run holds records it is sending, seconds, renewed."
    )
