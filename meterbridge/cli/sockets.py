"""A listening socket for uvicorn, bound by us, so that a taken port is one clear line and port 0 can be told."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from meterbridge.errors import SetupError


@contextmanager
def bound(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that listens on the port (0: a free one) for the length of the block.

    Raises:
        SetupError: MB-COMMAND; the port cannot be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named: else asyncio takes it for no TCP socket, and every answer waits 40 ms for an ACK.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as found:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind((host, port))
        except OSError as failure:
            message = f"port {port} on {host} cannot be used: {failure.strerror or failure}"
            raise SetupError("MB-COMMAND", message, remedy="Choose another --port, or 0 for a free one.") from failure
        found.listen(2048)
        yield found
