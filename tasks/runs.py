"""A run: opened once, passed to every task, closed at the end whatever happens."""

from __future__ import annotations

import json
import logging
import math
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from prefect.runtime import flow_run

from meterbridge import log, origin
from meterbridge.catalog import load_catalog
from meterbridge.errors import MeterbridgeError, SetupError
from meterbridge.ledger import connections, facts, inbox, runs, watermarks
from meterbridge.rules.keys import fingerprint
from meterbridge.rules.windows import Window, reading_window
from meterbridge.settings import Settings, load_settings
from meterbridge.staging.database import kept_open, opened
from tasks.blocks import credentials
from tasks.engine import task
from tasks.permitted_names import mapping_names
from tasks.services import Services, release, services, staging_path
from tasks.site_time import SiteTime, site_time

logger = logging.getLogger(__name__)

CLOCK_WARNING_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Request:
    """How a flow was called: the parameters that every flow shares.

    ``since`` is epoch seconds; ``ids`` are subscription ids, customer ids or bill ids, by flow.
    A ``shadow`` run compares every bill as if the ledger knew none.
    ``hints`` are the events that made somebody ask for these ids, if it was no person.
    ``repair``: what somebody changed in m3ter by hand is brought back, whatever ``on_foreign_edit`` says.
    """

    dry_run: bool = False
    full: bool = False
    ids: tuple[str, ...] = ()
    since: float | None = None
    hints: tuple[inbox.Event, ...] = ()
    shadow: bool = False
    repair: bool = False

    @property
    def by_name(self) -> bool:
        """Whether a person named ids: then what a vendor refused before is tried again."""
        return bool(self.ids) and not self.hints


@dataclass(frozen=True, slots=True)
class Run:
    """Facts of one run, small and plain: what tasks pass around instead of data.

    ``started_at`` is when it was opened, ``site`` what time it was at Chargebee then.
    """

    flow: str
    run_id: str
    connection: str
    staging: str
    request: Request
    window: Window
    events_since: int
    full: bool
    full_reason: str
    started_at: float
    site: SiteTime
    scope_fingerprint: str

    @property
    def path(self) -> Path:
        """The run's staging file."""
        return Path(self.staging)


def run_name() -> str:
    """What ran, as Prefect's UI lists it, such as ``sync_bills dry run of 2 ids``."""
    asked = flow_run.parameters
    words = [str(flow_run.flow_name)]
    words += ["full"] if asked.get("full") else []
    words += ["dry run"] if asked.get("dry_run") else []
    words += [f"of {len(asked['ids'])} ids"] if asked.get("ids") else []
    words += ["since an instant"] if asked.get("since") else []
    return " ".join(words)


@contextmanager
def running(flow: str, request: Request, *, keep_open: bool = True) -> Iterator[Run]:
    """Open a run, close it in the ledger with how it ended, and release its connections.

    ``keep_open``: hold the staging file all the while; not where tasks open it with settings of their own.
    """
    run_id = str(flow_run.id or uuid.uuid4())
    try:
        run = open_run(flow, run_id, request, keep_open=keep_open)
        try:
            yield run
        except BaseException as failure:
            _close(run, "failed", str(failure) if isinstance(failure, MeterbridgeError) else type(failure).__name__)
            raise
    finally:
        release(run_id)


@task(name="open run")
def open_run(flow: str, run_id: str, request: Request, *, keep_open: bool = True) -> Run:
    """Fix the window and the staging file; bind the ledger to this site and organisation.

    The vendors' clock, told by the Date header of the first answers, is the clock of the run.
    """
    origin.verify()
    settings = load_settings()
    log.configure(settings.log_level, settings.log_format)
    work = services(run_id, credentials(settings))
    settings = work.settings
    site = _learn_vendors(work)
    time = site_time(work.chargebee, site, work.clock.epoch())
    staging = staging_path(settings, flow, run_id)
    scope = time.scoped(scope_fingerprint(settings, work))
    with work.ledger.write() as tx:
        connections.bind(tx, site, settings.m3ter_org_id)
        mark = watermarks.get(tx, flow)
        full, why = _full(request, mark, scope, time)
        window, events_since = _windows(work, request, mark, time, full=full)
        runs.open_run(tx, runs.RunRow(run_id, flow, work.ledger.now(), _parameters(request), str(staging)))
        tx.commit()
    run = Run(
        flow=flow,
        run_id=run_id,
        connection=settings.connection,
        staging=str(staging),
        request=request,
        window=window,
        events_since=events_since,
        full=full,
        full_reason=why,
        started_at=work.clock.epoch(),
        site=time,
        scope_fingerprint=scope,
    )
    if keep_open:
        work.held.enter_context(kept_open(run.path))
    _note_facts(run, settings)
    logger.info("run opened", extra={"flow": flow, "run_id": run_id, "full": full, "reason": why})
    return run


def _windows(
    work: Services, request: Request, mark: watermarks.Watermark | None, time: SiteTime, *, full: bool
) -> tuple[Window, int]:
    """What lists are read for, and since when events are: those of the time since the last run, in a full read too."""
    settings = work.settings
    last = mark.position if mark and time.follows(mark.fingerprint) else None
    position = request.since if request.since is not None else last
    window = reading_window(
        position,
        time.now,
        overlap_seconds=settings.overlap_seconds,
        hold_back_seconds=settings.hold_back_seconds,
        full=full,
    )
    told = position if position is not None else time.genesis or window.until
    return window, min(math.floor(told - settings.overlap_seconds), window.until - 1)


def _note_facts(run: Run, settings: Settings) -> None:
    """The settings in force and the run's own facts, for whoever opens the staging file."""
    shown = {
        **settings.model_dump(mode="json"),
        "flow": run.flow,
        "run_id": run.run_id,
        "window": str(run.window),
        "site_time": run.site.shown,
        "full": run.full,
        "full_reason": run.full_reason,
    }
    with opened(run.path) as file:
        file.clear("run_facts")
        file.land_rows(
            "run_facts",
            ({"name": name, "value": value if value is None else str(value)} for name, value in shown.items()),
        )


def scope_fingerprint(settings: Settings, work: Services) -> str:
    """Hash of the catalog and of every setting that says what is in scope: another one needs a full read."""
    del work
    names = (
        "accounts_only",
        "accounts_except",
        "all_customers",
        "hierarchy",
        "trial",
        "on_product_overlap",
        "replace_on",
    )
    values = {
        name: sorted(value) if isinstance(value := getattr(settings, name), frozenset) else value for name in names
    }
    return fingerprint([load_catalog(settings.catalog_path).fingerprint(), values])


def _full(request: Request, mark: watermarks.Watermark | None, scope: str, time: SiteTime) -> tuple[bool, str]:
    if request.ids:
        return False, "named ids only"
    if request.full:
        return True, "asked for"
    if request.since is not None:
        return False, "since the instant asked for"
    if mark is None:
        return True, "first run"
    if not time.follows(mark.fingerprint):
        return True, "the Chargebee site is in another time than before"
    if mark.fingerprint != scope:
        return True, "the catalog or a scope setting changed"
    return False, "changes since the last run"


def _learn_vendors(work: Services) -> str:
    """Ask both vendors who they are and what they allow; returns the Chargebee site's name.

    Raises:
        SetupError: ``MB-SITE``, the site has another catalog than the one whose records we read.
    """
    with ThreadPoolExecutor(3) as pool:  # three answers in the time of one: a webhook waits for them
        asked = pool.submit(work.chargebee.configuration)
        permitted = pool.submit(work.m3ter.mapping_configuration)
        organization = pool.submit(work.m3ter.organization_config).result()
        site, names = asked.result(), mapping_names(permitted.result())
    if site.product_catalog_version != "v2":
        raise SetupError("MB-SITE", f"site {site.domain} runs Product Catalog {site.product_catalog_version}")
    with work.ledger.write() as tx:
        facts.put(tx, "m3ter_allow_overlapping_plans", "true" if organization.allow_overlapping_plans else "false")
        facts.put(tx, "m3ter_mapping_names", json.dumps(names))
        tx.commit()
    offset = work.chargebee.transport.server_offset()
    if offset is not None:
        work.clock.learn(offset)
        if abs(offset) > CLOCK_WARNING_SECONDS:
            logger.warning("this machine's clock differs from the vendors'", extra={"seconds": round(offset)})
    return site.domain or work.settings.chargebee_site


def _parameters(request: Request) -> dict[str, object]:
    return {"dry_run": request.dry_run, "full": request.full, "ids": list(request.ids), "since": request.since}


def _close(run: Run, state: str, message: str) -> None:
    work = services(run.run_id)
    try:
        with work.ledger.write() as tx:
            runs.close_run(tx, run.run_id, state, {"message": message}, None)
            tx.commit()
    except MeterbridgeError:
        logger.warning("the ledger could not be told how the run ended", extra={"run_id": run.run_id})
