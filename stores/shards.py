"""One shard as bytes, piece by piece: the same as zarr-python's sharding codec writes, which every Zarr v3 reads.

zarr-python would hold a shard three times over (all inner chunks copied, compressed, joined) and take twice the
processor time. Here one inner chunk at a time is cut, compressed and checked, so that beside the values no more
than the compressed bytes of one are held.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import google_crc32c
import numpy as np
import numpy.typing as npt
import zarr
from numcodecs.blosc import Blosc

from stores.errors import StoreError

NOTHING: Final = 2**64 - 1
"""Place and length, in the index, of an inner chunk that lies outside of the array."""
SHUFFLES: Final = {"noshuffle": Blosc.NOSHUFFLE, "shuffle": Blosc.SHUFFLE, "bitshuffle": Blosc.BITSHUFFLE}
CODECS: Final = ("bytes", "blosc", "crc32c")


@dataclass(frozen=True)
class Encoder:
    """How the shards of one array are written: shapes of shard and inner chunk, dtype, compression, filling."""

    shard: tuple[int, ...]
    chunk: tuple[int, ...]
    dtype: str
    fill: Any
    blosc: Blosc

    def __call__(self, values: npt.NDArray[Any]) -> Iterator[bytes]:
        """The bytes of one shard in order: inner chunks, each with its CRC32C, then the index of them.

        values : those of the shard that lie inside of the array; the rest of an inner chunk is filled.
        """
        grid = tuple(size // step for size, step in zip(self.shard, self.chunk, strict=True))
        index = np.full((*grid, 2), NOTHING, "<u8")
        at = 0
        for place in itertools.product(*map(range, grid)):
            part = values[tuple(slice(i * n, (i + 1) * n) for i, n in zip(place, self.chunk, strict=True))]
            if not part.size:
                continue
            packed = self.blosc.encode(self._whole(part))
            yield packed
            yield _crc(packed)
            index[place] = at, len(packed) + 4
            at += len(packed) + 4
        found = index.tobytes()
        yield found
        yield _crc(found)

    def _whole(self, part: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if part.shape == self.chunk:
            return np.ascontiguousarray(part, self.dtype)
        found = np.full(self.chunk, self.fill, self.dtype)
        found[tuple(map(slice, part.shape))] = part
        return found


def encoder(array: zarr.Array[Any]) -> Encoder:
    """The encoder of an array that `stores.create` made. Raises StoreError where its codecs are others."""
    stored: Any = array.metadata.to_dict()
    (outer,) = stored["codecs"]
    inner: Any = outer["configuration"]
    codecs = {one["name"]: one.get("configuration", {}) for one in inner["codecs"]}
    index = [one["name"] for one in inner["index_codecs"]]
    if tuple(codecs) != CODECS or index != ["bytes", "crc32c"] or inner["index_location"] != "end":
        raise StoreError(
            f"{array.store_path} was begun with the codecs {', '.join(codecs)}; wanted {', '.join(CODECS)}. "
            "Make the cube anew, with --overwrite."
        )
    blosc = codecs["blosc"]
    kind = Blosc(blosc["cname"], blosc["clevel"], SHUFFLES[blosc["shuffle"]], blosc["blocksize"])
    dtype = np.dtype(array.dtype).newbyteorder("<").str
    return Encoder(array.shards or array.chunks, tuple(inner["chunk_shape"]), dtype, array.fill_value, kind)


def _crc(data: bytes) -> bytes:
    return int(google_crc32c.value(data)).to_bytes(4, "little")
