"""Signs of life: a run at work says so in the ledger, so that one whose process is gone can be told from it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from meterbridge.errors import MeterbridgeError
from meterbridge.ledger import runs
from tasks.services import ledger_in_use

logger = logging.getLogger(__name__)


@contextmanager
def signs_of_life(run_id: str) -> Iterator[None]:
    """Inside the block a thread says in the ledger, every half minute, that the run is at work."""
    ended = threading.Event()

    def say() -> None:
        while not ended.wait(runs.SIGN_SECONDS):
            try:
                with ledger_in_use() as ledger, ledger.write() as tx:
                    runs.give_sign(tx, run_id)
                    tx.commit()
            except MeterbridgeError as failure:  # the run itself will meet it where it matters
                logger.debug("no sign of life could be given", extra={"run_id": run_id, "code": failure.code})

    thread = threading.Thread(target=say, name=f"signs of {run_id}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
