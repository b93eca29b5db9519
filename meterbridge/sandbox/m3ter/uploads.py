"""Measurements as files: the upload trio; and the files of what could not be ingested."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from meterbridge.sandbox import exact_json
from meterbridge.sandbox.m3ter.call import Call, refusal
from meterbridge.sandbox.m3ter.measurements import complaint, take
from meterbridge.sandbox.table import Row
from meterbridge.sandbox.wire import HttpReply, HttpRequest, Routes

if TYPE_CHECKING:
    from meterbridge.sandbox.world import World

routes = Routes()
PREFIX = "/_files/"
_URL_MS = 60_000
_FAILED_URL_MS = 300_000
_MOST_BYTES = 1_073_741_824


@dataclass(slots=True)
class Upload:
    """One upload job; the URL of an untouched one expires."""

    length: int
    expires_ms: int
    status: str = "notUploaded"
    total: int = 0
    failed: int = 0


@routes.post("/fileuploads/measurements/generateUploadUrl")
def generate(call: Call) -> Row:
    body = call.body if isinstance(call.body, dict) else {}
    name, length = body.get("fileName"), body.get("contentLength")
    if not isinstance(name, str) or not 1 <= len(name) <= 100:
        raise refusal(400, "fileName: must be 1 to 100 characters")
    if body.get("contentType") not in ("application/json", "text/json"):
        raise refusal(400, "contentType: must be application/json or text/json")
    if not isinstance(length, int) or not 1 <= length <= _MOST_BYTES:
        raise refusal(400, f"contentLength: must be 1 to {_MOST_BYTES}")
    state = call.state
    job_id = state.ids.uuid("Upload", str(len(state.uploads)))
    state.uploads[job_id] = Upload(length, state.clock.now_ms() + _URL_MS)
    url = f"{call.world.facts.get('url', '')}{PREFIX}upload?job={job_id}"
    return {"jobId": job_id, "url": url, "headers": {"Content-Type": body["contentType"]}}


@routes.get("/fileuploads/measurements/jobs/{id}")
def job(call: Call, job_id: str) -> Row:
    found = call.state.uploads.get(job_id)
    if found is None:
        raise refusal(404, f"FileUploadJob with id {job_id} does not exist")
    counts = {"totalRows": found.total, "processedRows": found.total, "failedRows": found.failed}
    return {"id": job_id, "status": found.status, "contentLength": found.length} | counts


@routes.get("/measurements/failedIngest/getDownloadUrl", "file")
def failed_ingest(call: Call) -> Row:
    file = call.one("file") or ""
    if file not in call.state.failed_files:
        raise refusal(404, f"there is no failed ingest file {file}")
    until = call.state.clock.now_ms() + _FAILED_URL_MS
    return {"url": f"{call.world.facts.get('url', '')}{PREFIX}failed?file={file}&until={until}"}


def answer(world: World, request: HttpRequest) -> HttpReply:
    """A signed URL: no token, the address is the permission."""
    query = {name: values[-1] for name, values in parse_qs(request.query).items()}
    name = request.path.removeprefix(PREFIX)
    if request.method == "PUT" and name == "upload":
        return _put(world, request, query.get("job", ""))
    if request.method == "GET" and name == "failed":
        content = world.m3ter.failed_files.get(query.get("file", ""))
        if content is not None and int(query.get("until", "0")) >= world.clock.now_ms():
            return HttpReply(200, exact_json.dumps(content))
    return HttpReply(403, b"<Error><Code>AccessDenied</Code></Error>", "application/xml")


def _put(world: World, request: HttpRequest, job_id: str) -> HttpReply:
    found = world.m3ter.uploads.get(job_id)
    if found is None or found.expires_ms < world.clock.now_ms() or len(request.body) != found.length:
        return HttpReply(403, b"<Error><Code>AccessDenied</Code></Error>", "application/xml")
    if found.status == "notUploaded":
        try:
            rows = exact_json.loads(request.body)
        except (json.JSONDecodeError, UnicodeDecodeError):
            rows = None
        _ingest(world, found, rows)
    return HttpReply(200, b"", "application/xml")


def _ingest(world: World, found: Upload, rows: object) -> None:
    if not isinstance(rows, list):
        found.status = "failed"
        return
    sound = [row for row in rows if complaint(row, lenient=world.switches.lenient) is None]
    found.total = len(rows)
    found.failed = len(rows) - len(sound) + take(world.m3ter, sound)
    found.status = "succeeded"
