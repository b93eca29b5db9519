"""Measurements into m3ter: by its ingest API, or as a file through a signed URL; and what it could not ingest.

m3ter counts a uid once within 35 days, so that sending the same body again does no harm.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, Unpack, cast
from urllib.parse import urlsplit

import httpx

from connectors.m3ter.auth import TokenAuth
from connectors.m3ter.client import M3terClient
from connectors.m3ter.requests import JSON
from connectors.transport import TIMEOUT, Pacer, Request, Transport, TransportOptions, path, unreadable
from meterbridge.errors import MeterbridgeError, RetriableError

JobStatus = Literal["notUploaded", "running", "failed", "succeeded"]
FAILURE_EVENT = "ingest.validation.failure"


@dataclass(frozen=True, slots=True)
class UploadUrl:
    """Where one file goes; good for a minute."""

    job_id: str
    url: str
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class UploadJob:
    """How far m3ter is with an uploaded file; counts are measurements."""

    status: JobStatus
    total: int
    failed: int


@dataclass(frozen=True, slots=True)
class IngestFailure:
    """A measurement that m3ter took and then could not ingest. ``kind`` is m3ter's word, such as DuplicateUid."""

    uid: str
    kind: str
    message: str
    meter: str
    account: str


class IngestClient:
    """The ingest host: one operation. Thread-safe."""

    def __init__(self, transport: Transport, organization_id: str) -> None:
        self.transport = transport
        self._path = path("organizations", organization_id, "measurements")

    @classmethod
    def connect(
        cls, config: M3terClient, *, ingest_url: str, auth: TokenAuth, pacer: Pacer, **options: Unpack[TransportOptions]
    ) -> Self:
        """Connect; nothing is sent yet. ``config`` says which organisation."""
        return cls(Transport("m3ter ingest", ingest_url, auth, pacer, **options), config.organization_id)

    def submit(self, measurements: str) -> None:
        """Send 1 to 1,000 measurements: JSON objects, joined by commas.

        Raises:
            RecordRefused: The envelope is refused, and with it every measurement in it.
            OutcomeUnknown: The answer was lost; sending the same again does no harm, but m3ter will
                tell of each measurement as a DuplicateUid, so that the caller must know of it.
        """
        body = f'{{"measurements":[{measurements}]}}'
        self.transport.send(Request("POST", self._path, body, JSON), repeatable=False)

    def close(self) -> None:
        """Close all connections."""
        self.transport.close()


def upload_url(client: M3terClient, name: str, length: int) -> UploadUrl:
    """Ask where a file of ``length`` bytes may go; each call makes a job."""
    body = json.dumps({"contentLength": length, "contentType": JSON, "fileName": name})
    address = path("organizations", client.organization_id, "fileuploads", "measurements", "generateUploadUrl")
    answer = client.send(Request("POST", address, body, JSON), repeatable=True).json()
    try:
        headers = {str(k): str(v) for k, v in (answer.get("headers") or {}).items()}
        return UploadUrl(str(answer["jobId"]), str(answer["url"]), headers)
    except (KeyError, TypeError, AttributeError):
        raise unreadable("m3ter generateUploadUrl: the answer has no job and URL") from None


def upload(target: UploadUrl, file: Path) -> None:
    """Put the file there, read as it goes.

    Raises:
        RetriableError: MB-UNAVAILABLE, it did not get there whole; the job stays ``notUploaded``.
    """
    # No token goes along: the URL itself is the permission, and not m3ter's host.
    trust = urlsplit(target.url).hostname not in ("127.0.0.1", "localhost", "::1")
    headers = {**target.headers, "Content-Length": str(file.stat().st_size)}
    try:
        with httpx.Client(timeout=TIMEOUT, trust_env=trust) as client, file.open("rb") as content:
            answer = client.put(target.url, content=content, headers=headers)
    except httpx.HTTPError as failure:
        raise RetriableError("MB-UNAVAILABLE", f"the upload of {file.name} broke off") from failure
    if not answer.is_success:
        raise RetriableError("MB-UNAVAILABLE", f"the upload of {file.name} was answered with {answer.status_code}")


def upload_job(client: M3terClient, job_id: str) -> UploadJob | None:
    """The state of an upload job; None when m3ter does not know it."""
    found = client.get_or_none(path("fileuploads", "measurements", "jobs", job_id))
    if found is None:
        return None
    status = found.get("status")
    if status not in ("notUploaded", "running", "failed", "succeeded"):
        raise unreadable(f"m3ter upload job {job_id}: unknown status {status!r}")
    return UploadJob(cast("JobStatus", status), int(found.get("totalRows") or 0), int(found.get("failedRows") or 0))


def ingest_failures(client: M3terClient, since: str) -> Iterator[tuple[str, str, list[IngestFailure] | None]]:
    """(event id, event time, failures) of each ingest event at or after ``since`` (RFC 3339, UTC), newest first.

    Events may share a file; its failures come with the first of them, None with each if it cannot be fetched now.
    """
    fetched: dict[str, bool] = {}
    for event in client.events(FAILURE_EVENT):
        if str(event.get("eventTime", "")) < since:
            return
        content = (event.get("m3terEvent") or {}).get("eventData") or {}
        subject = content.get("newDto") or content
        link = str(subject.get("getDownloadUrl") or "")
        rows: Sequence[dict[str, Any]] | None = [subject]
        if link in fetched:
            rows = [] if fetched[link] else None
        elif link:
            rows = _fetched(client, link)
            fetched[link] = rows is not None
        failures = None if rows is None else [_failure(row, subject) for row in rows]
        yield str(event.get("id")), str(event.get("eventTime")), failures


def _fetched(client: M3terClient, link: str) -> Sequence[dict[str, Any]] | None:
    """The file's rows; None if it cannot be had: what is in it is no reason to end a run."""
    try:
        return _failure_file(client, link)
    except MeterbridgeError:
        return None


def _failure_file(client: M3terClient, link: str) -> Sequence[dict[str, Any]]:
    """The failed-ingest file: errors with the measurements they are about."""
    below = link.partition(client.organization_id)[2] or link
    url = str(client.get(below).get("url", ""))
    trust = urlsplit(url).hostname not in ("127.0.0.1", "localhost", "::1")
    try:
        with httpx.Client(timeout=TIMEOUT, trust_env=trust) as plain:
            answer = plain.get(url).raise_for_status()
            rows = answer.json()
    except (httpx.HTTPError, httpx.InvalidURL) as failure:
        raise RetriableError("MB-UNAVAILABLE", "m3ter's failed-ingest file cannot be fetched") from failure
    except ValueError:
        raise unreadable("m3ter's failed-ingest file is not JSON") from None
    return [row for row in (rows if isinstance(rows, list) else [rows]) if isinstance(row, dict)]


def _failure(row: dict[str, Any], event: dict[str, Any]) -> IngestFailure:
    measurement = row.get("measurement") or row.get("originalMeasurement") or {}
    return IngestFailure(
        uid=str(measurement.get("uid") or row.get("id") or ""),
        kind=str(row.get("type") or event.get("type") or "unknown"),
        message=str(row.get("error") or row.get("message") or "")[:200],
        meter=str(measurement.get("meter") or ""),
        account=str(measurement.get("account") or ""),
    )
