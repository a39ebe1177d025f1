import dask
import dask.array as da
import pytest
import xarray as xr

from tests.laziness import ComputedError


def test_computing_forbidden__lets_graphs_be_built(computing_forbidden):
    with computing_forbidden():
        total = xr.DataArray(da.ones((4, 4), chunks=2), dims=("x", "y")).sum()
    assert float(total) == 16


@pytest.mark.parametrize(
    "use", [lambda x: x.compute(), lambda x: x.persist(), lambda x: float(x.sum()), dask.compute]
)
def test_computing_forbidden__catches_every_way_to_compute(computing_forbidden, use):
    with computing_forbidden(), pytest.raises(ComputedError):
        use(da.ones(4, chunks=2))
