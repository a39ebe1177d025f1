"""A cube much larger than the workers: the plan says what they will hold, and they hold that."""

import os
import threading
import time
from contextlib import contextmanager

import numpy as np
import psutil
import pytest
import xarray as xr

import stores
from pipeline import rsa
from pipeline.plan import plan
from stores.dims import CUBE
from tests.rsa_cubes import cube, patterns
from tests.workers import workers

SHAPE = (1000, 15_000, 100, 1)
"""6 GB in single precision."""
WORKERS, LIMIT = 2, 10**9


def template():
    """A cube of this shape that holds one number, over and over."""
    stimuli, units, times, _ = SHAPE
    coords = {
        "stimulus": np.array([f"s{i:04d}" for i in range(stimuli)], dtype=object),
        "unit": np.array([f"u{i:05d}" for i in range(units)], dtype=object),
        "time": np.arange(times) * 0.01,
        "repeat": [0],
        "channel": ("unit", np.array([f"u{i:05d}" for i in range(units)], dtype=object)),
    }
    attrs = {
        "modality": "meg_epochs",
        "quantity": "field",
        "units": "T",
        "dataset": "made up",
        "subject": "none",
    }
    return xr.DataArray(np.broadcast_to(np.float32(0), SHAPE), dims=CUBE, coords=coords, attrs=attrs)


def write(root):
    """Shards of few digits, which compress, and differ."""
    made = template()
    with stores.writing(root, "large", made, made_from={"seed": 0}) as target:
        noise = np.round(np.random.default_rng(0).standard_normal(target.shard, dtype=np.float32) * 4) / 4
        receipts = []
        for i, region in enumerate(target.regions()):
            sizes = [part.stop - part.start for part in region]
            values = np.roll(noise, i, axis=0)[tuple(slice(size) for size in sizes)]
            receipts.append(stores.write_region(target, region, values))
        stores.finish(target, receipts)


@contextmanager
def watched(processes):
    """The largest resident size of each process while inside, in bytes by process id."""
    peaks, done = dict.fromkeys((p.pid for p in processes), 0), threading.Event()

    def watch():
        while not done.is_set():
            for process in processes:
                peaks[process.pid] = max(peaks[process.pid], process.memory_info().rss)
            time.sleep(0.01)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peaks
    finally:
        done.set()
        thread.join()


def spilled(dask_worker):
    return {
        str(key): value for key, value in dask_worker.data.cumulative_metrics.items() if "disk" in str(key)
    }


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_plan__holds_for_a_cube_of_6_gb_on_two_workers_of_1_gb(tmp_path):
    write(tmp_path)
    large = stores.open_cube(tmp_path, "large")
    assert large.nbytes == 6_000_000_000
    model = rsa.rdm(cube(patterns(0, (SHAPE[0], 20, 1, 1))).assign_coords(stimulus=large.stimulus)).compute()
    scores = rsa.compare(rsa.rdm(large), model)
    promised = plan(scores).check(LIMIT)
    assert promised.bytes_in >= large.nbytes
    with workers(WORKERS, memory=LIMIT) as client:
        pids = client.run(os.getpid)
        with watched([psutil.Process(pid) for pid in pids.values()]) as peaks:
            found = scores.compute()
        assert not any(client.run(spilled).values())
        assert client.run(os.getpid) == pids  # none was restarted
    assert np.isfinite(found).all()
    assert found.sizes == {"time": SHAPE[2]}
    wanted = promised.worker_bytes(threads=1)
    print(f"{promised.text()}; a worker: planned {wanted:,}, measured {sorted(peaks.values())}")
    assert max(peaks.values()) == pytest.approx(wanted, rel=0.25)
