"""Filling, reading and opening cubes, against zarr-python doing the same shards and codecs from threads.

The peer works in one process and keeps no labels, manifest or checks of completeness; ours goes through a Dask
cluster of as many worker processes as the peer has threads.
"""

import atexit
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
import zarr

import stores
from benchmarks.table import Case, opened
from pipeline import cluster
from pipeline.cluster.config import Local
from pipeline.fill import Block, Client, fill, shard_blocks
from stores.dims import TIME, UNIT

SHAPE = (2048, 512, 512, 1)  # 2.1 GB of float32
WORKERS = 2
CUBES = 200
OPEN_S = 0.2
MADE = {"step": "benchmark/1"}


@cache
def noise(shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """One shard of noise, kept by the process, so that neither side times the making of random numbers."""
    return np.random.default_rng(0).standard_normal(shape, dtype="f4")


@dataclass(frozen=True)
class Noise:
    """Gives every region the same noise."""

    shard: tuple[int, ...]

    def __call__(self, block: Block) -> Iterator[tuple[str, npt.NDArray[Any]]]:
        for name, region in block.regions.items():
            yield name, noise(self.shard)[tuple(slice(0, part.stop - part.start) for part in region)]


@cache
def workspace() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="bench-store-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def client() -> Client:
    local = Local(n_workers=WORKERS, threads_per_worker=1, dashboard_address="127.0.0.1:0")
    return opened.enter_context(cluster.start(cluster.ClusterConfig(profiles={"local": local})))


def template(shape: tuple[int, ...]) -> xr.DataArray:
    small = stores.simulate("meg_epochs", stimuli=4, units=2, times=2, repeats=1)
    ids = {"stimulus": [f"s{i:05d}" for i in range(shape[0])], "unit": [f"u{i:04d}" for i in range(shape[1])]}
    blank = np.broadcast_to(np.float32(0), shape)
    coords = {name: np.array(values, object) for name, values in ids.items()}
    coords |= {TIME: np.arange(shape[2]) / 200, "repeat": np.arange(shape[3])}
    cube = xr.DataArray(blank, dims=small.dims, coords=coords, attrs=small.attrs)
    return cube.assign_coords(channel=(UNIT, coords["unit"]))


def fill_ours() -> None:
    with stores.writing(workspace(), "ours", template(SHAPE), made_from=MADE, overwrite=True) as target:
        fill({"ours": target}, shard_blocks(target), Noise(target.shard), label="noise", client=client())


def fill_peer() -> None:
    ours = zarr.open_array(workspace() / "ours", path="values", mode="r")
    array = zarr.create_array(
        workspace() / "peer",
        shape=ours.shape,
        chunks=ours.chunks,
        shards=ours.shards,
        dtype=ours.dtype,
        compressors=ours.compressors,
        overwrite=True,
        config={"write_empty_chunks": True},
    )
    values = noise(ours.shards)

    def write(region: tuple[slice, ...]) -> None:
        array[region] = values[tuple(slice(0, part.stop - part.start) for part in region)]

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(write, regions(ours)))


def regions(array: zarr.Array) -> list[tuple[slice, ...]]:
    shards = [range(0, size, step) for size, step in zip(array.shape, array.shards, strict=True)]
    starts = np.stack(np.meshgrid(*shards, indexing="ij"), axis=-1).reshape(-1, len(shards))
    return [
        tuple(
            slice(int(i), min(int(i) + n, size))
            for i, n, size in zip(start, array.shards, array.shape, strict=True)
        )
        for start in starts
    ]


def read_ours() -> None:
    blocks = stores.open_cube(workspace(), "ours").data
    client()
    blocks.map_blocks(corner, dtype=blocks.dtype, chunks=(1, 1, 1, 1)).compute()


def corner(block: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return block[:1, :1, :1, :1].copy()


def read_peer() -> None:
    array = zarr.open_array(workspace() / "peer", mode="r")
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(lambda region: corner(np.asarray(array[region])), regions(array)))


@cache
def many() -> Path:
    """A store of 200 cubes; the last has 40 MB."""
    root = workspace() / "many"
    for number in range(CUBES - 1):
        cube = stores.simulate("fmri", stimuli=4, units=4, repeats=1)
        stores.save(root, f"fmri/sub-{number:03d}", cube, made_from=MADE | {"n": number})
    big = template((1854, 272, 20, 1))
    with stores.writing(root, "meg/sub-000", big, made_from=MADE) as target:
        fill({"meg/sub-000": target}, shard_blocks(target), Noise(target.shard))
    return root


def open_and_read() -> None:
    stores.open_cube(many(), "meg/sub-000").isel({UNIT: 100, TIME: 7}).load(scheduler="synchronous")


def cases() -> list[Case]:
    return [
        Case("fill 2.1 GB through the cluster", fill_ours, fill_peer, 0.6, "zarr-python, threads"),
        Case("read 2.1 GB through the cluster", read_ours, read_peer, 0.8, "zarr-python, threads"),
        Case(
            "open one of 200 cubes, read unit x time", open_and_read, lambda: time.sleep(OPEN_S), 1, "0.2 s"
        ),
    ]
