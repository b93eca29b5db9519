"""Pages and lists that we write are their owner's alone, whatever the process's mask and what was there before."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from meterbridge.private_files import write_private


@pytest.mark.parametrize("before", [None, "an older page, longer than what is written now"])
def test_a_file_is_closed_to_others_before_it_holds_a_word(tmp_path: Path, before: str | None) -> None:
    path = tmp_path / "compared.html"
    mask = os.umask(0o022)
    try:
        if before is not None:
            path.write_text(before)
            path.chmod(0o644)
        write_private(path, "Zoë")
    finally:
        os.umask(mask)
    assert (oct(path.stat().st_mode & 0o777), path.read_text(encoding="utf-8")) == ("0o600", "Zoë")
