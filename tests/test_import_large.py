"""Imports of sources larger than memory: little is held, bytes are read once, a kill costs what was under way."""

import os
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import psutil
import pytest
import xarray as xr
import zarr

import pipeline.fill as filling
import stores
from pipeline.fill import Block, lazy_source
from stores.dims import CUBE
from stores.readers import tvsd
from stores.readers.lazy import from_blocks
from stores.readers.slabs import Rows
from stores.readers.trials import TrialReader, blocks, presented, regions, storage
from tests.layouts import tvsd as small
from tests.layouts import tvsd_large as large

LIMIT = 10**9
"""Bytes that a worker may hold."""


def read_so_far(pid="self"):
    """Bytes that a process has asked of files, in memory or not."""
    return int(Path(f"/proc/{pid}/io").read_text().split()[1])


def shards(root, name):
    """(inode, time of change) of each shard that is there."""
    found = (one for one in (root / name / "values" / "c").rglob("*") if one.is_file())
    return {
        one.relative_to(root / name).as_posix(): (one.stat().st_ino, one.stat().st_mtime_ns)
        for one in found
        if one.suffix != ".partial"
    }


@pytest.fixture
def published(tmp_path):
    """A cube over a source of the published shape."""
    path = large.trials(tmp_path / "THINGS_MUA_trials.mat", moments=[2])
    kept = np.flatnonzero(large.ORDER < large.TRAIN)
    shown = presented([large.TRAIN_STEMS[n] for n in large.ORDER[kept]], kept.tolist())
    shape = (large.TRAIN, large.ELECTRODES, large.TIMES, 1)
    pieces = Rows(path, "ALLMUA", large.MAPPING - 1, times=True)
    chunks = blocks(shape, np.float32, whole=["unit"], slow="time")
    cube = xr.DataArray(
        from_blocks(TrialReader(pieces, shown.trials), chunks, np.float32),
        dims=CUBE,
        coords={
            "stimulus": np.array(shown.stimuli, object),
            "unit": np.array([f"e{n:04d}" for n in range(1, large.ELECTRODES + 1)], object),
            "time": np.arange(large.TIMES) / 1000,
            "repeat": [0],
        },
        attrs={"modality": "mua", "quantity": "x", "units": "a.u.", "dataset": "tvsd", "subject": "monkeyF"},
    )
    return cube, shown


def test_import__of_62_gb_holds_one_block_and_reads_its_bytes_once(published, tmp_path):
    cube, shown = published
    assert 8 * large.TIMES * large.TRIALS * large.ELECTRODES > 62e9
    with stores.writing(tmp_path, "x", cube, made_from={"a": 1}, **storage(cube)) as target:
        where = regions(target, cube)
        assert len(where) == large.TIMES
        source, before = lazy_source(cube, "x"), read_so_far()
        tracemalloc.start()
        ((_, values),) = source(Block({"x": where[2]}))
        stores.write_region(target, where[2], values)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        asked = read_so_far() - before
    assert peak < values.nbytes + 64 * 2**20
    assert large.MOMENT_BYTES <= asked + 8192 * 8 < 1.01 * large.MOMENT_BYTES
    wanted = large.value((large.MAPPING - 1)[None], shown.trials, 2)
    np.testing.assert_array_equal(values[:, :, 0, 0], wanted)
    back = stores.open_cube(tmp_path, "x", partial=True)
    np.testing.assert_array_equal(back.isel(time=2, repeat=0), wanted)


def import_small(folder, root, kill_after=-1):
    """Import monkey F's trials in this process, which kills itself once so many moments are written.

    Returns the moments that were read.
    """
    write, read_rows, done, moments = filling.write_region, h5py.Dataset.__getitem__, [], []

    def spy(self, key, *args, **kwargs):
        if self.name == "/ALLMUA":
            moments.append(key[0])
        return read_rows(self, key, *args, **kwargs)

    def killed(*args):
        if len(done) == kill_after:
            os.kill(os.getpid(), signal.SIGKILL)
        done.append(1)
        return write(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stores.layout.SHARD_BYTES", 2**14)
        patch.setattr("stores.layout.CHUNK_BYTES", 2**13)
        patch.setattr(filling, "write_region", killed)
        patch.setattr(h5py.Dataset, "__getitem__", spy)
        cube = tvsd.read(folder)["monkeyF/trials/train"]
        with stores.writing(root, "x", cube, made_from={"a": 1}, **storage(cube)) as target:
            cuts = [Block({"x": one}) for one in regions(target, cube)]
            filling.fill({"x": target}, cuts, lazy_source(cube, "x"))
    return moments


def test_import__killed_and_begun_again_reads_and_writes_only_the_rest(tmp_path):
    folder = small.write(tmp_path / "raw", monkeys="F") / "monkeyF"
    calm, killed, moments = tmp_path / "calm", tmp_path / "killed", list(range(small.TIMES))
    assert import_small(folder, calm) == moments
    call = f"import_small(Path({str(folder)!r}), Path({str(killed)!r}), kill_after=5)"
    program = f"from pathlib import Path; from tests.test_import_large import import_small; {call}"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -signal.SIGKILL
    there = shards(killed, "x")
    assert len(there) == 5 * len(shards(calm, "x")) / small.TIMES
    assert import_small(folder, killed) == moments[5:]
    after = shards(killed, "x")
    assert {name: after[name] for name in there} == there
    for name in [*shards(calm, "x"), "manifest.json", "complete", "origin.json"]:
        assert (calm / "x" / name).read_bytes() == (killed / "x" / name).read_bytes(), name
    assert stores.verify(killed) == []


CLUSTER = """
default: local
profiles:
  local: {kind: local, n_workers: 2, threads_per_worker: 1, memory_limit: 1 GB, dashboard_address: "127.0.0.1:0"}
"""


def workers_of(process):
    """Processes of Dask's workers below this one."""
    found = []
    for one in psutil.Process(process.pid).children(recursive=True):
        try:
            if any("spawn_main" in part for part in one.cmdline()):
                found.append(one.pid)
        except psutil.NoSuchProcess:
            continue
    return found


def run_until(folder, root, cube, count):
    """`neurocube import` until `count` shards of `cube` are there, then SIGKILL to all of its processes.

    Returns the largest resident size of each worker, and the bytes that it read.
    """
    (root.parent / "cluster.yaml").write_text(CLUSTER)
    command = [
        "import",
        "tvsd",
        str(folder),
        "--into",
        f"{root}/tvsd",
        "--cluster",
        str(root.parent / "cluster.yaml"),
    ]
    peaks, read = {}, {}
    with (root.parent / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", "from pipeline.cli import main; main()", *command],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            while len(shards(root, cube)) < count:
                assert process.poll() is None, (root.parent / "log").read_text()
                for pid in workers_of(process):
                    try:
                        status = Path(f"/proc/{pid}/status").read_text()
                        peaks[pid] = 1024 * int(status.split("VmHWM:")[1].split()[0])
                        read[pid] = read_so_far(pid)
                    except (OSError, IndexError):
                        continue  # it has just ended
                time.sleep(0.02)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return peaks, read


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_import_command__of_62_gb_stays_under_1_gb_a_worker_and_resumes_after_a_kill(tmp_path):
    folder = large.write(tmp_path / "raw", moments=range(4))
    assert (folder / "THINGS_MUA_trials.mat").stat().st_size > 62e9
    root, name = tmp_path / "store", "tvsd/monkeyF/trials/train"
    peaks, read = run_until(folder, root, name, count=24)
    there = shards(root, name)
    again, read_again = run_until(folder, root, name, count=len(there) + 24)
    after = shards(root, name)
    print(f"peaks {sorted(peaks.values())} {sorted(again.values())}, read {sum(read.values()):,}")
    assert len(peaks) >= 2
    assert max(*peaks.values(), *again.values()) < LIMIT
    assert {one: after[one] for one in there} == there
    array = zarr.open_array(root / name, path="values", mode="r")
    per_moment = -(-large.ELECTRODES // array.shards[1])
    for shards_made, bytes_read in ((len(there), read), (len(after) - len(there), read_again)):
        moments = shards_made / per_moment + 4  # what was under way when it was killed
        assert sum(bytes_read.values()) < moments * large.MOMENT_BYTES + 500e6  # modules, and the other cubes
    back = stores.open_cube(root, name, partial=True)
    place = {stem: n for n, stem in enumerate(large.TRAIN_STEMS)}
    trial = np.argsort(large.ORDER)[[place[one] for one in back.stimulus.values]]
    for moment in range(4):
        wanted = large.value((large.MAPPING - 1)[None], trial[:, None], moment)
        np.testing.assert_array_equal(back.isel(time=moment, repeat=0), wanted)
