"""Usage out through m3ter's ingest API: each batch is written down before it leaves, and marked when it was taken."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

from connectors.m3ter.auth import TokenAuth
from connectors.m3ter.ingest import IngestClient
from meterbridge.errors import OutcomeUnknown, RecordRefused
from meterbridge.ledger import holds, usage
from meterbridge.rules.usage import Numbers, runs
from meterbridge.staging.usage_file import UsageFile, usage_opened
from tasks.engine import task
from tasks.runs import Run
from tasks.services import AllowancePacer, Services, services
from tasks.usage_batches import Batch, cut_texts, cutter_of
from tasks.usage_input import UsageInput
from tasks.usage_progress import Meter

logger = logging.getLogger(__name__)

BATCHES_AT_ONCE = 96
"""Batches between two commits; no more than three such groups are held, so that memory stays flat."""

TRIES = 3
"""How often a batch whose answer was lost is sent in one run; m3ter counts it once."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A measurement that m3ter refused outright."""

    number: int
    source_row: int
    message: str


@dataclass(slots=True)
class UsageDelivered:
    """Counts of measurements: sent in this run, known as sent, refused; and of requests."""

    sent: int = 0
    known: int = 0
    refused: list[Refusal] = field(default_factory=list)
    requests: int = 0
    throttled: int = 0


@task(name="deliver usage")
def deliver_usage(run: Run, given: UsageInput, sendable: int) -> UsageDelivered:
    """Send every batch that the ledger does not know as sent. Killed anywhere, the next run goes on from there."""
    work = services(run.run_id)
    with usage_opened(run.path) as file, ingesting(work) as client, Meter("usage to m3ter", sendable) as meter:
        delivery = _Delivery(work, run, given, file, client)
        with ThreadPoolExecutor(work.settings.deliver_threads, thread_name_prefix="usage") as pool:
            delivery.all(pool, meter)
        delivered = delivery.delivered
        delivered.requests = client.transport.traffic.requests
        delivered.throttled = client.transport.traffic.throttled
    logger.info("usage delivered", extra={"run_id": run.run_id, "count": delivered.sent, "known": delivered.known})
    return delivered


@contextmanager
def ingesting(work: Services) -> Iterator[IngestClient]:
    """The ingest host's client at its own budget, for the length of a block."""
    settings = work.settings
    rate = settings.m3ter_ingest_requests_per_second * (1 - settings.request_reserve)
    base = settings.m3ter_base_url.rstrip("/")
    auth = TokenAuth(base, settings.m3ter_api_key.get_secret_value(), settings.m3ter_api_secret.get_secret_value())
    client = IngestClient.connect(
        work.m3ter,
        ingest_url=settings.m3ter_ingest_url,
        auth=auth,
        pacer=AllowancePacer(work.ledger, "m3ter_ingest", rate),
        max_connections=settings.deliver_threads + 2,
    )
    try:
        yield client
    finally:
        client.close()


def _ahead(groups: Iterator[list[Batch]]) -> Iterator[list[Batch]]:
    """The groups, each made in a thread of its own while the one before it is worked on."""
    with ThreadPoolExecutor(1, thread_name_prefix="usage-render") as renderer:
        coming = renderer.submit(next, groups, None)
        while (group := coming.result()) is not None:
            coming = renderer.submit(next, groups, None)
            yield group


class _Delivery:
    """One run's sending: one thread renders the next group of slots while those before are under way."""

    def __init__(self, work: Services, run: Run, given: UsageInput, file: UsageFile, client: IngestClient) -> None:
        self._work = work
        self._run = run
        self._given = given
        self._file = file
        self._client = client
        self.delivered = UsageDelivered()

    def all(self, pool: ThreadPoolExecutor, meter: Meter) -> None:
        cutter = cutter_of(self._work, self._given, self._file)
        under_way: list[tuple[Batch, Future[int]]] = []
        skipped = 0
        for group in _ahead(cutter.groups(BATCHES_AT_ONCE)):
            fresh = self._written_down(group)
            skipped, before = cutter.skipped, skipped
            known = sum(batch.count for batch in group) - sum(batch.count for batch in fresh)
            meter.advance(known + skipped - before)
            started = [(batch, pool.submit(self._send, batch)) for batch in fresh]
            self._settle(under_way, meter)
            under_way = started
        self._settle(under_way, meter)
        self.delivered.known += cutter.skipped

    def _written_down(self, group: Sequence[Batch]) -> list[Batch]:
        """The batches that are to be sent; the ledger has each as ``ready`` when this returns."""
        if not group:
            return []
        name = self._given.mapping.name
        with self._work.ledger.write() as tx:
            holds.refuse_all_held(tx)
            known = usage.known(tx, name, [batch.hash for batch in group])
            usage.record_batches(tx, [b.row(self._given, self._run.run_id) for b in group if b.hash not in known])
            tx.commit()
        for batch in group:
            state = known[batch.hash].state if batch.hash in known else ""
            self.delivered.known += batch.count if state == "sent" else 0
            if state == "ready":
                self._file.mark_resent(runs(batch.members))
        return [batch for batch in group if batch.hash not in known or known[batch.hash].state != "sent"]

    def _send(self, batch: Batch) -> int:
        """Tries that were lost before the one that was answered."""
        for lost in range(TRIES):
            try:
                self._client.submit(batch.body)
            except OutcomeUnknown:
                if lost == TRIES - 1:
                    raise
            else:
                return lost
        raise AssertionError("unreachable")

    def _settle(self, under_way: list[tuple[Batch, Future[int]]], meter: Meter) -> None:
        """Wait for a group; mark what was taken, whatever became of the others, then raise the first failure."""
        taken: list[Batch] = []
        refused: list[tuple[Batch, RecordRefused]] = []
        failure: BaseException | None = None
        for batch, future in under_way:
            try:
                if future.result():
                    self._file.mark_resent(runs(batch.members))
                taken.append(batch)
            except RecordRefused as no:
                refused.append((batch, no))
            except Exception as trouble:  # noqa: BLE001 - raised again below, after the others are written down
                failure = failure or trouble
        if taken:
            with self._work.ledger.write() as tx:
                usage.mark_all_sent(tx, self._given.mapping.name, [batch.hash for batch in taken])
                tx.commit()
        self.delivered.sent += sum(batch.count for batch in taken)
        meter.advance(sum(batch.count for batch in taken))
        if failure is not None:
            raise failure
        for batch, refusal in refused:
            self._halve(batch, refusal, meter)

    def _halve(self, batch: Batch, refusal: RecordRefused, meter: Meter) -> None:
        """m3ter refuses a request whole: look for the measurement at fault, and send the others."""
        members = Numbers([batch.members]).within(batch.first, batch.last)
        with self._work.ledger.write() as tx:
            usage.mark_failed(tx, self._given.mapping.name, batch.hash)
            tx.commit()
        if batch.count == 1:
            row = self._file.source_row(batch.first)
            self.delivered.refused.append(Refusal(batch.first, row, refusal.message))
            return
        halves: list[Batch] = []
        for texts in self._file.sendable(batch.first, batch.last, sorted_rows=False):
            places = [place for place, number in enumerate(texts.numbers) if number in members]
            middle = len(places) // 2
            halves += [*cut_texts(batch.slot, texts, places[:middle]), *cut_texts(batch.slot, texts, places[middle:])]
        fresh = self._written_down(halves)
        for half in fresh:
            future: Future[int] = Future()
            try:
                future.set_result(self._send(half))
            except RecordRefused as no:
                future.set_exception(no)
            self._settle([(half, future)], meter)
