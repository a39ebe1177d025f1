"""Results as tidy tables: one row per number, one column per label."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
import pandas as pd
import xarray as xr

from stores.dims import CANDIDATE, PAIR, STIMULUS_A, STIMULUS_B, TIME
from stores.specs import CEILING, RDM, RDM_CANDIDATES, RDM_STACK, RESULTS, RSA, SPECS

RSA_COLUMNS: Final = ("subject_score", "sem", "ceiling_lower", "ceiling_upper")


def table(result: xr.DataArray) -> pd.DataFrame:
    """`result` as a tidy table, computed where it is lazy; with a `time` column (s) where there are several.

    rsa : network, layer, score, subject_score, sem, ceiling_lower, ceiling_upper; layers in network order
    rdm : stimulus_a, stimulus_b, dissimilarity; a stack has `subject` first, candidates `candidate`
    others : one column per dim, then the value, called by the array's name or `value`.
    Raises ValueError where the array is a cube, not a result.
    """
    modality = result.attrs.get("modality")
    if modality not in RESULTS:
        raise ValueError(f"a table is made of results ({', '.join(RESULTS)}); this is a cube of {modality!r}")
    return _TABLES.get(str(modality), _any)(in_order(result).compute())


def in_order(result: xr.DataArray) -> xr.DataArray:
    """`result` and its coordinates with dims in the order of its spec, where it has one."""
    spec = SPECS.get(str(result.attrs.get("modality")))
    return result.transpose(*spec.dims, ..., missing_dims="ignore") if spec else result


def _rsa(result: xr.DataArray) -> pd.DataFrame:
    times = result.sizes[TIME]
    shape = (result.sizes[CANDIDATE], times)
    columns = {
        "network": np.repeat(result["network"].values, times),
        "layer": np.repeat(result["layer"].values, times),
        TIME: np.tile(result[TIME].values, shape[0]),
        "score": result.values.ravel(),
    }
    for name in RSA_COLUMNS:
        columns[name] = np.broadcast_to(result[name].values, shape).ravel()
    return _without_single_time(pd.DataFrame(columns), times)


def _rdm(result: xr.DataArray) -> pd.DataFrame:
    outer = [dim for dim in result.dims if dim != PAIR]
    index = pd.MultiIndex.from_product([result[dim].values for dim in outer], names=outer)
    repeats, pairs = len(index), result.sizes[PAIR]
    columns = {name: np.repeat(index.get_level_values(name), pairs) for name in outer}
    for name in (STIMULUS_A, STIMULUS_B):
        columns[name] = np.tile(result[name].values, repeats)
    columns["dissimilarity"] = result.values.ravel()
    return _without_single_time(pd.DataFrame(columns), result.sizes[TIME])


def _ceiling(result: xr.DataArray) -> pd.DataFrame:
    values = result.transpose(TIME, "bound").values
    columns = {TIME: result[TIME].values} | dict(zip(map(str, result["bound"].values), values.T, strict=True))
    return _without_single_time(pd.DataFrame(columns), result.sizes[TIME])


def _any(result: xr.DataArray) -> pd.DataFrame:
    extra = [name for name in result.coords if name not in result.dims]
    frame = result.drop_vars(extra).to_series().rename(str(result.name or "value")).reset_index()
    return _without_single_time(frame, result.sizes.get(TIME, 0))


def _without_single_time(frame: pd.DataFrame, times: int) -> pd.DataFrame:
    return frame.drop(columns=TIME) if times == 1 else frame


_TABLES: Final[Mapping[str, Callable[[xr.DataArray], pd.DataFrame]]] = MappingProxyType(
    {
        RSA.name: _rsa,
        RDM.name: _rdm,
        RDM_STACK.name: _rdm,
        RDM_CANDIDATES.name: _rdm,
        CEILING.name: _ceiling,
    }
)
