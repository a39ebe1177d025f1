"""What any model could score against several subjects: labels and laziness over `kernels.ceiling`."""

from collections.abc import Hashable
from typing import Any, Final

import numpy as np
import xarray as xr

from pipeline import blocks
from pipeline.errors import PlanError
from pipeline.kernels import ceiling as kernels
from pipeline.kernels.comparison import METHODS, Method
from pipeline.plan import size
from pipeline.rsa.pairing import require_pairs
from pipeline.rsa.words import choose
from stores.dims import PAIR, SUBJECT
from stores.errors import SchemaError

BOUND: Final = "bound"
BOUNDS: Final = ("lower", "upper")


def noise_ceiling(
    rdms: xr.DataArray, *, method: Method = "corr", task_bytes: int = blocks.TASK_BYTES
) -> xr.DataArray:
    """Lower and upper bound on the score any model can reach against `rdms`: lazy (bound[, time]).

    rdms : (subject, [time,] pair), spec `rdm_stack`. upper: each subject against all pooled; lower: each
    against the others pooled; both NaN for a single subject. How they are pooled depends on the method
    (`kernels.ceiling`). Raises ValueError for an unknown method, SchemaError for what is no stack of RDMs,
    PlanError where a task is too big; computing raises ValueError where subjects do not lack the same pairs,
    and where distances are infinite.
    """
    choose("method", method, METHODS)
    require_pairs(rdms, "the stack of RDMs")
    if rdms.sizes.get(SUBJECT, 0) == 0:
        raise SchemaError(f"a noise ceiling needs RDMs along {SUBJECT!r}; these have {dict(rdms.sizes)}")
    others = [dim for dim in rdms.dims if dim not in (SUBJECT, PAIR)]
    dims = [*others, SUBJECT, PAIR]
    peak = kernels.noise_ceiling_bytes(
        rdms.sizes[SUBJECT], rdms.sizes[PAIR], rdms.dtype.itemsize, method=method
    )
    if peak > task_bytes:
        raise PlanError(
            f"a noise ceiling of {rdms.sizes[SUBJECT]} subjects and {rdms.sizes[PAIR]:,} pairs needs "
            f"{size(peak)}, and a task may hold {size(task_bytes)}. Raise `task_bytes`, or take fewer stimuli."
        )
    sizes = {str(dim): 1 for dim in others} | {SUBJECT: -1, PAIR: -1}
    values = blocks.blocks(rdms.transpose(*dims), sizes)
    data = blocks.mapped(
        f"ceiling-{method}",
        blocks.task(kernels.noise_ceiling, method=method),
        [(values, dims)],
        {**dict.fromkeys(others), BOUND: len(BOUNDS)},
        price=blocks.Price(peak, blocks.read_bytes(values)),
    )
    coords: dict[Hashable, Any] = {n: c for n, c in rdms.coords.items() if set(c.dims) <= set(others)}
    coords[BOUND] = (BOUND, np.asarray(BOUNDS, dtype=object))
    attrs = {"modality": "noise_ceiling", "method": method, "quantity": "similarity", "units": "a.u."}
    bounds = xr.DataArray(data, coords=coords, dims=[*others, BOUND], attrs=attrs, name=f"ceiling-{method}")
    return bounds.transpose(BOUND, *others)
