"""Opening cubes: lazy, in shard-sized blocks, and never a number where bytes are wrong or gone."""

import itertools
import json
from collections import OrderedDict
from collections.abc import Iterable, Mapping
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
from stores.target import COMPLETE, MANIFEST, ORIGIN, SHARDS, hash_of, mark_of, read_target, size_and_crc

REMEMBERED: Final = 256
_opened: "OrderedDict[str, _Unread]" = OrderedDict()


def open_cube(root: Any, name: str, *, partial: bool = False) -> xr.DataArray:
    """Open a cube or a result as a lazy DataArray whose Dask blocks are its shards.

    root : local directory or fsspec URL.  name : as `catalog(root)` lists it.
    partial : also open a cube that is still being filled; what is missing then reads as NaN (0 for counts).
    Raises NotFoundError, IncompleteError, CorruptError. Reading a shard that is damaged or gone raises too.
    """
    place = Place.of(root) / check_name(name)
    files = expected_files(Place.of(root), name, partial)
    store: Store = place.zarr(read_only=True)
    if not partial:
        store = CheckedStore(store, place.url, files)
    try:
        dataset = xr.open_zarr(store, consolidated=True, chunks=None)
        dataset = dataset.assign_coords({n: c.load() for n, c in dataset.coords.items()})
    except (ValueError, RuntimeError, KeyError, OSError) as fault:
        raise CorruptError(
            f"{place} cannot be read: {fault}. Run `neurocube verify` to find what is wrong."
        ) from fault
    cube = dataset[VALUES].rename(name)
    shard = read_target(Place.of(root), name).shard
    key = cube.attrs.get("provenance", {}).get("content_key", "")
    sizes = dict(zip(map(str, cube.dims), shard, strict=True))
    return _blocks(cube, _Unread(cube.variable, place, shard), sizes, f"{place}:{key}:{partial}")


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
            return self.lazy[key].values
        except (ValueError, RuntimeError) as fault:
            if not (damaged := self._damaged(key)):
                raise
            raise CorruptError(
                f"{self.place}: {', '.join(damaged)} differs from what was written ({fault}). Restore it, or "
                "make the cube again with --overwrite; `neurocube verify` lists everything that is wrong."
            ) from fault

    def _damaged(self, key: tuple[Any, ...]) -> list[str]:
        """Which of the shards that hold this part are not as the manifest says."""
        listed = (self.place.read_json(MANIFEST) or {"files": {}})["files"]
        spans = [
            np.unique(np.arange(n)[part] // step)
            for n, part, step in zip(self.shape, key, self.shard, strict=True)
        ]
        names = [f"{SHARDS}/{'/'.join(map(str, index))}" for index in itertools.product(*spans)]
        found = {name: size_and_crc(self.place, name) for name in names if name in listed}
        return [
            name for name, seen in found.items() if seen != (listed[name]["bytes"], listed[name]["crc32c"])
        ]


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
    """A store in which a file that the manifest lists and that is gone is an error, never a fill value."""

    def __init__(self, store: Store, url: str, files: Iterable[str]) -> None:
        super().__init__(store)
        self._url, self._files = url, frozenset(files)

    def _with_store(self, store: Store) -> "CheckedStore":
        return CheckedStore(store, self._url, self._files)

    def _check(self, key: str, found: Buffer | None) -> Buffer | None:
        if found is None and key in self._files:
            raise CorruptError(
                f"{self._url}/{key} is gone since the cube was completed. Restore it, or make the cube again "
                "with --overwrite; `neurocube verify` lists everything that is wrong."
            )
        return found

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """The bytes of one file, or of a part of it."""
        return self._check(key, await self._store.get(key, prototype, byte_range))


def expected_files(root: Place, name: str, partial: bool = False) -> list[str]:
    """Names of the data files, after the mark, the manifest and all metadata have been checked."""
    place = root / name
    if partial and place.read(ORIGIN) is not None:
        return []
    mark = place.read(COMPLETE)
    if mark is None:
        if place.read(ORIGIN) is None and place.read(MANIFEST) is None:
            raise absent(root, name)
        done = len([n for n in place.sizes(SHARDS) if not n.endswith(".partial")])
        raise IncompleteError(
            f"{name} in {root} is not complete ({done} shards are there): a run is filling it or was killed. "
            "Run the same command again to finish it, or open it with `partial=True`."
        )
    manifest = place.read(MANIFEST) or b""
    record = json.loads(manifest) if mark == mark_of(manifest) else None
    bad = [n for n, digest in record["metadata"].items() if hash_of(place, n) != digest] if record else []
    if record is None or bad:
        what = ", ".join(bad) or f"{MANIFEST} or the `{COMPLETE}` mark"
        raise CorruptError(
            f"{place}: {what} differs from what was written. Restore it, or make the cube again."
        )
    return list(record["files"])
