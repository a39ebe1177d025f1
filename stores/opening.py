"""Opening cubes: lazy, in shard-sized blocks, and never a number where bytes are wrong or gone."""

import itertools
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import dask.array as da
import dask.base
import numpy as np
import numpy.typing as npt
import xarray as xr
from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import WrapperStore

from stores.catalog import absent
from stores.dims import VALUES
from stores.errors import CorruptError, IncompleteError
from stores.place import Place, check_name
from stores.target import (
    COMPLETE,
    MANIFEST,
    ORIGIN,
    PARTIAL,
    SHARDS,
    digest,
    hash_of,
    listed,
    mark_of,
    size_and_crc,
)

REMEMBERED: Final = 256
REMEDY: Final = (
    "Restore it, or make the cube again with --overwrite; `neurocube verify` lists everything that is wrong."
)
_opened: "OrderedDict[str, _Unread]" = OrderedDict()


def open_cube(root: Any, name: str, *, partial: bool = False) -> xr.DataArray:
    """Open a cube or a result as a lazy DataArray whose Dask blocks are its shards.

    root : local directory or fsspec URL.  name : as `catalog(root)` lists it.
    partial : also open a cube that is still being filled; what is missing then reads as NaN (0 for counts).
    Raises NotFoundError, IncompleteError, CorruptError. Reading a shard that is damaged or gone raises too, and
    so does reading once the cube was made anew. A sound shard in the place of another is for `verify` to find.
    """
    place = Place.of(root) / check_name(name)
    made = ORIGIN if partial else COMPLETE
    identity = hash_of(place, made)  # before anything else is read
    files = expected_files(Place.of(root), name, partial)
    store = CheckedStore(place.zarr(read_only=True), place.url, files)
    try:
        dataset = xr.open_zarr(store, consolidated=True, chunks=None)
        dataset = dataset.assign_coords({n: c.load() for n, c in dataset.coords.items()})
    except (ValueError, RuntimeError, KeyError, OSError) as fault:
        raise CorruptError(
            f"{place} cannot be read: {fault}. Run `neurocube verify` to find what is wrong."
        ) from fault
    cube = dataset[VALUES].rename(name)
    shard = cube.encoding["shards"] or cube.encoding["chunks"]
    sizes = dict(zip(map(str, cube.dims), shard, strict=True))
    lazy = _Unread(cube.variable, place, shard, made, identity)
    return _blocks(cube, lazy, sizes, f"{place}:{identity}:{partial}")


def reblock(cube: xr.DataArray, sizes: Mapping[str, int]) -> xr.DataArray:
    """The same cube in other Dask blocks (-1: whole); dims not named keep theirs.

    Where `cube` is still exactly what `open_cube` gave, its blocks are read straight from the store at the
    new sizes; otherwise Dask cuts and joins the blocks it has. Computes nothing.
    """
    lazy = _opened.get(getattr(cube.data, "name", ""))
    if lazy is None:
        return cube.chunk(dict(sizes))
    kept: dict[str, Any] = dict(cube.chunksizes)
    return _blocks(cube, lazy, kept | dict(sizes), cube.data.name)


@dataclass(frozen=True)
class _Unread:
    """The values of a cube on disk, as Dask slices them. Shards that cannot be read are named."""

    lazy: xr.Variable
    place: Place
    shard: tuple[int, ...]
    made: str
    identity: str
    """SHA-256 of the file `made`, which differs once the cube was made anew."""

    @property
    def dtype(self) -> Any:
        return self.lazy.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return self.lazy.shape

    @property
    def ndim(self) -> int:
        return self.lazy.ndim

    def __getitem__(self, key: tuple[Any, ...]) -> npt.NDArray[Any]:
        try:
            values = self.lazy[key].values
        except (ValueError, RuntimeError, CorruptError) as fault:
            self._refuse_replaced()
            if isinstance(fault, CorruptError) or not (damaged := self._damaged(key)):
                raise
            raise CorruptError(
                f"{self.place}: {', '.join(damaged)} differs from what was written ({fault}). {REMEDY}"
            ) from fault
        self._refuse_replaced()
        return values

    def _refuse_replaced(self) -> None:
        # After reading: making a cube anew takes the mark away before anything else.
        if hash_of(self.place, self.made) != self.identity:
            raise CorruptError(f"{self.place} was replaced since it was opened; open it again.")

    def _damaged(self, key: tuple[Any, ...]) -> list[str]:
        """Which of the shards that hold this part are not as the manifest says."""
        files = listed(self.place, self.place.read_json(MANIFEST) or {"files": {}})
        spans = [
            np.unique(np.arange(n)[part] // step)
            for n, part, step in zip(self.shape, key, self.shard, strict=True)
        ]
        names = [f"{SHARDS}/{'/'.join(map(str, index))}" for index in itertools.product(*spans)]
        return [name for name in names if name in files and size_and_crc(self.place, name) != files[name]]


def _blocks(cube: xr.DataArray, lazy: _Unread, sizes: Mapping[str, Any], token: str) -> xr.DataArray:
    """`cube` with `lazy`, its unread values, cut in blocks; coordinates stay as they are, in memory."""
    label = str(cube.name or "cube").replace("/", "-")
    name = f"read-{label}-{dask.base.tokenize(token, sorted(sizes.items()))}"
    chunks = tuple(sizes[str(dim)] for dim in cube.dims)
    # The meta is given, or Dask would read an empty slice to know it.
    data = da.from_array(lazy, chunks, name=name, meta=np.ndarray)  # type: ignore[no-untyped-call]
    _opened[data.name] = lazy
    while len(_opened) > REMEMBERED:
        _opened.popitem(last=False)
    return cube.copy(data=data)


class CheckedStore(WrapperStore[Store]):
    """A store in which a listed file that is gone, and an empty one, is an error, never a fill value.

    files : bytes and CRC-32 of those listed. Coordinates, which are read whole, are compared with it; shards
    are read in parts, each with a checksum of its own.
    """

    def __init__(self, store: Store, url: str, files: Mapping[str, tuple[int, str]]) -> None:
        super().__init__(store)
        self._url, self._files = url, files

    def _with_store(self, store: Store) -> "CheckedStore":
        return CheckedStore(store, self._url, self._files)

    def _check(self, key: str, found: Buffer | None) -> Buffer | None:
        wanted = self._files.get(key)
        if found is None and wanted is None:
            return None
        if not found:  # Zarr takes a file without bytes for one that is not there
            what = "is gone since the cube was completed" if found is None else "is empty"
            raise CorruptError(f"{self._url}/{key} {what}. {REMEDY}")
        if wanted and not key.startswith(f"{SHARDS}/") and digest(found.to_bytes()) != wanted:
            raise CorruptError(f"{self._url}/{key} differs from what was written. {REMEDY}")
        return found

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """The bytes of one file, or of a part of it."""
        return self._check(key, await self._store.get(key, prototype, byte_range))


def expected_files(root: Place, name: str, partial: bool = False) -> dict[str, tuple[int, str]]:
    """Bytes and CRC-32 of the data files, after the mark, the manifest and all metadata have been checked.

    partial : of those that were written on creation.
    """
    place = root / name
    if partial and place.read(ORIGIN) is not None:
        return _vouched(place, ORIGIN)
    mark, manifest = place.read(COMPLETE), place.read(MANIFEST)
    if mark is None:
        if place.read(ORIGIN) is None and manifest is None:
            raise absent(root, name)
        done = len([n for n in place.sizes(SHARDS) if not n.endswith(PARTIAL)])
        raise IncompleteError(
            f"{name} in {root} is not complete ({done} shards are there): a run is filling it or was killed. "
            "Run the same command again to finish it, or open it with `partial=True`."
        )
    if mark != mark_of(manifest or b""):
        raise _differs(place, f"{MANIFEST} or the `{COMPLETE}` mark")
    return _vouched(place, MANIFEST)


def _vouched(place: Place, record: str) -> dict[str, tuple[int, str]]:
    """The data files that a record lists, after the metadata that it lists have been checked."""
    try:
        found = place.read_json(record)
        bad = [name for name, sha in found["metadata"].items() if hash_of(place, name) != sha]
        files = listed(place, found)
    except (ValueError, TypeError, KeyError, AttributeError):  # no JSON, or that of something else
        bad = [record]
    if bad:
        raise _differs(place, ", ".join(bad))
    return files


def _differs(place: Place, what: str) -> CorruptError:
    return CorruptError(
        f"{place}: {what} differs from what was written. Restore it, or run the command that made the cube again."
    )
