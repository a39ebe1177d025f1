"""Making a cube: created whole, filled shard by shard, marked complete at the end.

On disk a cube is a Zarr v3 group with three small files of its own beside Zarr's:
`origin.json` (written last in creation: content key, hashes of metadata and coordinates),
`manifest.json` (size and CRC32C of every shard as well) and `complete` (SHA-256 of the manifest).
"""

import contextlib
import hashlib
import itertools
import math
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import dask.array
import google_crc32c
import numpy as np
import numpy.typing as npt
import xarray as xr
import zarr
from zarr.abc.store import Store
from zarr.core.buffer import Buffer
from zarr.core.common import BytesLike
from zarr.errors import ZarrUserWarning
from zarr.storage import WrapperStore

from stores.dims import VALUES
from stores.errors import CorruptError, KeyMismatchError, SchemaError
from stores.layout import Access, Layout, codecs, layout
from stores.lock import LOCK, locked
from stores.place import Place, check_name, no_space_is_told
from stores.provenance import content_key, differing, provenance
from stores.specs import SCHEMA_VERSION
from stores.validate import validate

ORIGIN: Final = "origin.json"
MANIFEST: Final = "manifest.json"
COMPLETE: Final = "complete"
SHARDS: Final = f"{VALUES}/c"

Region = tuple[slice, ...]


@dataclass(frozen=True)
class Receipt:
    """What one task wrote: size in bytes and CRC32C (hex) of every file, by its name inside the cube."""

    cube: str
    files: Mapping[str, tuple[int, str]]

    @property
    def bytes(self) -> int:
        """Bytes on disk."""
        return sum(size for size, _ in self.files.values())


@dataclass(frozen=True)
class Target:
    """A created cube that waits to be filled: small and picklable, so that tasks carry it."""

    root: str
    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    shard: tuple[int, ...]
    complete: bool = False

    @property
    def place(self) -> Place:
        """The cube's folder."""
        return Place(self.root) / self.name

    @property
    def grid(self) -> tuple[int, ...]:
        """Number of shards along each dim."""
        return tuple(math.ceil(n / s) for n, s in zip(self.shape, self.shard, strict=True))

    def region(self, index: tuple[int, ...]) -> Region:
        """The part of the cube that one shard holds."""
        return tuple(
            slice(i * s, min((i + 1) * s, n)) for i, s, n in zip(index, self.shard, self.shape, strict=True)
        )

    def regions(self) -> list[Region]:
        """One region per shard, in C order."""
        return [self.region(index) for index in itertools.product(*map(range, self.grid))]

    def stripes(self, dim: str) -> list[Region]:
        """One region per row of shards along `dim`, whole along every other dim."""
        axis, full = self.dims.index(dim), tuple(slice(0, n) for n in self.shape)
        size, step = self.shape[axis], self.shard[axis]
        return [
            (*full[:axis], slice(i, min(i + step, size)), *full[axis + 1 :]) for i in range(0, size, step)
        ]

    def shards_of(self, region: Region) -> list[str]:
        """Names of the files that `region` covers. Raises ValueError where it cuts a shard."""
        spans = []
        for part, step, size in zip(region, self.shard, self.shape, strict=True):
            if part.start % step or (part.stop % step and part.stop != size) or part.stop > size:
                raise ValueError(
                    f"region {region} cuts a shard of {self.name} (shards {self.shard}, shape {self.shape}); "
                    "only whole shards are written, because two writers of one shard lose data silently"
                )
            spans.append(range(part.start // step, math.ceil(part.stop / step)))
        return [f"{SHARDS}/{'/'.join(map(str, index))}" for index in itertools.product(*spans)]

    def written(self) -> set[str]:
        """Names of the shards that are there."""
        return {name for name in self.place.sizes(SHARDS) if not name.endswith(".partial")}

    def missing(self, regions: Iterable[Region] | None = None) -> list[Region]:
        """Those of `regions` (default: one per shard) of which some shard is not there."""
        there = self.written()
        return [r for r in (regions or self.regions()) if not there.issuperset(self.shards_of(r))]


@contextlib.contextmanager
def writing(
    root: Any,
    name: str,
    template: xr.DataArray,
    *,
    made_from: Mapping[str, Any],
    access: Access = "unit",
    stimuli: int | None = None,
    overwrite: bool = False,
) -> Iterator[Target]:
    """Hold a cube open for filling: reuse it if complete, resume it if begun, else create it.

    template : dims, dtype, coordinates and attrs; its values are never computed.
    made_from : plain JSON of everything that decides the values; its hash is the content key.
    access, stimuli : see `stores.layout.layout`.
    Raises SchemaError, KeyMismatchError (made from something else, unless `overwrite`), LockedError.
    """
    place = Place.of(root) / check_name(name)
    if 0 in template.shape:
        raise SchemaError(f"{name} would be empty: sizes are {dict(template.sizes)}")
    validate(template)
    content_key(made_from)  # raises before anything is created, where a value is not plain JSON
    with locked(place):
        if overwrite or not _usable(place, name, made_from):
            _create(place, template, made_from, access, stimuli)
        yield read_target(Place.of(root), name)


def read_target(root: Place, name: str) -> Target:
    """The target that is on disk under this name."""
    place = root / name
    array = zarr.open_array(place.zarr(read_only=True), path=VALUES, mode="r")
    dims = tuple(str(d) for d in array.metadata.dimension_names or ())  # type: ignore[union-attr]
    shard = array.shards or array.chunks
    return Target(
        root.url, name, dims, array.shape, str(array.dtype), shard, complete=place.read(COMPLETE) is not None
    )


def write_region(target: Target, region: Region, values: npt.NDArray[Any]) -> Receipt:
    """Write whole shards; each file appears at once or not at all.

    values : the region's shape; a dtype that casts to the cube's within its kind.
    Raises ValueError where `region` cuts a shard, SchemaError for a wrong shape, dtype or overflow,
    FullError where the device is full.
    """
    shards = target.shards_of(region)
    recorder = _Recorder(target.place.zarr())
    array = zarr.open_array(recorder, path=VALUES, mode="r+").with_config({"write_empty_chunks": True})
    data = _cast(target, region, values)
    with no_space_is_told(target.place.url):
        array[region] = data
    return Receipt(target.name, {name: recorder.seen[name] for name in shards})


def finish(target: Target, receipts: Iterable[Receipt] = ()) -> None:
    """Write the manifest and the complete mark, once every shard is there.

    Shards without a receipt (from an earlier, killed run) are read back and checked first.
    Raises CorruptError, naming the shards, where any is missing or damaged; damaged ones are removed, so
    that the next run computes them again.
    """
    place = target.place
    files: dict[str, tuple[int, str]] = {}
    for receipt in receipts:
        files |= receipt.files
    if absent := target.missing():
        raise CorruptError(f"{place} cannot be completed: {len(absent)} shards are missing; run it again")
    files |= _check_unreceipted(target, set(files))
    for name in files:
        place.sync(name)
    origin = place.read_json(ORIGIN)
    described = {name: {"bytes": size, "crc32c": crc} for name, (size, crc) in sorted(files.items())}
    record = {
        "content_key": origin["content_key"],
        "metadata": {**origin["metadata"], ORIGIN: hashlib.sha256(place.read(ORIGIN) or b"").hexdigest()},
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
            receipts = [write_region(target, r, np.asarray(array[r].data)) for r in target.missing()]
            finish(target, receipts)


def mark_of(manifest: bytes) -> bytes:
    """The complete mark that belongs to a manifest, to the byte."""
    return f"manifest sha256 {hashlib.sha256(manifest).hexdigest()}\n".encode()


def crc32c(data: BytesLike) -> str:
    """CRC32C of some bytes, as eight hex digits."""
    view = np.frombuffer(data, np.uint8) if len(data) else b""  # an array is read in place, never copied
    return f"{google_crc32c.value(view):08x}"


class _Recorder(WrapperStore[Store]):
    """Notes size and CRC32C of every file that passes through to the store below."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.seen: dict[str, tuple[int, str]] = {}

    async def set(self, key: str, value: Buffer) -> None:
        await super().set(key, value)
        self.seen[key] = (len(value), crc32c(value.as_buffer_like()))


def _usable(place: Place, name: str, made_from: Mapping[str, Any]) -> bool:
    """Whether the cube on disk was made from the same and is whole or resumable. Raises KeyMismatchError."""
    try:
        origin = place.read_json(ORIGIN)
    except ValueError:
        origin = None
    if origin is None:
        return False  # nothing there, or a creation that was killed before its last step
    if origin["content_key"] != content_key(made_from):
        changes = differing(origin["made_from"], made_from)
        raise KeyMismatchError(
            f"{name} in {place.url.removesuffix(name)} was made from something else:\n  - "
            + "\n  - ".join(changes)
            + "\nGive the result another name, or replace it with --overwrite."
        )
    return all(hash_of(place, n) == digest for n, digest in origin["metadata"].items()) and all(
        _size_and_crc(place, n) == (f["bytes"], f["crc32c"]) for n, f in origin["files"].items()
    )


def hash_of(place: Place, name: str) -> str:
    """SHA-256 of one file; of nothing where it is not there."""
    return hashlib.sha256(place.read(name) or b"").hexdigest()


def _size_and_crc(place: Place, name: str) -> tuple[int, str]:
    data = place.read(name) or b""
    return len(data), crc32c(data)


def _create(
    place: Place,
    template: xr.DataArray,
    made_from: Mapping[str, Any],
    access: Access,
    stimuli: int | None,
) -> None:
    """Write metadata and coordinates, then `origin.json`: without it the folder counts as debris."""
    place.clear(keep=(LOCK,))
    shape = layout(
        tuple(map(str, template.dims)), template.shape, template.dtype, access=access, stimuli=stimuli
    )
    dataset = _as_dataset(template, made_from)
    with no_space_is_told(place.url), warnings.catch_warnings():
        # Consolidated metadata is not in the v3 spec yet, but every reader of it ignores or uses it, and
        # it makes opening one read. It cannot go stale: a cube's metadata never change.
        warnings.simplefilter("ignore", ZarrUserWarning)
        store = place.zarr()
        dataset.to_zarr(
            store,
            mode="a",
            compute=False,
            consolidated=False,
            zarr_format=3,
            encoding=_encoding(dataset, shape),
        )
        zarr.consolidate_metadata(store)
    names = sorted(name for name in place.sizes() if name != LOCK)
    metadata = {name: hash_of(place, name) for name in names if name.endswith("zarr.json")}
    files = {name: _size_and_crc(place, name) for name in names if name not in metadata}
    for name in names:
        place.sync(name)
    place.write_json(
        ORIGIN,
        {
            "content_key": content_key(made_from),
            "made_from": made_from,
            "metadata": metadata,
            "files": {name: {"bytes": size, "crc32c": crc} for name, (size, crc) in files.items()},
        },
    )


def _as_dataset(template: xr.DataArray, made_from: Mapping[str, Any]) -> xr.Dataset:
    """The template with no values, plain coordinates and plain JSON attributes."""
    blank = dask.array.empty(template.shape, dtype=template.dtype, chunks=template.shape)
    attrs = {str(k): _json(v) for k, v in template.attrs.items()} | {"provenance": provenance(made_from)}
    # Without indexes: a million unit ids would be hashed and never looked up.
    coords = xr.Coordinates({name: _plain(coord) for name, coord in template.coords.items()}, indexes={})
    variables = {VALUES: xr.Variable(template.dims, blank, attrs)}
    return xr.Dataset(variables, coords, {"neurocube_schema": SCHEMA_VERSION})


def _plain(coord: xr.DataArray) -> xr.Variable:
    """Strings as objects, so that they are stored as variable-length UTF-8; contiguous, native order."""
    values = coord.values
    # pandas' and NumPy's own string types come back from stores: their kind is "T", or "O" already.
    if values.dtype.kind in "UTSO":
        values = values.astype(object)
    attrs = {k: v for k, v in coord.attrs.items() if k != "provenance"}
    return xr.Variable(coord.dims, np.ascontiguousarray(values).reshape(coord.shape), attrs)


def _json(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value


def _encoding(dataset: xr.Dataset, shape: Layout) -> dict[str, dict[str, Any]]:
    plain = {"compressors": codecs(), "filters": ()}
    found: dict[str, dict[str, Any]] = {}
    for name, variable in dataset.variables.items():
        found[str(name)] = dict(plain)
        if variable.shape:
            found[str(name)]["chunks"] = tuple(max(1, n) for n in variable.shape)
    found[VALUES] |= {"chunks": shape.chunk, "shards": shape.shard}
    if dataset[VALUES].dtype.kind == "f":
        found[VALUES]["_FillValue"] = np.nan
    return found


def _cast(target: Target, region: Region, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    wanted = tuple(part.stop - part.start for part in region)
    if values.shape != wanted:
        raise SchemaError(f"values for {target.name} have shape {values.shape}; the region wants {wanted}")
    if not np.can_cast(values.dtype, target.dtype, "same_kind"):
        raise SchemaError(f"values for {target.name} are {values.dtype}; the cube holds {target.dtype}")
    try:
        with np.errstate(over="raise"):
            return values.astype(target.dtype, copy=False)
    except FloatingPointError:
        raise SchemaError(
            f"values for {target.name} exceed what {target.dtype} can hold "
            f"(largest: {np.nanmax(np.abs(values)):.3g}); store it as a wider dtype"
        ) from None


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
        except (ValueError, RuntimeError, OSError):
            damaged.append(name)
            target.place.delete(name)
            continue
        found[name] = _size_and_crc(target.place, name)
    if damaged:
        raise CorruptError(
            f"{target.place} holds {len(damaged)} damaged shards of an earlier run, such as {damaged[0]}; "
            "they were removed: run the same command again"
        )
    return found
