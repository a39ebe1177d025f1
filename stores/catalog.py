"""What is in a store: one row for every cube and result."""

import difflib
from collections.abc import Iterator
from typing import Any

import pandas as pd

from stores.dims import VALUES
from stores.errors import NotFoundError
from stores.place import Place
from stores.target import CUBE_FILES, is_complete

COLUMNS = ("name", "modality", "sizes", "dtype", "bytes", "complete", "made_from", "content_key")


def names(root: Any) -> Iterator[str]:
    """Names of every cube below `root`, begun or complete, sorted within each folder; none if it is not there."""
    yield from _walk(Place.of(root), "")


def _walk(place: Place, prefix: str) -> Iterator[str]:
    for folder in place.folders():
        if folder.startswith("."):
            continue
        here = place / folder
        if here.files() & CUBE_FILES:
            yield prefix + folder
        else:
            yield from _walk(here, f"{prefix}{folder}/")


def existing(root: Any) -> Place:
    """The store's folder. Raises NotFoundError where it is not there, or is a cube."""
    store = Place.of(root)
    if store.files() & CUBE_FILES:
        raise NotFoundError(f"{store} is a cube, not a store. Give the folder or URL that it lies in.")
    if not store.exists():
        what = "it is a file" if store.local and store.local.is_file() else "nothing is there"
        raise NotFoundError(f"there is no store {store}: {what}. Give the folder or URL that cubes lie in.")
    return store


def catalog(root: Any) -> pd.DataFrame:
    """Every cube and result of a store: name, modality, sizes, dtype, bytes on disk, complete, made from.

    Reads metadata only. A cube whose metadata cannot be parsed is listed with modality "unreadable".
    Raises NotFoundError where there is no store.
    """
    store = existing(root)
    rows = [_row(store / name, name) for name in names(store)]
    return pd.DataFrame(rows, columns=list(COLUMNS)).set_index("name")


def _row(place: Place, name: str) -> dict[str, Any]:
    row = {"name": name, "bytes": sum(place.sizes().values()), "complete": is_complete(place)}
    try:
        group = place.read_json(f"{VALUES}/zarr.json")
        origin = place.read_json("origin.json")
        attrs = group["attributes"]
        sizes = dict(zip(group["dimension_names"], group["shape"], strict=True))
        return row | {
            "modality": attrs["modality"],
            "sizes": " x ".join(f"{dim} {n}" for dim, n in sizes.items()),
            "dtype": group["data_type"],
            "made_from": ", ".join(
                f"{k}={v}" for k, v in origin["made_from"].items() if isinstance(v, str | int | float)
            ),
            "content_key": origin["content_key"],
        }
    except (TypeError, KeyError, ValueError, AttributeError):
        return row | {"modality": "unreadable", "sizes": "", "dtype": "", "made_from": "", "content_key": ""}


def absent(root: Any, name: str) -> NotFoundError:
    """There is no cube of this name: with the names that look like it, or what there is."""
    what = f"there is no cube {name!r} in {root}"
    known = list(names(root))
    if close := difflib.get_close_matches(name, known, n=3):
        return NotFoundError(f"{what}; did you mean {' or '.join(map(repr, close))}?")
    if known:
        return NotFoundError(f"{what}. It holds {', '.join(known[:8])}{' ...' if len(known) > 8 else ''}.")
    return NotFoundError(f"{what}; {'the store is empty' if Place.of(root).exists() else 'it is not there'}.")
