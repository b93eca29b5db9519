"""What time it is at the Chargebee site: ours, unless it is a test site that travels with Time Machine."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime

from connectors.chargebee.client import ChargebeeClient
from meterbridge.errors import RetriableError

logger = logging.getLogger(__name__)

TEST_SITE = "-test"
"""How the name of each test site ends; no other has a Time Machine."""


@dataclass(frozen=True, slots=True)
class SiteTime:
    """``now`` is the instant that the site's dates are to be compared with, epoch seconds.

    ``genesis`` is where its Time Machine began; None where the site does not travel.
    """

    now: float
    genesis: int | None = None

    @property
    def shown(self) -> str | None:
        """The site's time in ISO 8601 if it travels."""
        return None if self.genesis is None else datetime.fromtimestamp(self.now, UTC).isoformat(timespec="seconds")

    def scoped(self, fingerprint: str) -> str:
        """A scope's fingerprint in this time: what was read in another one is no beginning."""
        return fingerprint if self.genesis is None else f"{fingerprint}@{self.genesis}"

    def follows(self, fingerprint: str) -> bool:
        """True if the run that left this fingerprint read the site in the same time."""
        return fingerprint.partition("@")[2] == ("" if self.genesis is None else str(self.genesis))


def site_time(chargebee: ChargebeeClient, domain: str, now: float) -> SiteTime:
    """Ask a test site where in time it is.

    Time may pass there after it has arrived, so what its newest event tells counts if it is later.

    Args:
        chargebee: The site's client.
        domain: The site's name, as its configuration has it.
        now: Epoch seconds everywhere else.

    Raises:
        RetriableError: ``MB-TIME-TRAVEL`` while it is on its way: half of what happens there has not happened yet.
    """
    machine = chargebee.time_machine_or_none() if domain.partition(".")[0].endswith(TEST_SITE) else None
    if machine is None or machine.genesis_time is None or machine.time_travel_status == "not_enabled":
        return SiteTime(now)
    if machine.time_travel_status == "in_progress":
        raise RetriableError("MB-TIME-TRAVEL", f"site {domain} is travelling with Time Machine")
    arrived = machine.destination_time if machine.time_travel_status == "succeeded" else None
    newest = next(chargebee.rows("events", sort_by="occurred_at", newest_first=True, limit=1), None)
    told = [machine.genesis_time, arrived, newest and newest["event"].get("occurred_at")]
    found = SiteTime(float(max(one for one in told if isinstance(one, int))), machine.genesis_time)
    logger.warning("the Chargebee site travels in time", extra={"site": domain, "site_time": found.shown})
    return found
