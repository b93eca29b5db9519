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

from meterbridge import log, origin, processes
from meterbridge.catalog import load_catalog
from meterbridge.errors import MeterbridgeError, SetupError
from meterbridge.ledger import connections, facts, inbox, runs, watermarks
from meterbridge.ledger.ledger import moment
from meterbridge.mishaps import known
from meterbridge.private_files import keep_private, private_folder
from meterbridge.rules.keys import fingerprint
from meterbridge.rules.windows import Window, reading_window
from meterbridge.settings import Settings, load_settings
from meterbridge.staging.database import kept_open, opened
from tasks import ledger_trust, leftovers
from tasks.blocks import credentials
from tasks.engine import raise_known, task
from tasks.permitted_names import mapping_names
from tasks.services import Services, ledger_in_use, release, services, staging_folder, staging_path
from tasks.signs import signs_of_life
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
    ``reads``: False where the run delivers what another one has decided.
    """

    dry_run: bool = False
    full: bool = False
    ids: tuple[str, ...] = ()
    since: float | None = None
    hints: tuple[inbox.Event, ...] = ()
    shadow: bool = False
    repair: bool = False
    reads: bool = True

    @property
    def by_name(self) -> bool:
        """True if a person named ids: then what a vendor refused before is tried again."""
        return bool(self.ids) and not self.hints


@dataclass(frozen=True, slots=True)
class Run:
    """Facts of one run, small and plain: what tasks pass around instead of data.

    ``run_id`` is the flow run's id, and for an attempt after the first ``ID.2``, ``ID.3``.

    ``doubt`` says why the ledger may not know all that stands, empty where it does; with ``compares_all`` every bill
    is compared for it, not only those that changed.

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
    doubt: str = ""
    compares_all: bool = False

    @property
    def flow_run_id(self) -> str:
        """The flow run's id, as Prefect and reports name it: the same for all its attempts."""
        return runs.flow_run_of(self.run_id)

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
    origin.verify()
    keep_private()
    settings = load_settings()
    log.configure(settings.log_level, settings.log_format)
    if request.by_name and (unfit := [name for name in request.ids if name.strip() in ("", ".", "..")]):
        raise SetupError("MB-COMMAND", f"{unfit[0]!r} is no id")
    run_id, left = note_run(flow, str(flow_run.id or uuid.uuid4()), request), None
    try:
        with signs_of_life(run_id):
            run = open_run(flow, run_id, request, keep_open=keep_open)
            yield run
            left = None if leftovers.left_behind(run) == run.path else leftovers.facts_of(run)
    except BaseException as failure:
        _close(run_id, failure)
        if isinstance(failure, Exception):
            raise_known(failure)
        raise
    finally:
        release(run_id)
    if left is not None:
        leftovers.compact(run, left)
    _prune(settings)


def _prune(settings: Settings) -> None:
    """Keep staging folder and facts within their limits, now and then. Whatever hinders it: the run is done."""
    try:
        folder = staging_folder(settings)
        if not leftovers.is_due(folder):
            return
        with ledger_in_use() as ledger:
            with ledger.write() as tx:
                facts.forget_looks(tx)
                tx.commit()
            with ledger.read() as rx:
                leftovers.prune(settings, rx, folder=folder)
    except (MeterbridgeError, OSError) as failure:
        logger.warning("old staging files could not be removed", extra={"reason": type(failure).__name__})


@task(name="note run")
def note_run(flow: str, flow_run_id: str, request: Request) -> str:
    """Write down that a run begins, before anything of it can fail; returns its id.

    A flow run that is tried again, by Prefect's Retry or by an automation, is a run of its own each time.
    """
    settings = load_settings()
    with ledger_in_use() as ledger, ledger.write() as tx:
        run_id = runs.next_id(tx, flow_run_id)
        staging = str(staging_path(settings, flow, run_id))
        private_folder(Path(staging).parent, settings.home.expanduser().absolute())
        now = moment(tx)
        row = runs.RunRow(run_id, flow, now, _parameters(request), staging, runner=processes.own_name(), seen_at=now)
        runs.open_run(tx, row)
        tx.commit()
    return run_id


@task(name="open run")
def open_run(flow: str, run_id: str, request: Request, *, keep_open: bool = True) -> Run:
    """Fix the window and the staging file; bind the ledger to this site and organisation.

    The vendors' clock, told by the Date header of the first answers, is the clock of the run.
    """
    settings = load_settings()
    work = services(run_id, credentials(settings))
    settings = work.settings
    trust = ledger_trust.require(settings, work.ledger, flow)
    site = _learn_vendors(work)
    time = site_time(work.chargebee, site, work.clock.epoch())
    staging = staging_path(settings, flow, run_id)
    scope = time.scoped(scope_fingerprint(settings))
    with work.ledger.write() as tx:
        connections.bind(tx, site, settings.m3ter_org_id)
        mark = watermarks.get(tx, flow)
        full, why = _full(request, mark, scope, time)
        window, events_since = _windows(work, request, mark, time, full=full)
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
        doubt=trust.doubt,
        compares_all=trust.compares_all,
    )
    if keep_open:
        work.held.enter_context(kept_open(run.path))
    _note_facts(run, settings)
    told = {"full": full, "reason": why} if request.reads else {}
    logger.info("run opened", extra={"flow": flow, "run_id": run_id, **told})
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


def scope_fingerprint(settings: Settings) -> str:
    """Hash of the catalog and of every setting that says what is in scope: another one needs a full read."""
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
    if not request.reads:
        return False, "delivers what another run decided"
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
        facts.put(tx, "m3ter_timezone", organization.timezone)
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


def _close(run_id: str, failure: BaseException) -> None:
    try:
        with ledger_in_use() as ledger, ledger.write() as tx:
            runs.close_run(tx, run_id, "failed", {"message": told(failure)}, None)
            tx.commit()
    except MeterbridgeError:
        logger.warning("the ledger could not be told how the run ended", extra={"run_id": run_id})


def told(failure: BaseException) -> str:
    """What stopped a run, as the ledger keeps it; of a bug no foreign words, which may hold what must not be kept."""
    ours = known(failure)
    return type(failure).__name__ if ours is None else log.redact(str(ours))
