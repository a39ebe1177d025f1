"""Filling a created cube shard by shard, and marking it complete at the end."""

import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
import zarr

from stores.create import writing
from stores.dims import VALUES
from stores.errors import CorruptError, KeyMismatchError, SchemaError
from stores.shards import encoder
from stores.target import (
    COMPLETE,
    MANIFEST,
    NOTES,
    ORIGIN,
    PARTIAL,
    Receipt,
    Region,
    Target,
    hash_of,
    mark_of,
    size_and_crc,
)


def write_region(target: Target, region: Region, values: npt.NDArray[Any]) -> Receipt:
    """Write whole shards; each file appears at once or not at all.

    values : the region's shape; a dtype that casts to the cube's within its kind.
    Raises ValueError where `region` cuts a shard, SchemaError for a wrong shape, dtype or overflow,
    FullError where the device is full, KeyMismatchError where the cube was made anew in the meantime.
    """
    parts = target.parts(region)
    write = encoder(zarr.open_array(target.place.zarr(read_only=True), path=VALUES, mode="r"))
    data = _cast(target, region, values)
    written = {}
    for name, part in parts.items():
        seen = _Seen(write(data[part]))
        target.place.write(name, _unless_replaced(target, seen), sync=False)
        written[name] = (seen.bytes, f"{seen.crc:08x}")
    return Receipt(target.name, written)


def finish(target: Target, receipts: Iterable[Receipt] = ()) -> None:
    """Write the manifest, of shards and notes, and the complete mark, once every shard is there.

    Shards without a receipt (from an earlier, killed run) are read back and checked first.
    Raises CorruptError, naming the shards, where any is missing or damaged; damaged ones are removed, so
    that the next run computes them again. Raises KeyMismatchError where the cube was made anew since.
    """
    place = target.place
    _refuse_replaced(target)
    files: dict[str, tuple[int, str]] = {}
    for receipt in receipts:
        files |= receipt.files
    if absent := target.missing():
        raise CorruptError(f"{place} cannot be completed: {len(absent)} shards are missing; run it again")
    files |= _check_unreceipted(target, set(files))
    for name in place.sizes():
        if name.endswith(PARTIAL):  # of an earlier run that was killed while it wrote
            place.delete(name)
        elif name.startswith(f"{NOTES}/") and name.endswith(".json"):
            files[name] = size_and_crc(place, name)
    for name in files:
        place.sync(name)
    origin = place.read_json(ORIGIN)
    described = {name: {"bytes": size, "crc32": crc} for name, (size, crc) in sorted(files.items())}
    record = {
        "content_key": origin["content_key"],
        "metadata": {**origin["metadata"], ORIGIN: target.origin},
        "files": {**origin["files"], **described},
    }
    place.write_json(MANIFEST, record)
    place.write(COMPLETE, mark_of(place.read(MANIFEST) or b""))


def save(
    root: Any, name: str, array: xr.DataArray, *, made_from: Mapping[str, Any], overwrite: bool = False
) -> None:
    """Store a small cube or result at once; values that are still lazy are computed shard by shard."""
    with writing(root, name, array, made_from=made_from, overwrite=overwrite) as target:
        if not target.complete:
            receipts = [write_region(target, r, np.asarray(array.variable[r].data)) for r in target.missing()]
            finish(target, receipts)


def _unless_replaced(target: Target, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Pieces of a file; after the last, when it is about to appear, the cube must still be the target's."""
    yield from pieces
    _refuse_replaced(target)


def _refuse_replaced(target: Target) -> None:
    # Dask does not stop a task that runs: one of a failed run may outlive it, and the cube it was to fill.
    if hash_of(target.place, ORIGIN) != target.origin:
        raise KeyMismatchError(
            f"{target.place} was made anew, or removed, since this run began to fill it. Run it again."
        )


class _Seen:
    """Pieces of a file as they pass by: their bytes and CRC-32, once all have."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = pieces
        self.bytes, self.crc = 0, 0

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self.bytes += len(piece)
            self.crc = zlib.crc32(piece, self.crc)
            yield piece


def _cast(target: Target, region: Region, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    wanted = tuple(part.stop - part.start for part in region)
    if values.shape != wanted:
        raise SchemaError(f"values for {target.name} have shape {values.shape}; the region wants {wanted}")
    if not np.can_cast(values.dtype, target.dtype, "same_kind"):
        raise SchemaError(f"values for {target.name} are {values.dtype}; the cube holds {target.dtype}")
    if np.dtype(target.dtype).kind in "iu" and not np.can_cast(values.dtype, target.dtype):
        _refuse_overflow(target, values)
    try:
        with np.errstate(over="raise"):
            return values.astype(target.dtype, copy=False)
    except FloatingPointError:
        raise SchemaError(
            f"values for {target.name} exceed what {target.dtype} can hold "
            f"(largest: {np.nanmax(np.abs(values)):.3g}); store it as a wider dtype"
        ) from None


def _refuse_overflow(target: Target, values: npt.NDArray[Any]) -> None:
    """NumPy wraps integers that do not fit, and says nothing."""
    held, low, high = np.iinfo(target.dtype), values.min(), values.max()
    if low < held.min or high > held.max:
        raise SchemaError(
            f"values for {target.name} lie between {low} and {high}, and exceed what {target.dtype} can hold; "
            "store it as a wider dtype"
        )


def _check_unreceipted(target: Target, known: set[str]) -> dict[str, tuple[int, str]]:
    """Read back the shards of earlier runs; remove and name those that do not decode."""
    array = zarr.open_array(target.place.zarr(read_only=True), path=VALUES, mode="r")
    found, damaged = {}, []
    for region in target.regions():
        (name,) = target.shards_of(region)
        if name in known:
            continue
        try:
            array[region]
        except (ValueError, RuntimeError):
            damaged.append(name)
            target.place.delete(name)
            continue
        found[name] = size_and_crc(target.place, name)
    if damaged:
        raise CorruptError(
            f"{target.place} holds {len(damaged)} damaged shards of an earlier run, such as {damaged[0]}; "
            "they were removed: run the same command again"
        )
    return found
