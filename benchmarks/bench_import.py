"""Importing contiguous HDF5 into a cube, against copying the same bytes with plain h5py slices into files.

Sources have the shapes of published ones, and noise that hardly compresses, the worst case: TVSD's normMUA
(image x electrode) and the betas of THINGS-fMRI (voxel x trial; fewer voxels), in double precision as published
and in single. Both sides leave files that survive a power cut; the copy keeps no labels, checksums or order of
stimuli. Ours runs in this process, or on a cluster of two workers as `neurocube import` does.

`python -m benchmarks.bench_import` prints MB/s of the source, processor time and a copy that is not synced, too.
"""

import atexit
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from statistics import median

import h5py
import numpy as np
import xarray as xr

import stores
from benchmarks.bench_store import MADE, client
from benchmarks.table import Case, opened
from pipeline.fill import Block, fill, lazy_source
from stores.dims import CUBE, REPEAT, STIMULUS, TIME, UNIT
from stores.readers.lazy import from_blocks
from stores.readers.slabs import Rows
from stores.readers.things_fmri import VoxelRows
from stores.readers.trials import TrialReader, blocks, presented, regions, storage

BAR = 0.6
SHAPES = {"TVSD normMUA": (22_248, 1_024), "THINGS-fMRI betas": (8_000, 9_840)}
TRAIN = 8_640
FILE_BYTES = 48 * 2**20


@cache
def workspace() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="bench-import-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def source(dataset: str, dtype: str) -> Path:
    """One contiguous dataset `x` of noise that was measured in single precision."""
    path, (rows, columns) = workspace() / f"{dataset}-{dtype}.h5", SHAPES[dataset]
    rng, step = np.random.default_rng(0), FILE_BYTES // (4 * columns)
    with h5py.File(path, "w") as file:
        made = file.create_dataset("x", (rows, columns), dtype)
        for row in range(0, rows, step):
            made[row : row + step] = rng.standard_normal((min(step, rows - row), columns), dtype="f4")
    return path


@cache
def lazy(dataset: str, dtype: str) -> xr.DataArray:
    """The cube as the dataset's reader makes it; of THINGS-fMRI the images that were shown once."""
    path, (rows, columns) = source(dataset, dtype), SHAPES[dataset]
    names = [f"s{i:05d}" for i in np.random.default_rng(1).permutation(rows if rows > TRAIN else TRAIN)]
    if dataset == "TVSD normMUA":
        pieces, units, whole, slow = Rows(path, "x"), columns, [UNIT], STIMULUS
        shown = presented(sorted(names), range(rows))
    else:
        pieces, units, whole, slow = VoxelRows(path, "x"), rows, [STIMULUS, REPEAT], UNIT
        shown = presented(names, np.sort(np.random.default_rng(2).permutation(columns)[:TRAIN]).tolist())
    chunks = blocks((len(names), units, 1, 1), np.float32, whole=whole, slow=slow)
    labels = {STIMULUS: shown.stimuli, UNIT: [f"u{i:05d}" for i in range(units)]}
    coords = {dim: np.array(ids, object) for dim, ids in labels.items()}
    return xr.DataArray(
        from_blocks(TrialReader(pieces, shown.trials), chunks, np.float32),
        dims=CUBE,
        coords={**coords, TIME: [0.0], REPEAT: [0]},
        attrs={"modality": "mua", "quantity": "x", "units": "a.u.", "dataset": dataset, "subject": "none"},
    )


def ours(dataset: str, dtype: str, *, workers: bool = False) -> None:
    cube = lazy(dataset, dtype)
    with stores.writing(
        workspace() / "store", "x", cube, made_from=MADE, overwrite=True, **storage(cube)
    ) as target:
        cuts = [Block({"x": one}) for one in regions(target, cube)]
        fill({"x": target}, cuts, lazy_source(cube, "x"), client=client() if workers else None)


def copy(dataset: str, dtype: str, *, synced: bool = True) -> None:
    folder = workspace() / "copy"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    with h5py.File(source(dataset, dtype)) as file:
        values = file["x"]
        step = FILE_BYTES // (values.dtype.itemsize * values.shape[1])
        for row in range(0, len(values), step):
            with (folder / str(row)).open("wb") as part:
                part.write(values[row : row + step].data)
                part.flush()
                if synced:
                    os.fsync(part.fileno())


def cases() -> list[Case]:
    """Double precision, as published; on workers what `neurocube import` gives to workers."""
    return [
        Case(
            f"import {dataset}" + (", 2 workers" if workers else ""),
            partial(ours, dataset, "float64", workers=workers),
            partial(copy, dataset, "float64"),
            BAR,
            "h5py slices to synced files",
        )
        for dataset, workers in [
            ("TVSD normMUA", False),
            ("THINGS-fMRI betas", False),
            ("THINGS-fMRI betas", True),
        ]
    ]


def timed(run: Callable[[], None], repeats: int = 5) -> tuple[float, float]:
    """Median seconds of wall and of processor time, after one run that is not measured."""
    run()
    walls, cpus = [], []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        run()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return median(walls), median(cpus)


def main() -> None:
    print(f"{'source':<28}{'way':<18}{'wall s':>8}{'MB/s':>7}{'cpu s':>8}{'of copy: wall':>15}{'cpu':>6}")
    for dataset in SHAPES:
        for dtype in ("float64", "float32"):
            size = source(dataset, dtype).stat().st_size / 1e6
            ways = {
                "copy, synced": partial(copy, dataset, dtype),
                "copy, not synced": partial(copy, dataset, dtype, synced=False),
                "import": partial(ours, dataset, dtype),
                "import, 2 workers": partial(ours, dataset, dtype, workers=True),
            }
            found = {way: timed(run) for way, run in ways.items()}
            base = found["copy, synced"]
            for way, (wall, cpu) in found.items():
                here = f"{cpu:8.2f}{base[0] / wall:15.2f}{base[1] / cpu:6.2f}"
                there = f"{'':>8}{base[0] / wall:15.2f}"  # workers use processor time of their own
                name = f"{dataset}, {dtype}"
                print(
                    f"{name:<28}{way:<18}{wall:8.2f}{size / wall:7.0f}{there if 'workers' in way else here}"
                )


if __name__ == "__main__":
    with opened:
        main()
