"""What a cube was made from, and the content key that hashes it."""

import hashlib
import json
import platform
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RECORDED = ("neurocube", "numpy", "xarray", "zarr", "dask", "torch")


def content_key(made_from: Mapping[str, Any]) -> str:
    """SHA-256 over the canonical JSON of what makes a cube: sources, parameters, weights, code version.

    Raises TypeError where a value is not plain JSON (a key must not depend on a `repr`).
    """
    text = json.dumps(made_from, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def provenance(made_from: Mapping[str, Any]) -> dict[str, Any]:
    """The record kept in a cube's attrs: its key, what the key hashes, and the versions that ran.

    Versions are told but not hashed: an upgrade that changes results raises the step's code version.
    """
    return {"content_key": content_key(made_from), "made_from": dict(made_from), "versions": dict(versions())}


@cache  # each is read from a file
def versions() -> Mapping[str, str]:
    """Versions of Python and of the packages that decide a cube's numbers."""
    found = {"python": platform.python_version()}
    for package in RECORDED:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed as a distribution"
    return found


def file_record(path: Path) -> dict[str, Any]:
    """Name, size and SHA-256 of one source file: its bytes count, not where it lies or when it was touched."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"file": path.name, "bytes": path.stat().st_size, "sha256": digest}


def differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Fields in which two records differ as JSON, which the key hashes: `a.b: old -> new`."""
    return list(_differing(json.loads(json.dumps(old)), json.loads(json.dumps(new)), ""))


def _differing(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for name in sorted(old.keys() | new.keys()):
        if isinstance(old.get(name), dict) and isinstance(new.get(name), dict):
            yield from _differing(old[name], new[name], f"{prefix}{name}.")
            continue
        # Texts differ where values that Python holds equal do not: 1, 1.0 and True; 0.0 and -0.0.
        was, now = (_text(one[name]) if name in one else "absent" for one in (old, new))
        if was != now:
            parting = (n for n, (a, b) in enumerate(zip(was, now, strict=False)) if a != b)
            start = max(0, next(parting, 0) - 20)
            yield f"{prefix}{name}: {_short(was, start)} -> {_short(now, start)}"


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _short(text: str, start: int) -> str:
    """A long text from shortly before where it differs."""
    if len(text) <= 80:
        return text
    return f"{'...' if start else ''}{text[start : start + 60]}... ({len(text)} characters)"
