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

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import kendalltau, rankdata

Method = Literal["corr", "spearman", "cosine", "rho-a", "tau-a"]
Vectors = npt.NDArray[np.float64]
"""(vector, pair)"""
RANKING: Final = 7 * 8
"""Bytes for each of the values that SciPy is ranking, its result among them; Kendall's tau takes no more."""


def _cosine(a: npt.NDArray[Any]) -> Vectors:
    return _unit(np.array(a, dtype=np.float64))


def _corr(a: npt.NDArray[Any]) -> Vectors:
    return _unit(_centred(np.array(a, dtype=np.float64)))


def _spearman(a: npt.NDArray[Any]) -> Vectors:
    return _unit(_centred(ranks(a)))


def _rho_a(a: npt.NDArray[Any]) -> Vectors:
    n, ranked = a.shape[1], ranks(a)
    ranked -= (n + 1) / 2
    ranked *= np.sqrt(12 / (float(n) ** 3 - n))
    return ranked


def _unit(a: Vectors) -> Vectors:
    """Over their norms, in place."""
    norm = np.sqrt(np.vecdot(a, a))
    np.divide(a, norm[:, None], out=a, where=norm[:, None] > 0)
    a[norm == 0] = 0.0  # of numbers so small that their squares vanish
    return a


def _centred(a: Vectors) -> Vectors:
    """Without their means, in place."""
    constant = (a == a[:, :1]).all(axis=1)
    a -= a.mean(axis=1, keepdims=True)
    # The rounded mean of a constant vector would leave a direction made of rounding.
    a[constant] = 0.0
    return a


PREPARED: Final[Mapping[str, Callable[[npt.NDArray[Any]], Vectors]]] = MappingProxyType(
    {"corr": _corr, "spearman": _spearman, "cosine": _cosine, "rho-a": _rho_a}
)
"""What makes a comparator one product: from vectors to new ones whose inner product is the score."""
RANKED: Final = ("spearman", "rho-a")
METHODS: Final = (*PREPARED, "tau-a")


class Prepared(NamedTuple):
    """Vectors made ready for products; what is missing is 0 there, so that it adds nothing.

    vectors : (group, vector, pair).    missing : (group, pair), the same in every vector of a group.
    shape : sizes of the axes that `group` stands for, then of those that `vector` stands for.
    """

    vectors: npt.NDArray[np.float64]
    missing: npt.NDArray[np.bool_]
    shape: tuple[tuple[int, ...], tuple[int, ...]]


def compare(a: npt.NDArray[Any], b: npt.NDArray[Any], *, method: Method) -> npt.NDArray[np.float64]:
    """Score of every vector of `a` (A, pair) with every one of `b` (B, pair): (A, B).

    Raises ValueError where the vectors do not lack the same pairs, or have infinite ones.
    """
    return score(prepare(a, method=method), prepare(b, method=method), method=method)


def prepare(rdms: npt.NDArray[Any], *, method: Method, shared: int = 0) -> Prepared:
    """What of a comparison concerns one side alone.

    rdms : (..., pair); its first `shared` axes are walked together with the other side's.
    Raises ValueError where the vectors of a group do not lack the same pairs, or have infinite ones.
    """
    shape = rdms.shape[:shared], rdms.shape[shared:-1]
    groups = rdms.reshape(math.prod(shape[0]), math.prod(shape[1]), rdms.shape[-1])
    vectors, missing = np.zeros(groups.shape), np.zeros((len(groups), groups.shape[2]), bool)
    for out, gone, group in zip(vectors, missing, groups, strict=True):
        gone[:] = missing_pairs(group)
        there = group[:, ~gone] if gone.any() else group
        out[:, ~gone] = PREPARED[method](there) if method in PREPARED and there.shape[1] > 1 else there
    return Prepared(vectors, missing, shape)


def score(a: Prepared, b: Prepared, *, method: Method) -> npt.NDArray[np.float64]:
    """Scores of prepared vectors: (shared axes, axes of a, axes of b).

    Raises ValueError where they do not lack the same pairs.
    """
    out = np.full((len(a.vectors), a.vectors.shape[1], b.vectors.shape[1]), np.nan)
    for result, x, y, gone, other in zip(out, a.vectors, b.vectors, a.missing, b.missing, strict=True):
        _refuse_unequal(gone, other)
        if (there := ~gone).sum() < 2:
            continue
        if method == "tau-a":
            result[:] = [[_tau_a(v[there], w[there]) for w in y] for v in x]
        else:
            # Copied: a block that was sent may lie unaligned in memory, where NumPy multiplies without BLAS.
            result[:] = np.array(x, order="C") @ np.array(y, order="C").T
    # No score lies beyond 1, but the rounded product of a direction with itself may, by a few ulp.
    np.clip(out, -1.0, 1.0, out=out)
    return out.reshape(*a.shape[0], *a.shape[1], *b.shape[1])


def prepare_bytes(vectors: int, pairs: int, itemsize: int = 8, *, method: Method) -> int:
    """Peak bytes of `prepare`: its input and what of it is not missing, both made ready and in place; a row at
    work."""
    made = 2 * 8 + 1 if method in PREPARED else 8
    return (vectors * (2 * itemsize + made) + (RANKING if method in RANKED else 9)) * pairs


def score_bytes(a: int, b: int, pairs: int, *, groups: int = 1, method: Method) -> int:
    """Peak bytes of `score`: both inputs, copies of a group of both; tau-a sorts one pair of vectors instead."""
    work = 2 * 8 + RANKING if method == "tau-a" else (a + b) // groups * 8
    return ((a + b) * 8 + work) * pairs + a * b // groups * 8


def ranks(a: npt.NDArray[Any]) -> Vectors:
    """Average ranks, from 1, of each row."""
    out = np.empty(a.shape)
    for row, values in zip(out, a, strict=True):  # one at a time, for SciPy holds several copies
        row[:] = rankdata(values)
    return out


def missing_pairs(group: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Pairs that are NaN in the vectors of `group`, in each of them the same.

    Raises ValueError where they are not, and where a distance is infinite.
    """
    first = np.isnan(group[0])
    for row in group:
        if infinite := int(np.isinf(row).sum()):
            raise ValueError(
                f"{infinite} of {len(row)} distances of an RDM are infinite, which compare to nothing. Values "
                "were too large for their precision: make the RDM of doubles (`cube.astype(float)`), or of "
                "other units of measurement."
            )
        _refuse_unequal(first, np.isnan(row))
    return np.asarray(first)


def _refuse_unequal(one: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]) -> None:
    if (one != other).any():
        raise ValueError(
            f"RDMs lack different pairs: {int(one.sum())} of {len(one)} are NaN in one, {int(other.sum())} in "
            f"another, {int((one & other).sum())} in both. Leave out the stimuli that are incomplete or constant "
            "in any of them, then compare."
        )


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
