"""How alike two representational dissimilarity vectors are; NumPy in, NumPy out, rsatoolbox's definitions.

    cosine      a b / (|a| |b|)
    corr        cosine of a and b without their means (Pearson)
    spearman    corr of average ranks
    rho-a       12 r s / (n^3 - n), r and s average ranks without their means: expected under random tie
    breaking tau-a       (concordant - discordant) / (n (n - 1) / 2)

All but tau-a are one matrix product of prepared vectors. A vector without a direction (all zero; constant
where means are removed) scores 0. NaN is a pair without a distance: all vectors must lack the same pairs,
which are left out. rsatoolbox asks that only of the two sets as wholes, which would make a score depend on
its neighbours. Fewer than two pairs compare to nothing: NaN.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from scipy.stats import kendalltau, rankdata

Method = Literal["corr", "spearman", "cosine", "rho-a", "tau-a"]
Vectors = npt.NDArray[np.float64]
"""(vector, pair)"""


def _cosine(a: Vectors) -> Vectors:
    norm = np.sqrt(np.vecdot(a, a))[:, None]
    return np.asarray(np.divide(a, norm, out=np.zeros_like(a), where=norm > 0))


def _corr(a: Vectors) -> Vectors:
    centred = a - a.mean(axis=1, keepdims=True)
    # The rounded mean of a constant vector would leave a direction made of rounding.
    centred[(a == a[:, :1]).all(axis=1)] = 0.0
    return _cosine(centred)


def _spearman(a: Vectors) -> Vectors:
    return _corr(ranks(a))


def _rho_a(a: Vectors) -> Vectors:
    n = a.shape[1]
    return np.asarray((ranks(a) - (n + 1) / 2) * np.sqrt(12 / (float(n) ** 3 - n)))


PREPARED: Final[Mapping[str, Callable[[Vectors], Vectors]]] = MappingProxyType(
    {"corr": _corr, "spearman": _spearman, "cosine": _cosine, "rho-a": _rho_a}
)
"""What makes a comparator one product: vectors whose inner product is the score."""
METHODS: Final = (*PREPARED, "tau-a")


def compare(a: npt.NDArray[Any], b: npt.NDArray[Any], *, method: Method) -> npt.NDArray[np.float64]:
    """Score of every vector of `a` (A, pair) with every one of `b` (B, pair): (A, B).

    Raises ValueError where the vectors do not lack the same pairs.
    """
    a, b = _present(a, b)
    if a.shape[1] < 2:
        return np.full((len(a), len(b)), np.nan)
    if method == "tau-a":
        return np.array([[_tau_a(x, y) for y in b] for x in a])
    prepare = PREPARED[method]
    return np.asarray(prepare(a) @ prepare(b).T)


def compare_bytes(a: int, b: int, pairs: int) -> int:
    """Peak bytes of `compare`: both inputs, and of each a double and two copies while it is prepared."""
    return (a + b) * pairs * 8 * 3 + a * b * 8


def ranks(a: Vectors) -> Vectors:
    """Average ranks, from 1, of each row."""
    return np.asarray(rankdata(a, axis=1), dtype=np.float64)


def _present(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> tuple[Vectors, Vectors]:
    """Both in double precision, without the pairs that are NaN, which must be the same in every vector."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    missing = [np.isnan(x) for x in (a, b)]
    if not (missing[0].any() or missing[1].any()):
        return a, b
    first = missing[0][0]
    for gone in (row for side in missing for row in side):
        if (gone != first).any():
            raise ValueError(
                f"RDMs lack different pairs: {int(first.sum())} of {len(first)} are NaN in one, "
                f"{int(gone.sum())} in another, {int((gone & first).sum())} in both. Leave out the stimuli that "
                "are incomplete or constant in any of them, then compare."
            )
    return a[:, ~first], b[:, ~first]


def _tau_a(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> float:
    """Kendall's tau-a in O(n log n): SciPy's tau-b, freed of its correction for ties."""
    total = len(x) * (len(x) - 1) // 2
    untied = float(total - _ties(x)) * float(total - _ties(y))
    if untied == 0:
        return 0.0
    surplus = kendalltau(x, y, method="asymptotic").statistic * np.sqrt(untied)
    return float(np.rint(surplus)) / total


def _ties(x: npt.NDArray[np.float64]) -> int:
    counts = np.unique(x, return_counts=True)[1].astype(np.int64)
    return int((counts * (counts - 1) // 2).sum())
