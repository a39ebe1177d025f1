"""What is on disk of a cube that is being made: its files, its shards, and what each of them holds.

A cube is a Zarr v3 group with three small files of its own beside Zarr's:
`origin.json` (written last in creation: content key, hashes of metadata and coordinates),
`manifest.json` (size and CRC-32 of every shard as well) and `complete` (SHA-256 of the manifest).
"""

import hashlib
import itertools
import math
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import zarr

from stores.dims import VALUES
from stores.errors import CorruptError
from stores.place import Place

ORIGIN: Final = "origin.json"
MANIFEST: Final = "manifest.json"
COMPLETE: Final = "complete"
SHARDS: Final = f"{VALUES}/c"
NOTES: Final = "notes"
JOURNAL: Final = ".verify.json"
PARTIAL: Final = ".partial"
"""How names end while their files are being written."""
CUBE_FILES: Final = frozenset({ORIGIN, MANIFEST, COMPLETE})
"""A folder is a cube, begun, complete or damaged, where one of these is in it; a killed creation leaves none."""

Region = tuple[slice, ...]


@dataclass(frozen=True)
class Receipt:
    """What one task wrote: size in bytes and CRC-32 (hex) of every file, by its name inside the cube."""

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
    origin: str
    """SHA-256 of `origin.json`: a cube made anew in the same folder, from something else, has another."""
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
        """Names of the shards that are there; an empty one, which a power cut may leave, is not."""
        sizes = self.place.sizes(SHARDS)
        return {name for name, size in sizes.items() if size and not name.endswith(PARTIAL)}

    def parts(self, region: Region) -> dict[str, Region]:
        """Names of the files that `region` covers, and which part of its values is in each; as `shards_of`."""
        cuts = [
            [
                slice(start - part.start, min(start + step, part.stop) - part.start)
                for start in range(part.start, part.stop, step)
            ]
            for part, step in zip(region, self.shard, strict=True)
        ]
        return dict(zip(self.shards_of(region), itertools.product(*cuts), strict=True))

    def missing(self, regions: Iterable[Region] | None = None) -> list[Region]:
        """Those of `regions` (default: one per shard) of which some shard is not there."""
        there = self.written()
        return [r for r in (regions or self.regions()) if not there.issuperset(self.shards_of(r))]


def read_target(root: Place, name: str) -> Target:
    """The target that is on disk under this name."""
    place = root / name
    array = zarr.open_array(place.zarr(read_only=True), path=VALUES, mode="r")
    dims = tuple(str(d) for d in array.metadata.dimension_names or ())  # type: ignore[union-attr]
    shard = array.shards or array.chunks
    origin, complete = hash_of(place, ORIGIN), is_complete(place)
    return Target(root.url, name, dims, array.shape, str(array.dtype), shard, origin, complete)


def is_complete(place: Place) -> bool:
    """Whether a cube has its mark, and the manifest that the mark belongs to."""
    mark = place.read(COMPLETE)
    return mark is not None and mark == mark_of(place.read(MANIFEST) or b"")


def mark_of(manifest: bytes) -> bytes:
    """The complete mark that belongs to a manifest, to the byte."""
    return f"manifest sha256 {hashlib.sha256(manifest).hexdigest()}\n".encode()


def listed(place: Place, record: Mapping[str, Any]) -> dict[str, tuple[int, str]]:
    """Bytes and CRC-32 (hex) of every data file, as a manifest or an origin tells. Raises CorruptError."""
    try:
        return {name: (one["bytes"], one["crc32"]) for name, one in record["files"].items()}
    except KeyError as absent:
        raise CorruptError(
            f"{place} was made by an earlier version, which kept no {absent} of files. Make the cube again."
        ) from None


def hash_of(place: Place, name: str) -> str:
    """SHA-256 of one file; of nothing where it is not there."""
    return hashlib.sha256(place.read(name) or b"").hexdigest()


def size_and_crc(place: Place, name: str) -> tuple[int, str]:
    """Bytes and CRC-32 (hex) of one file; of nothing where it is not there."""
    return digest(place.read(name) or b"")


def digest(data: bytes) -> tuple[int, str]:
    """Bytes and CRC-32 (hex), zlib's, of what is in one file.

    Not CRC32C: every file ends with that of its own bytes, and then it is the same for all of them.
    """
    return len(data), f"{zlib.crc32(data):08x}"
