"""Errors that no code of ours raised are told by their meaning for a person."""

from __future__ import annotations

import errno

import pytest

from meterbridge.mishaps import explained


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (RuntimeError("can't start new thread"), "MB-MEMORY"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "MB-MEMORY"),
        (OSError(errno.ENOSPC, "No space left on device"), "MB-DISK"),
        (RuntimeError("dictionary changed size"), "MB-INVARIANT"),
    ],
)
def test_want_of_memory_threads_or_room_is_told_as_such(failure: Exception, code: str) -> None:
    assert explained(failure).code == code
