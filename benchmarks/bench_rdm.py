"""RDMs of THINGS size against rsatoolbox and SciPy.

Ours starts from a cube in single precision, as brains and activations are stored, and includes building the
graph; it runs through Dask's threads. The peers get the same numbers in double precision, in which rsatoolbox
keeps and computes data and SciPy computes whatever it is given. Agreement to 1e-6 is checked before timing.
"""

from functools import cache

import dask
import numpy as np
import numpy.typing as npt
import xarray as xr
from rsatoolbox.data import Dataset
from rsatoolbox.rdm import calc_rdm
from scipy.spatial.distance import pdist

from benchmarks.table import Case
from pipeline.rsa import rdm
from stores.dims import CUBE

STIMULI = 1854


@cache
def cube(units: int, times: int) -> xr.DataArray:
    """Patterns that share a common part, as measured ones do."""
    rng = np.random.default_rng([units, times])
    values = rng.standard_normal((STIMULI, units, times, 1), dtype=np.float32)
    values += rng.standard_normal((units, times, 1), dtype=np.float32)
    stimuli, names = [f"s{i:04d}" for i in range(STIMULI)], [f"u{i:05d}" for i in range(units)]
    coords = {"stimulus": stimuli, "unit": names, "time": np.arange(times) / 100.0, "repeat": [0]}
    return xr.DataArray(values, dims=CUBE, coords=coords)


@cache
def doubles(units: int, times: int) -> npt.NDArray[np.float64]:
    """The same patterns as the peers get them: (time, stimulus, unit)."""
    return np.ascontiguousarray(np.moveaxis(cube(units, times).values[..., 0], 2, 0), dtype=np.float64)


def ours(units: int, times: int) -> npt.NDArray[np.float64]:
    with dask.config.set(scheduler="threads"):
        return np.asarray(rdm(cube(units, times), metric="correlation").data.compute())


@cache
def require_agreement(units: int, times: int) -> None:
    """Ours against what both peers compute, by one product in double precision."""
    first, second = np.triu_indices(STIMULI, k=1)
    wanted = [(1.0 - np.corrcoef(x))[first, second] for x in doubles(units, times)]
    np.testing.assert_allclose(ours(units, times), wanted, rtol=1e-6)


def rsatoolbox(units: int, times: int) -> npt.NDArray[np.float64]:
    return np.stack(
        [calc_rdm(Dataset(x), method="correlation").dissimilarities[0] for x in doubles(units, times)]
    )


def scipy(units: int, times: int) -> npt.NDArray[np.float64]:
    return np.stack([pdist(x, "correlation") for x in doubles(units, times)])


def case(units: int, times: int, peer: str, bar: float, repeats: int) -> Case:
    theirs = {"rsatoolbox": rsatoolbox, "scipy pdist": scipy}[peer]

    def checked() -> npt.NDArray[np.float64]:
        require_agreement(units, times)  # in the first run, which is not measured
        return ours(units, times)

    name = f"rdm correlation {STIMULI} x {units}" + (f" x {times} times" if times > 1 else "")
    return Case(name, checked, lambda: theirs(units, times), bar, peer, repeats)


def cases() -> list[Case]:
    return [
        case(272, 10, "rsatoolbox", bar=20, repeats=7),
        case(272, 10, "scipy pdist", bar=8, repeats=7),
        case(5000, 1, "rsatoolbox", bar=80, repeats=3),
    ]
