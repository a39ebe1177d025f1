"""Whether the cube that lies on disk is the one that is to be made: then it is reused, or filled up."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import xarray as xr

from stores.dims import VALUES
from stores.errors import CorruptError, KeyMismatchError
from stores.faults import faults_are_told
from stores.place import Place
from stores.provenance import content_key, differing
from stores.storable import stored
from stores.target import ORIGIN, PARTIAL, SHARDS, hash_of, size_and_crc

REMEDY = "Give the result another name, or replace it with --overwrite."


def usable(place: Place, name: str, template: xr.DataArray, made_from: Mapping[str, Any]) -> bool:
    """Whether the cube on disk was made from the same, into the same, and is whole or resumable.

    Coordinates of `template` that are still lazy are not computed for it.
    Raises KeyMismatchError where it was made from something else, or holds values under other labels;
    CorruptError where what it was made from cannot be told.
    """
    origin, changes = recorded(place, name, made_from)
    if origin is None:
        return False  # nothing there, or a creation that was killed before its last step
    store = place.url.removesuffix(name)
    if changes:
        raise KeyMismatchError(_told(f"{name} in {store} was made from something else", changes))
    if any(hash_of(place, file) != wanted for file, wanted in origin["metadata"].items()) or any(
        size_and_crc(place, file) != wanted for file, wanted in origin["files"].items()
    ):
        return False
    if _described_alike(origin.get("template"), described(template)):
        return True
    unlike = list(_unlike(place, template))
    if unlike and any(not file.endswith(PARTIAL) for file in place.sizes(SHARDS)):
        raise KeyMismatchError(
            _told(
                f"{name} in {store} was made from the same, but is another cube than the one asked for",
                unlike,
            )
        )
    return not unlike


def recorded(
    place: Place, name: str, made_from: Mapping[str, Any]
) -> tuple[dict[str, Any] | None, list[str]]:
    """What `origin.json` says of a cube, None where there is none; and how `made_from` differs from its own.

    Raises CorruptError where that cannot be told.
    """
    try:
        origin = place.read_json(ORIGIN)
        if origin is None:
            return None, []
        changes = differing(origin["made_from"], made_from)
        if (origin["content_key"] == content_key(made_from)) == bool(changes):
            raise ValueError("the content key is not that of what it was made from")
        files = {file: (one["bytes"], one.get("crc32")) for file, one in origin["files"].items()}
        return origin | {"metadata": dict(origin["metadata"]), "files": files}, changes
    except (ValueError, TypeError, KeyError, AttributeError) as fault:
        raise CorruptError(
            f"{place}/{ORIGIN} is damaged, so that nobody can tell what {name} was made from. Restore it, or "
            "replace the cube with --overwrite."
        ) from fault


def described(array: xr.DataArray) -> dict[str, Any]:
    """Dims, shape, dtype, and SHA-256 of every coordinate (None where it is lazy), which `origin.json` keeps."""
    coords = {
        str(name): None if coord.chunks else _digest(stored(coord)) for name, coord in array.coords.items()
    }
    shape = [list(map(str, array.dims)), list(array.shape), str(array.dtype)]
    return {"shape": shape, "coords": coords}


def _digest(coord: xr.Variable) -> str:
    values = coord.values.ravel()
    data = "\0".join(map(str, values)).encode() if values.dtype.kind == "O" else values.tobytes()
    return hashlib.sha256(f"{coord.dims} {coord.shape} {values.dtype.str} ".encode() + data).hexdigest()


def _described_alike(old: Any, new: dict[str, Any]) -> bool:
    """Whether two descriptions are equal as far as they go; what differs may still be equal but for rounding."""
    if not isinstance(old, dict) or old.get("shape") != new["shape"]:
        return False
    known = {name: digest or old["coords"].get(name) for name, digest in new["coords"].items()}
    return bool(old["coords"] == known)


def _told(what: str, changes: list[str]) -> str:
    return "\n  - ".join([f"{what}:", *changes]) + f"\n{REMEDY}"


def _unlike(place: Place, template: xr.DataArray) -> Iterator[str]:
    """In what the cube on disk differs from `template`: dims, sizes, dtype, coordinates."""
    with faults_are_told(place.url):
        # Without indexes: a million unit ids would be hashed and never looked up.
        there = xr.open_dataset(
            place.zarr(read_only=True),  # type: ignore[arg-type]
            engine="zarr",
            chunks=None,
            create_default_indexes=False,
        )[VALUES]
        for what in ("dims", "shape", "dtype"):
            if (was := getattr(there, what)) != (now := getattr(template, what)):
                yield f"{what}: {was} -> {now}"
        for name in sorted(map(str, there.coords.keys() ^ template.coords.keys())):
            yield f"coordinate {name!r}: " + (
                "there -> absent" if name in there.coords else "absent -> there"
            )
        for name in sorted(map(str, there.coords.keys() & template.coords.keys())):
            if (asked := template.coords[name]).chunks is None:
                yield from _changed(f"coordinate {name!r}", there.coords[name].variable, stored(asked))


def _changed(what: str, old: xr.Variable, new: xr.Variable) -> Iterator[str]:
    if old.sizes != new.sizes:
        yield f"{what}: {dict(old.sizes)} -> {dict(new.sizes)}"
        return
    was, now = old.values.ravel(), new.values.ravel()
    if was.dtype.kind in "fc" and now.dtype.kind in "fc":  # another machine may round otherwise
        same = np.isclose(was, now, rtol=1e-6, atol=1e-12, equal_nan=True)
    else:
        same = was.astype(now.dtype if now.dtype.kind == "O" else was.dtype) == now
    if was.dtype.kind == now.dtype.kind and now.dtype.kind in "mM":
        same |= np.isnat(was) & np.isnat(now)
    if not same.all():
        first = int(np.argmin(same))
        yield f"{what}: {(~same).sum()} of {same.size} values differ, first {was[first]} -> {now[first]}"
