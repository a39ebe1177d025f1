"""How well any model could do: the noise ceiling of several subjects' RDMs (Nili et al. 2014, as in
rsatoolbox).

upper : mean over subjects of the score of a subject with all subjects pooled, itself among them.
lower : the same with the *other* subjects pooled.
Both are NaN for a single subject: nobody is left to pool, and likeness to oneself bounds nothing.

Pooling is what the comparator would like best: RDMs over their root mean square for `cosine`, z-scored for
`corr`, ranked for the rank comparators, then averaged. (rsatoolbox also shifts the `corr` pool, which no
correlation sees.) A constant RDM has no shape to add and counts as zeros.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.kernels.comparison import PREPARED, Method, Vectors, compare, ranks


def noise_ceiling(rdms: npt.NDArray[Any], *, method: Method) -> npt.NDArray[np.float64]:
    """Lower and upper bound, (..., 2), from `rdms` (..., subject, pair).

    Raises ValueError where subjects do not lack the same pairs.
    """
    if rdms.ndim > 2:
        bounds = [noise_ceiling(stack, method=method) for stack in rdms]
        return np.stack(bounds) if bounds else np.empty((*rdms.shape[:-2], 2))
    rdms = np.asarray(rdms, dtype=np.float64)
    missing = np.isnan(rdms[0])
    shaped = np.full_like(rdms, np.nan)
    shaped[:, ~missing] = _shaped(rdms[:, ~missing], method)
    total = shaped.sum(axis=0)
    if len(rdms) == 1:
        return np.full(2, np.nan)
    upper = [_score(total, one, method) for one in rdms]
    lower = [_score(total - own, one, method) for own, one in zip(shaped, rdms, strict=True)]
    return np.array([np.mean(lower), np.mean(upper)])


def noise_ceiling_bytes(subjects: int, pairs: int) -> int:
    """Peak bytes of `noise_ceiling`: the RDMs, their pooled form, and a few vectors of work."""
    return (3 * subjects + 8) * pairs * 8


def _score(pool: npt.NDArray[np.float64], one: npt.NDArray[np.float64], method: Method) -> float:
    return float(compare(pool[None], one[None], method=method)[0, 0])


def _shaped(rdms: Vectors, method: Method) -> Vectors:
    """What is averaged into the pool; only its direction matters, so a unit norm does for a unit variance."""
    if method in ("cosine", "corr"):
        return PREPARED[method](rdms) if rdms.size else rdms
    return ranks(rdms)
