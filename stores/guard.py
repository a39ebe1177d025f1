"""Whether `import stores` and `import pipeline` bring neurocube's packages: their names are common ones.

Runs with the standard library alone, and also by its path, since either package may be the foreign one.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Final

MARK: Final = "require_own"
"""Stands in the `__init__.py` of both packages, and in no other's."""


def require_own(name: str) -> None:
    """Raise ImportError, naming the foreign package, unless `import name` brings the one beside this file.

    Finds the package without importing it.
    """
    ours = Path(__file__).resolve().parents[1] / name / "__init__.py"
    if (found := _found(name)) != ours:
        raise ImportError(
            f"`import {name}` finds {found or 'nothing'}, which is not neurocube's {name!r} ({ours}). "
            "Take the folder that holds it off PYTHONPATH and sys.path, work from another folder, or rename it."
        )
    if MARK not in ours.read_text(encoding="utf-8"):
        raise ImportError(
            f"{ours} is not neurocube's: another distribution has overwritten it. Give neurocube an "
            f"environment of its own, or remove what installed {name!r} and install neurocube again."
        )


def _found(name: str) -> Path | None:
    """Where the import system finds `name`: its `__init__.py`, its module, or the folder of a namespace."""
    spec = find_spec(name)
    if spec is None:
        return None
    return Path(spec.origin or next(iter(spec.submodule_search_locations or [""]))).resolve()
