"""The peak-to-peak above which a trial is an artefact, from the trials themselves."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]
CANDIDATES: Final = 40
FEWEST: Final = 10


def threshold(trials: npt.NDArray[Any], *, folds: int = 10, seed: int = 0) -> float:
    """The peak-to-peak limit that predicts left-out trials best (Jas et al. 2017, NeuroImage 159, global).

    For each candidate limit q, the mean of the training trials that stay below it is compared with the *median*
    of the left-out trials, which artefacts hardly move: error(q) = mean over folds of |mean_q - median|
    (Frobenius). Candidates are 40 quantiles of the largest peak-to-peak over channels; the largest of the best
    ones is taken. Folds are drawn from `seed`.

    trials : (trial, channel, time). Raises ValueError for fewer than 10 trials.
    """
    if len(trials) < FEWEST:
        raise ValueError(
            f"a limit cannot be learned from {len(trials)} trials; wanted {FEWEST} at least, or a number"
        )
    largest = np.ptp(trials, axis=2).max(axis=1)
    limits = np.unique(np.quantile(largest, np.linspace(0.25, 1.0, CANDIDATES)))
    parts = np.array_split(np.random.default_rng(seed).permutation(len(trials)), folds)
    errors = np.zeros(len(limits))
    for left_out in parts:
        kept = np.setdiff1d(np.arange(len(trials)), left_out)
        errors += _errors(trials[kept], largest[kept], np.median(trials[left_out], axis=0), limits)
    best = np.flatnonzero(errors <= errors.min() * (1 + 1e-12))
    return float(limits[best[-1]])


def _errors(trials: npt.NDArray[Any], largest: Doubles, target: Doubles, limits: Doubles) -> Doubles:
    """|mean of the trials within each limit - target|; inf where there are none."""
    found = np.full(len(limits), np.inf)
    total, used = np.zeros(trials.shape[1:]), np.zeros(len(trials), bool)
    for n, limit in enumerate(limits):  # ascending: each limit only adds trials
        more = (largest <= limit) & ~used
        total += trials[more].sum(axis=0)
        used |= more
        if used.any():
            found[n] = np.linalg.norm(total / used.sum() - target)
    return found
