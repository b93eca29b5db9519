"""A PostgreSQL server of the tests' own: unprivileged, on a Unix socket only, gone at the end."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg

MISSING = (
    "PostgreSQL's server is not installed: everything on PostgreSQL goes UNTESTED. "
    "Install it (Debian, Ubuntu: apt-get install postgresql)."
)


@dataclass(frozen=True, slots=True)
class Server:
    """A running server; ``socket`` is the folder of its socket."""

    socket: Path

    def url(self, database: str) -> str:
        """The URL of one of its databases."""
        return f"postgresql://tester@/{database}?host={quote(str(self.socket), safe='')}"

    @contextmanager
    def database(self) -> Iterator[str]:
        """An empty database for the length of a block; yields its URL."""
        name = f"t{uuid.uuid4().hex}"
        self._administer(f'CREATE DATABASE "{name}"')
        try:
            yield self.url(name)
        finally:
            # Each right away: hundreds of folders at the end of a session take minutes on a busy disk.
            self._administer(f'DROP DATABASE "{name}" WITH (FORCE)')

    def _administer(self, statement: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as admin:
            admin.execute(statement)  # type: ignore[call-overload]


def binaries() -> Path | None:
    """The folder of ``initdb`` and ``postgres``, None if there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return Path(on_path).resolve().parent if on_path else None


@contextmanager
def running() -> Iterator[Server]:
    """Run a server for the length of a block."""
    # A folder of its own: a socket's path may have 107 bytes, and every pytest that starts closes the folder that all
    # of a user's sessions share to other accounts, this server's included.
    with tempfile.TemporaryDirectory(prefix="mb-pg-") as name:
        folder = Path(name)
        storage = folder / "storage"
        storage.mkdir()
        account = _account()
        if account is not None:
            for path in (folder, storage):
                os.chown(path, account.pw_uid, account.pw_gid)
        _run(account, "initdb", "-D", str(storage), "-U", "tester", "-A", "trust", "-E", "UTF8", "--no-locale", "-N")
        server = _start(account, storage, folder)
        try:
            yield Server(folder)
        finally:
            server.send_signal(signal.SIGQUIT)  # at once: nothing in it is worth a checkpoint
            server.wait(timeout=30)


def _account() -> pwd.struct_passwd | None:
    """Whom to run as: PostgreSQL refuses root."""
    if os.getuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return pwd.getpwnam("postgres" if "postgres" in names else "nobody")


def _command(name: str, *arguments: str) -> list[str]:
    folder = binaries()
    assert folder is not None, MISSING
    return [str(folder / name), *arguments]


def _as(account: pwd.struct_passwd | None) -> dict[str, object]:
    if account is None:
        return {}
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _run(account: pwd.struct_passwd | None, name: str, *arguments: str) -> None:
    done = subprocess.run(  # type: ignore[call-overload]
        _command(name, *arguments), capture_output=True, text=True, cwd="/", check=False, **_as(account)
    )
    assert done.returncode == 0, f"{name} failed:\n{done.stdout}{done.stderr}"


def _start(account: pwd.struct_passwd | None, storage: Path, socket: Path) -> subprocess.Popen[bytes]:
    settings = {
        "listen_addresses": "",
        "unix_socket_directories": str(socket),
        "fsync": "off",
        "full_page_writes": "off",
        "max_connections": "200",
        "shared_buffers": "32MB",
        "logging_collector": "off",
    }
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    log = (storage.parent / "server.log").open("wb")
    server: subprocess.Popen[bytes] = subprocess.Popen(  # type: ignore[call-overload]
        _command("postgres", "-D", str(storage), *options), stdout=log, stderr=log, cwd="/", **_as(account)
    )
    deadline = time.monotonic() + 30
    while True:
        try:
            psycopg.connect(Server(socket).url("postgres")).close()
            return server
        except psycopg.OperationalError as failure:
            if server.poll() is not None or time.monotonic() > deadline:
                server.kill()
                raise AssertionError((storage.parent / "server.log").read_text()) from failure
            time.sleep(0.05)
