"""Shards written piece by piece are those of zarr-python."""

import itertools
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import zarr

import stores
from stores.layout import codecs
from stores.shards import encoder

SHAPE, CHUNK, SHARD = (37, 50, 7, 3), (10, 8, 7, 1), (20, 16, 7, 3)


def array(folder, dtype, **options):
    fill = np.nan if np.dtype(dtype).kind == "f" else 0
    options = {"compressors": codecs(), "config": {"write_empty_chunks": True}, "fill_value": fill} | options
    return zarr.create_array(folder, shape=SHAPE, chunks=CHUNK, shards=SHARD, dtype=dtype, **options)


def values(dtype):
    found = (np.random.default_rng(0).standard_normal(SHAPE) * 9).astype(dtype)
    if np.dtype(dtype).kind == "f":
        found[3:25, 4:30] = np.nan  # whole chunks of nothing, which are written too
    return found


def shards():
    for at in itertools.product(*(range(0, n, s) for n, s in zip(SHAPE, SHARD, strict=True))):
        name = "/".join(str(i // s) for i, s in zip(at, SHARD, strict=True))
        yield f"c/{name}", tuple(slice(i, min(i + s, n)) for i, s, n in zip(at, SHARD, SHAPE, strict=True))


def chunks(data):
    """Bytes of each inner chunk by its place, as the index at the end of a shard tells."""
    grid = tuple(s // c for s, c in zip(SHARD, CHUNK, strict=True))
    index = np.frombuffer(data[-4 - 16 * int(np.prod(grid)) : -4], "<u8").reshape(*grid, 2)
    return {
        at: data[int(index[at][0]) : int(index[at].sum())] for at in np.ndindex(grid) if index[at][0] < 2**63
    }


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", "u1", "i2", "i8", "bool"])
def test_encoder__writes_the_chunks_that_zarr_writes_and_zarr_reads_them(tmp_path, dtype):
    made, wanted = array(tmp_path, dtype), values(dtype)
    made[:] = wanted
    encode = encoder(made)
    for name, region in shards():
        path = Path(tmp_path, name)
        ours, theirs = b"".join(encode(wanted[region])), path.read_bytes()
        assert chunks(ours) == chunks(theirs)
        assert len(ours) == len(theirs)
        path.write_bytes(ours)
    np.testing.assert_array_equal(zarr.open_array(tmp_path, mode="r")[:], wanted)


@pytest.mark.parametrize("order", ["F", "reversed", "big-endian", "broadcast"])
def test_encoder__minds_values_not_how_they_lie_in_memory(tmp_path, order):
    encode, plain = encoder(array(tmp_path, "f4")), values("f4")
    if order == "broadcast":
        plain = np.broadcast_to(plain[:, :1], SHAPE)
    lying = {
        "F": np.asfortranarray(plain),
        "reversed": plain[::-1].copy()[::-1],
        "big-endian": plain.astype(">f4"),
        "broadcast": plain,
    }[order]
    for _, region in shards():
        assert b"".join(encode(lying[region])) == b"".join(encode(np.ascontiguousarray(plain[region])))


def test_encoder__holds_one_chunk_beside_the_values(tmp_path):
    made = zarr.create_array(
        tmp_path, shape=(4096, 1024), chunks=(4096, 64), shards=(4096, 1024), dtype="f4", compressors=codecs()
    )
    noise = np.random.default_rng(0).standard_normal(made.shape, dtype="f4")  # 16 MB
    encode = encoder(made)
    tracemalloc.start()
    total = sum(len(piece) for piece in encode(noise))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total > 12 * 2**20
    assert peak < 4 * 2**20


def test_encoder__refuses_other_codecs(tmp_path):
    with pytest.raises(stores.StoreError, match=r"begun with the codecs bytes, zstd; wanted .* --overwrite"):
        encoder(array(tmp_path, "f4", compressors="auto"))
