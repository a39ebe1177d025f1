"""From sensors to sources: a matrix product, then what is not linear, then regions; NumPy in, NumPy out.

    s = K x                          signed, per source and orientation
    s = envelope(s)                  of a band, along time, where asked for
    s = (sum over orientations of s^2)^1/2    `norm`; for a single orientation the absolute value
    y = M s                          morphing, means over regions; or the largest |s| of each region

The order is that of the lines: an envelope of magnitudes would be that of a rectified signal.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

Pool = Literal["signed", "norm"]
POOLS: Final = get_args(Pool)
Join = Literal["sum", "max"]
Envelope = Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]
"""Real values (..., time) to real values of the same shape."""
Doubles = npt.NDArray[np.float64]

SCRATCH: Final = 16 * 2**20
"""Bytes of signed sources held at once, where a single trial is not more."""
COPIES: Final = 3
COPIES_OF_AN_ENVELOPE: Final = 8
"""Arrays of the size of the signed sources that are there beside each other; a filtered analytic signal is
complex, padded, and made from another."""


@dataclass(frozen=True)
class Step:
    """A sparse matrix (unit, unit before) over units; with "max" each unit is the largest of |its own|."""

    matrix: csr_array
    join: Join = "sum"


def needed(steps: Sequence[Step], rows: npt.NDArray[np.intp]) -> tuple[list[Step], npt.NDArray[np.intp]]:
    """The steps cut to what the last one's `rows` are made of, and the units before the first that they use."""
    cut = []
    for step in reversed(steps):
        some = step.matrix[rows]
        rows = np.unique(some.indices)
        cut.append(Step(some[:, rows].tocsr(), step.join))
    return cut[::-1], rows


def estimate(
    sensors: Sequence[npt.NDArray[Any]],
    weights: npt.NDArray[Any],
    steps: Sequence[Step] = (),
    *,
    pool: Pool = "norm",
    envelope: Envelope | None = None,
) -> npt.NDArray[Any]:
    """Sources of trials: (stimulus, channel, time, repeat) to (stimulus, unit, time, repeat), in float64 inside.

    sensors : one or more kinds of them.  weights : (unit, orientation, channel) of all these channels.
    pool : "signed" keeps every orientation as a unit of its own, next to each other.
    A trial with a NaN in a channel is NaN at that time; with an envelope, at all times.
    Returns the floating type that holds those of `sensors`.
    """
    stimuli, _, times, repeats = sensors[0].shape
    if pool == "signed" and envelope is None and all(step.join == "sum" for step in steps):
        weights, steps = folded(weights, steps), ()
    units, orientations, channels = weights.shape
    matrix = np.ascontiguousarray(weights, dtype=np.float64).reshape(-1, channels)
    whole = times if envelope else 1
    trials = _by_channel(sensors).reshape(channels, -1, whole)
    kept = orientations if pool == "signed" else 1
    out = np.empty((steps[-1].matrix.shape[0] if steps else units, kept, *trials.shape[1:]))
    step = _columns(_widest(weights, steps, kept) + channels, whole)
    for start in range(0, trials.shape[1], step):
        some = trials[:, start : start + step].reshape(channels, -1)
        with np.errstate(invalid="ignore", over="ignore"):  # an infinity; the result says so
            signed = (matrix @ some).reshape(units, orientations, -1, whole)
            signed = envelope(signed) if envelope else signed
            pooled = signed if pool == "signed" else np.linalg.norm(signed, axis=1, keepdims=True)
            out[:, :, start : start + step] = _joined(pooled, steps)
    made = out.reshape(-1, stimuli, repeats, times).transpose(1, 0, 3, 2)
    return made.astype(np.result_type(np.float32, *sensors), order="C")


def folded(weights: npt.NDArray[Any], steps: Sequence[Step]) -> npt.NDArray[Any]:
    """Weights of the regions themselves, where all is linear: (M K) x = M (K x)."""
    for step in steps:
        weights = (step.matrix @ weights.reshape(len(weights), -1)).reshape(-1, *weights.shape[1:])
    return weights


def estimate_bytes(
    sizes: Sequence[int],
    itemsize: int,
    weights: tuple[int, int],
    steps: Sequence[Step],
    *,
    pool: Pool,
    whole: bool,
) -> int:
    """Peak bytes of `estimate`: the trials, as they are and in double, weights twice, signed sources, the result.

    sizes : of all sensors together.  weights : units and orientations.  whole : with an envelope.
    """
    stimuli, channels, times, repeats = sizes
    units, orientations = weights
    kept = orientations if pool == "signed" else 1
    out = (steps[-1].matrix.shape[0] if steps else units) * kept
    columns, length = stimuli * times * repeats, times if whole else 1
    wide = _widest(np.empty((units, orientations, 0)), steps, kept) + channels
    held = min(columns, _columns(wide, length) * length)
    signed = 8 * wide * held * (COPIES_OF_AN_ENVELOPE if whole else COPIES)
    return columns * (channels + out) * (itemsize + 8) + 2 * 8 * units * orientations * channels + signed


def _by_channel(sensors: Sequence[npt.NDArray[Any]]) -> Doubles:
    """(channel of every kind, stimulus, repeat, time) in double."""
    count = [0, *np.cumsum([one.shape[1] for one in sensors])]
    stimuli, _, times, repeats = sensors[0].shape
    found = np.empty((count[-1], stimuli, repeats, times))
    for one, start in zip(sensors, count, strict=False):
        found[start : start + one.shape[1]] = one.transpose(1, 0, 3, 2)
    return found


def _widest(weights: npt.NDArray[Any], steps: Sequence[Step], kept: int) -> int:
    """Values of one column at the step that has most of them."""
    made = [kept * (step.matrix.shape[0] if step.join == "sum" else step.matrix.nnz) for step in steps]
    return int(max(weights.shape[0] * weights.shape[1], *made, 0))


def _columns(rows: int, whole: int) -> int:
    return max(1, SCRATCH // max(1, 8 * rows * whole))


def _joined(values: Doubles, steps: Sequence[Step]) -> Doubles:
    """`values` (unit, ...) taken through all steps."""
    for step in steps:
        shape, flat = values.shape[1:], values.reshape(len(values), -1)
        made = step.matrix @ flat if step.join == "sum" else _largest(step.matrix, flat)
        values = made.reshape(-1, *shape)
    return values


def _largest(members: csr_array, flat: Doubles) -> Doubles:
    """The largest |value| over the members of each row; a row without members has no reduceat, and is refused."""
    if (np.diff(members.indptr) == 0).any():
        raise ValueError("a region without units has no largest one")
    return np.asarray(np.maximum.reduceat(np.abs(flat[members.indices]), members.indptr[:-1], axis=0))
