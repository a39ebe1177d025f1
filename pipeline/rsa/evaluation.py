"""Which candidate explains the measured geometry: every candidate's RDM against several subjects', with
ceilings."""

from collections.abc import Mapping, Sequence
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from pipeline import blocks
from pipeline.kernels.comparison import Method
from pipeline.rsa.ceiling import BOUND, noise_ceiling
from pipeline.rsa.comparing import compare
from pipeline.rsa.pairing import on_pairs_of, require_pairs
from stores.dims import CANDIDATE, PAIR, SUBJECT, TIME
from stores.errors import SchemaError
from stores.specs import RDM_STACK, RSA
from stores.validate import validate


def evaluate(
    candidates: Mapping[str, xr.DataArray],
    reference: xr.DataArray,
    *,
    method: Method = "corr",
    task_bytes: int = blocks.TASK_BYTES,
) -> xr.DataArray:
    """Scores of candidate RDMs against measured ones: lazy (candidate, time), spec `rsa`.

    candidates : RDMs by name, "<network>/<layer>"; their own attributes `network` and `layer` come first. A
    single time, as networks have, stands for every time of the reference.
    reference : the measured RDMs, (subject, time, pair), spec `rdm_stack`.

    values : score with the mean over subjects of the measured RDMs.
    subject_score, sem : mean over subjects of the score with each one's RDM, and its standard error (ddof 1;
    NaN for one subject). ceiling_lower, ceiling_upper : `noise_ceiling` of the reference, which bounds these
    (NaN for one subject, too).
    """
    if not isinstance(candidates, Mapping):
        raise SchemaError(
            f"the candidates are a {type(candidates).__name__}; wanted RDMs by name, such as "
            "{'alexnet/conv1': rdm(cube)}"
        )
    if not candidates:
        raise ValueError("there is no candidate to evaluate; give at least one RDM by name")
    require_pairs(reference, "the reference")
    validate(reference, RDM_STACK)
    if reference.chunks is None:  # lazy from here on, so that it is prepared once for all candidates
        reference = reference.copy(deep=False, data=blocks.blocks(reference, {}))
    options: dict[str, Any] = {"method": method, "task_bytes": task_bytes}
    mean = _contiguous(reference).mean(SUBJECT, skipna=False)
    ready = {name: _candidate(name, rdm, reference) for name, rdm in candidates.items()}
    score = _stacked([compare(rdm, mean, **options) for rdm in ready.values()])
    each = _contiguous(_stacked([compare(rdm, reference, **options) for rdm in ready.values()]))
    ceiling = noise_ceiling(reference, **options)
    subjects = reference.sizes[SUBJECT]
    sem = xr.full_like(score, np.nan)
    if subjects > 1:
        sem = each.std(SUBJECT, ddof=1, skipna=False) / np.sqrt(subjects)
    labels = np.array([_labels(name, rdm) for name, rdm in candidates.items()], dtype=object)
    result = xr.DataArray(
        score.data,
        dims=(CANDIDATE, TIME),
        coords={
            CANDIDATE: np.array(list(candidates), dtype=object),
            TIME: reference.coords[TIME],
            "network": (CANDIDATE, labels[:, 0]),
            "layer": (CANDIDATE, labels[:, 1]),
            "subject_score": ((CANDIDATE, TIME), each.mean(SUBJECT, skipna=False).data),
            "sem": ((CANDIDATE, TIME), sem.data),
            "ceiling_lower": (TIME, ceiling.sel({BOUND: "lower"}).data),
            "ceiling_upper": (TIME, ceiling.sel({BOUND: "upper"}).data),
        },
        attrs=_attrs(candidates, reference, method),
        name=f"rsa-{method}",
    )
    return validate(result, RSA)


def _contiguous(array: xr.DataArray) -> xr.DataArray:
    """The same, each block in C order: NumPy adds a strided view, which a block is until it has been sent to
    another worker, in another order than a contiguous one, and the last bit of a mean would tell where it ran.
    """
    return array.copy(data=array.data.map_blocks(np.ascontiguousarray, dtype=array.dtype))


def _candidate(name: str, rdm: xr.DataArray, reference: xr.DataArray) -> xr.DataArray:
    """The RDM of one candidate at the times and on the pairs of the reference."""
    require_pairs(rdm, f"candidate {name!r}")
    if rdm.dims not in ((TIME, PAIR), (PAIR,)):
        raise SchemaError(f"candidate {name!r} has dims {rdm.dims}; wanted {(TIME, PAIR)}")
    if rdm.sizes.get(TIME, 1) == 1:
        rdm = rdm.isel({TIME: 0}, drop=True) if TIME in rdm.dims else rdm
    elif not rdm.indexes[TIME].equals(reference.indexes[TIME]):
        raise ValueError(
            f"candidate {name!r} has {rdm.sizes[TIME]} times, which are not the {reference.sizes[TIME]} of the "
            "reference; give it those, or a single one"
        )
    return on_pairs_of(rdm, reference, named=(f"candidate {name!r}", "the reference"))


def _stacked(scores: Sequence[xr.DataArray]) -> xr.DataArray:
    """Scores of all candidates, (candidate, time[, subject]); each has the times of the reference."""
    dims = [dim for dim in (TIME, SUBJECT) if dim in scores[0].dims]
    data = da.stack([one.transpose(*dims).data for one in scores])  # type: ignore[no-untyped-call]
    return xr.DataArray(data, dims=[CANDIDATE, *dims])


def _labels(name: str, rdm: xr.DataArray) -> tuple[str, str]:
    """Network and layer of a candidate: what its RDM says, else the two parts of its name."""
    network, _, layer = name.partition("/")
    return str(rdm.attrs.get("network") or network), str(rdm.attrs.get("layer") or layer or network)


def _attrs(candidates: Mapping[str, xr.DataArray], reference: xr.DataArray, method: str) -> dict[str, Any]:
    metrics = sorted({str(rdm.attrs.get("metric", "unknown")) for rdm in candidates.values()})
    return {
        "modality": RSA.name,
        "method": method,
        "metric": ", ".join(metrics),
        "reference": str(reference.name or reference.attrs.get("dataset") or "measured RDMs"),
        "reference_metric": str(reference.attrs["metric"]),
        "subjects": reference.sizes[SUBJECT],
        "quantity": "similarity",
        "units": "a.u.",
    }
