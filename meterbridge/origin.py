"""Refuses to start when a foreign ``flows``, ``tasks`` or ``connectors`` package comes first on the path.

The three names are common; a stray distribution or a ``tasks.py`` beside the
working directory would otherwise run in place of ours, with our credentials.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from meterbridge.errors import SetupError

PACKAGES = ("flows", "tasks", "connectors")
"""Our top-level packages whose names others use, too."""


_HOME = Path(__file__).resolve().parent.parent


def verify(locate: Callable[[str], Path | None] | None = None, home: Path = _HOME) -> None:
    """Check that every generic name leads to the package that was installed with this one.

    Args:
        locate: Gives the directory that a package would be, or was, imported from; default asks the import system.
        home: Directory that holds our four packages.

    Raises:
        SetupError: MB-ORIGIN, naming the package, where it was found and where it was expected.
    """
    for name in PACKAGES:
        found = (locate or _imported_from)(name)
        if found == home / name:
            continue
        where = f"comes from {found}" if found else "was not found as a package"
        raise SetupError("MB-ORIGIN", f"package {name} {where}, expected {home / name}", key=name)


def _imported_from(name: str) -> Path | None:
    loaded = sys.modules.get(name)
    origin = loaded.__file__ if loaded else (spec.origin if (spec := find_spec(name)) else None)
    if origin is None:
        return None
    file = Path(origin).resolve()
    return file.parent if file.name == "__init__.py" else file
