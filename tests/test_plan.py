"""The plan: what a lazy result costs, before it runs, and that it costs that."""

import numpy as np
import pytest
import xarray as xr

from pipeline import rsa
from pipeline.errors import PlanError
from pipeline.kernels import rdm as kernels
from pipeline.kernels.triangle import pairs
from pipeline.plan import IDLE_BYTES, Plan, plan, size
from stores.dims import CUBE
from tests.rsa_cubes import cube, patterns, stack

MB = 10**6


def test_plan__of_an_rdm(computing_forbidden):
    made = cube(patterns(0, (50, 40, 6, 2)).astype(np.float32)).chunk(time=2)
    with computing_forbidden():
        found = plan(rsa.rdm(made))
    assert found.bytes_in == made.nbytes
    assert found.bytes_out == 6 * pairs(50) * 4
    # A lazy cube's block is joined from smaller ones, which are there beside it.
    assert found.peak_bytes == kernels.rdm_bytes(50, 40, 6, 2, made.dtype, (0, 50)) + made.nbytes
    assert 1 <= found.tasks <= 7


@pytest.mark.parametrize("lazy", [True, False])
def test_plan__counts_what_tiles_read_again(lazy):
    made = cube(patterns(0, (50, 40, 1, 1)))
    rdm = rsa.rdm(made.chunk() if lazy else made, task_bytes=kernels.SCRATCH + 50_000)
    tiles = len(rdm.data.chunks[1])
    assert tiles > 1
    # In memory, patterns are prepared once for all tiles.
    assert plan(rdm).bytes_in == (tiles if lazy else 1) * made.nbytes
    assert plan(rdm).peak_bytes <= kernels.SCRATCH + 50_000


def test_plan__of_a_whole_evaluation_reads_every_cube_once():
    brains = [cube(patterns(seed, (12, 10, 2, 2))) for seed in range(3)]
    network = cube(patterns(9, (12, 30, 1, 1)))
    result = rsa.evaluate({"net/layer": rsa.rdm(network)}, stack(brains))
    found = plan(result)
    assert found.bytes_in == sum(brain.nbytes for brain in brains) + network.nbytes
    assert found.bytes_out == result.nbytes + sum(c.nbytes for c in result.coords.values() if c.chunks)


@pytest.fixture
def stored(tmp_path):
    """A cube of 2.4 MB in blocks of 0.6 MB."""
    made = xr.DataArray(np.zeros((20, 100, 10, 30), np.float32), dims=CUBE, name="x")
    made = made.assign_coords(stimulus=np.array([f"s{i:02d}" for i in range(20)], dtype=object))
    made.chunk(unit=25).to_dataset().to_zarr(tmp_path / "x.zarr", consolidated=False)
    return xr.open_zarr(tmp_path / "x.zarr", consolidated=False)["x"]


def test_plan__of_a_stored_cube_reads_its_blocks(stored):
    assert plan(stored).bytes_in == stored.nbytes
    assert plan(stored.isel(unit=slice(0, 30), time=[0])).bytes_in == stored.nbytes // 2
    assert plan(stored).peak_bytes == stored.nbytes // 4


def test_plan__counts_what_lies_before_a_verb(stored):
    plain = plan(rsa.rdm(stored))
    assert plain.bounded
    assert plain.bytes_in == stored.nbytes
    averaged = plan(rsa.rdm(stored.mean("repeat", keepdims=True)))
    assert averaged.bytes_in == stored.nbytes
    assert averaged.bounded  # small beside what the verb may hold
    few = plan(stored.mean("repeat"))
    assert not few.bounded
    assert few.peak_bytes == stored.nbytes // 4
    assert few.text().endswith("reads 2 MB, writes 80 kB; at least 600 kB in the largest task")


def test_plan__of_what_is_computed_already():
    done = rsa.rdm(cube(patterns(0, (5, 4, 1, 1)))).compute()
    assert plan(done) == Plan(0, 0, done.nbytes, 0)


def test_plan__of_any_lazy_array():
    lazy = xr.DataArray(np.zeros((100, 100)), dims=("a", "b")).chunk(a=10) + 1
    assert plan(lazy).peak_bytes == 8000
    assert plan(lazy).tasks >= 10


def test_plan__text():
    text = Plan(72, 1_900 * MB, 41 * MB, 610 * MB).text()
    assert text == "72 tasks; reads 1.9 GB, writes 41 MB; 610 MB at most per task"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1500, "2 kB"),
        (610 * MB, "610 MB"),
        (1_940 * MB, "1.9 GB"),
        (5e12, "5.0 TB"),
    ],
)
def test_size__is_short(count, text):
    assert size(count) == text


def test_check__passes_or_refuses_with_numbers():
    one = Plan(10, 0, 0, 500 * MB)
    assert one.check(2000 * MB, threads=2) is one
    with pytest.raises(
        PlanError, match=r"needs 500 MB; with 4 at a time .* is 2.4 GB, .* has 2.0 GB"
    ) as told:
        one.check(2000 * MB, threads=4)
    advised = int(str(told.value).rpartition("task_bytes=")[2].rstrip("`."))
    assert IDLE_BYTES + 4 * advised <= 2000 * MB
    with pytest.raises(PlanError, match=r"a worker has 200 MB. Give workers more memory\.$"):
        one.check(200 * MB)


def test_check__advice_works():
    made = cube(patterns(0, (200, 300, 4, 1)))
    tight = plan(rsa.rdm(made, task_bytes=kernels.SCRATCH + 300_000))
    assert tight.peak_bytes <= kernels.SCRATCH + 300_000
    tight.check(IDLE_BYTES + kernels.SCRATCH + 300_000)
