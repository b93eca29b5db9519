"""How a setting is declared: its variable's name, its default and its words."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from pydantic_core import PydanticUndefined
from pydantic_settings import NoDecode

Names = Annotated[frozenset[str], NoDecode]


def vendor(name: str, default: Any = PydanticUndefined, *, about: str, **limits: Any) -> Any:
    """A setting whose variable carries a vendor's prefix."""
    return Field(default, validation_alias=name.upper(), description=about, **limits)


def own(name: str, default: Any = PydanticUndefined, *, about: str, **limits: Any) -> Any:
    """A setting of ours: ``METERBRIDGE_<NAME>``."""
    return vendor(f"METERBRIDGE_{name}", default, about=about, **limits)


def state_directory() -> Path:
    """The user's state directory for meterbridge, absolute, whatever the working directory."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "meterbridge"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", str(Path.home() / "AppData" / "Local"))) / "meterbridge"
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "meterbridge"
