"""Prefect's short-lived server, for commands that find no other: begun first, so that it comes up beside the imports.

Prefect's client would start the same one by itself, but only at the first flow, after importing the whole server
into the client's process, too: measured, 5 s of 12. Nothing of ours depends on what this server records.
"""

from __future__ import annotations

import atexit
import functools
import os
import subprocess
import sys
import tempfile
import threading
import time
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException

from meterbridge.errors import RetriableError
from meterbridge.settings import PREFIXES

START_SECONDS = 120.0
STOP_SECONDS = 5.0
WATCH_SECONDS = 1.0

QUIET = {
    "PREFECT_UI_ENABLED": "false",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT__SERVER_EPHEMERAL": "1",
    "PREFECT__SERVER_FINAL": "1",
    # Its records are written in batches: one by one they cost three times as much.
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_READ_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_TRIGGERS_READ_BATCH_SIZE": "100",
}


_OURS = tuple(prefix for prefix in PREFIXES if prefix != "PREFECT_")


class ShortLivedServer:
    """A Prefect server on a free loopback port, for as long as this process lives."""

    def __init__(self) -> None:
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - read when the server has died
        self._child = subprocess.Popen(
            # -P: what lies about in the working directory is not to be imported.
            [sys.executable, "-P", "-m", "meterbridge.cli.short_lived"],
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            start_new_session=True,  # Ctrl-C is for the run, which still tells the server how it ended
        )
        atexit.register(self.stop)

    @staticmethod
    def environment() -> dict[str, str]:
        """The child's variables: Prefect's as they are here; the vendors' keys are none of its business."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
        return {**QUIET, **kept}

    @functools.cached_property
    def port(self) -> int:
        """The port that the child has chosen; 0 when it died before."""
        assert self._child.stdout is not None
        return int(self._child.stdout.readline() or 0)

    @property
    def url(self) -> str:
        """The API's address."""
        return f"http://127.0.0.1:{self.port}/api"

    def wait(self, seconds: float = START_SECONDS) -> None:
        """Return when it answers.

        Raises:
            RetriableError: MB-UNAVAILABLE; it died or did not answer in time.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self._child.poll() is None:
            asked = HTTPConnection("127.0.0.1", self.port, timeout=WATCH_SECONDS)
            try:
                asked.request("GET", "/api/health")
                if asked.getresponse().status == HTTPStatus.OK:
                    return
            except TimeoutError:
                continue  # the port is listened on from the start, and answers when all is there
            except (OSError, HTTPException):
                time.sleep(0.1)
            finally:
                asked.close()
        self.stop()
        raise RetriableError(
            "MB-UNAVAILABLE",
            f"Prefect's short-lived server did not start within {seconds:.0f} s{self._last_words()}",
            remedy="Try again, or run `prefect server start` and set PREFECT_API_URL.",
        )

    def stop(self) -> None:
        """End it; nothing when it has ended."""
        atexit.unregister(self.stop)
        if self._child.poll() is None:
            self._child.terminate()
            try:
                self._child.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().split("\n")
        return next((f": {line.strip()}" for line in reversed(lines) if line.strip()), "")


def _serve() -> None:
    """The child: say the port, then serve until the parent ends."""
    import uvicorn

    from meterbridge.cli.sockets import bound

    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCH_SECONDS)
        os._exit(0)

    threading.Thread(target=watch, name="watch", daemon=True).start()
    with bound("127.0.0.1", 0) as socket:
        sys.stdout.write(f"{socket.getsockname()[1]}\n")
        sys.stdout.flush()
        app = "prefect.server.api.server:create_app"
        config = uvicorn.Config(app, factory=True, log_level="error", lifespan="on", timeout_graceful_shutdown=1)
        uvicorn.Server(config).run(sockets=[socket])


if __name__ == "__main__":
    _serve()
