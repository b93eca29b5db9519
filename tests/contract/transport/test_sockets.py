"""The transport against real sockets, where a scripted answer would lie."""

import socket
import threading
import time
from collections.abc import Callable
from http.server import ThreadingHTTPServer

import httpx
import pytest

from connectors.pacing import SlotPacer, Unlimited
from connectors.transport import Transport
from meterbridge.errors import (
    MeterbridgeError,
    OutcomeUnknown,
    RetriableError,
)
from tests.contract.transport.conftest import READ, WRITE, PerSecondLimit, cut_off, raw_server, reset


@pytest.mark.parametrize("talk", [reset, cut_off, lambda connection: None], ids=["reset", "cut-off", "closed"])
def test_a_real_connection_lost_after_sending_leaves_one_request_and_an_unknown(
    talk: Callable[[socket.socket], None],
) -> None:
    with raw_server(talk) as (url, received):
        transport = Transport("m3ter", url, httpx.BasicAuth("k", ""), Unlimited(), sleep=lambda seconds: None)
        with transport, pytest.raises(OutcomeUnknown):
            transport.send(WRITE, repeatable=False)
    assert len(received) == 1


def test_a_port_where_nobody_listens_means_nothing_was_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    transport = Transport("m3ter", url, httpx.BasicAuth("k", ""), Unlimited(), sleep=lambda seconds: None)
    with transport, pytest.raises(RetriableError) as caught:
        transport.send(WRITE, repeatable=False)
    assert caught.value.code == "MB-UNAVAILABLE"
    assert transport.traffic.requests == 5


def test_thirty_threads_on_one_pacer_keep_the_rate_and_meet_no_429() -> None:
    PerSecondLimit.arrivals = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), PerSecondLimit)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    failures: list[MeterbridgeError] = []
    with Transport("m3ter", url, httpx.BasicAuth("k", ""), SlotPacer(50.0), max_connections=30) as transport:

        def work() -> None:
            try:
                for _ in range(4):
                    transport.send(READ, repeatable=True)
            except MeterbridgeError as error:
                failures.append(error)

        threads = [threading.Thread(target=work) for _ in range(30)]
        began = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.monotonic() - began
    server.shutdown()
    server.server_close()
    assert failures == []
    assert (transport.traffic.requests, transport.traffic.throttled) == (120, 0)
    # 119 intervals of 1/49.5 s are 2.40 s; a loaded machine may take longer, never shorter.
    assert 2.39 < took < 30
