"""How well any model could do: the noise ceiling of several subjects' RDMs (Nili et al. 2014, as in
rsatoolbox).

upper : mean over subjects of the score of a subject with all subjects pooled, itself among them.
lower : the same with the *other* subjects pooled.
Both are NaN for a single subject: nobody is left to pool, and likeness to oneself bounds nothing.

Pooling is what the comparator would like best: RDMs over their root mean square for `cosine`, z-scored for
`corr`, ranked for the rank comparators, then averaged. (rsatoolbox also shifts the `corr` pool, which no
correlation sees.) A constant RDM has no shape to add and counts as zeros.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pipeline.kernels.comparison import PREPARED, RANKING, Method, Vectors, compare, missing_pairs, ranks

TOGETHER: Final = ("cosine", "corr")
"""Methods that pool prepared vectors; all others pool ranks."""


def noise_ceiling(rdms: npt.NDArray[Any], *, method: Method) -> npt.NDArray[np.float64]:
    """Lower and upper bound, (..., 2), from `rdms` (..., subject, pair).

    Raises ValueError where subjects do not lack the same pairs, or have infinite ones.
    """
    if rdms.ndim > 2:
        bounds = [noise_ceiling(stack, method=method) for stack in rdms]
        return np.stack(bounds) if bounds else np.empty((*rdms.shape[:-2], 2))
    missing = missing_pairs(rdms)
    if len(rdms) == 1:
        return np.full(2, np.nan)
    shaped = _shaped(rdms, missing, method)
    total = shaped.sum(axis=0)
    upper = [_score(total, one, method) for one in rdms]
    lower = [_score(total - own, one, method) for own, one in zip(shaped, rdms, strict=True)]
    return np.array([np.mean(lower), np.mean(upper)])


def noise_ceiling_bytes(subjects: int, pairs: int, itemsize: int = 8, *, method: Method) -> int:
    """Peak bytes of `noise_ceiling`: the RDMs, their pooled form, a copy unless ranked, and one comparison."""
    together, one = (8, 6 * 8) if method in TOGETHER else (0, 5 * 8 + RANKING)
    return (subjects * (itemsize + 8 + together) + one) * pairs


def _score(pool: npt.NDArray[np.float64], one: npt.NDArray[Any], method: Method) -> float:
    return float(compare(pool[None], one[None], method=method)[0, 0])


def _shaped(rdms: npt.NDArray[Any], missing: npt.NDArray[np.bool_], method: Method) -> Vectors:
    """What is averaged into the pool, NaN where `missing`; only its direction matters, so a unit norm does for
    a unit variance."""
    there = ~missing
    # Not row by row: NumPy would add the pairs in another order, and last bits would move.
    together = PREPARED[method](rdms[:, there]) if method in TOGETHER and there.any() else None
    shaped = np.full(rdms.shape, np.nan)
    if together is not None:
        shaped[:, there] = together
    else:
        for own, one in zip(shaped, rdms, strict=True):
            own[there] = ranks(one[None, there])[0]
    return shaped
