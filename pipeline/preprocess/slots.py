"""Which trial of which run is which stimulus and repeat, and the blocks of a cube filled accordingly."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.preprocess.settings import Kind
from stores.errors import InputError

Repeats = Literal["by run", "pooled"]
"""What a repeat is: the n-th showing within a run, so that each run has repeats of its own; or the n-th showing
in all runs, which leaves fewer gaps where few stimuli come back."""
ABSENT: Final = "absent"
Indices = NDArray[np.int64]


class Part(NamedTuple):
    """Trials of one run that go into a block, and the stimulus and repeat of each within it."""

    run: int
    trials: Indices
    rows: Indices
    repeats: Indices


@dataclass(frozen=True)
class Slots:
    """Where every trial goes: `row` and `repeat` per run, one number for each of its trials.

    runs : (run, session) of each.  per_run : repeats that are a run's own, where repeats go by run.
    """

    stimuli: tuple[str, ...]
    rows: tuple[Indices, ...]
    repeats: tuple[Indices, ...]
    runs: tuple[tuple[str, str], ...]
    per_run: tuple[int, ...] | None

    @property
    def count(self) -> int:
        """How many repeats there are."""
        return sum(self.per_run) if self.per_run else 1 + max(int(one.max()) for one in self.repeats)

    def parts(self, rows: slice, repeats: slice) -> list[Part]:
        """The trials of the block (rows, repeats)."""
        found = []
        for n, (row, repeat) in enumerate(zip(self.rows, self.repeats, strict=True)):
            inside = (
                (row >= rows.start) & (row < rows.stop) & (repeat >= repeats.start) & (repeat < repeats.stop)
            )
            (trials,) = np.nonzero(inside)
            if len(trials):
                found.append(Part(n, trials, row[trials] - rows.start, repeat[trials] - repeats.start))
        return found


class RunValues(NamedTuple):
    """What a run gives to the cubes: kind -> (trial, channel, time), and each trial's state."""

    values: Mapping[str, NDArray[np.float32]]
    states: tuple[str, ...]


def slots(stimuli: Sequence[Sequence[str]], runs: Sequence[tuple[str, str]], repeats: Repeats) -> Slots:
    """Places of the trials of several runs, given in order of time. Stimuli go by id, whatever that order is."""
    if repeats not in ("by run", "pooled"):
        raise ValueError(f"repeats is {repeats!r}; choose 'by run' or 'pooled'")
    if again := [one for one, count in Counter(runs).items() if count > 1]:
        raise InputError(f"two recordings are called run {again[0][0]!r} of session {again[0][1]!r}")
    ids = tuple(sorted({one for run in stimuli for one in run}))
    row = {one: n for n, one in enumerate(ids)}
    seen: Counter[str] = Counter()
    rows, places, sizes, start = [], [], [], 0
    for run in stimuli:
        if repeats == "by run":
            seen = Counter()
        at = np.zeros(len(run), np.int64)
        for n, one in enumerate(run):
            at[n] = start + seen[one]
            seen[one] += 1
        rows.append(np.array([row[one] for one in run], np.int64))
        places.append(at)
        if repeats == "by run":
            sizes.append(max(seen.values()))
            start += sizes[-1]
    return Slots(ids, tuple(rows), tuple(places), tuple(runs), tuple(sizes) if repeats == "by run" else None)


def placed(results: Sequence[RunValues], parts: Sequence[Part], kind: Kind, shape: tuple[int, ...]) -> Any:
    """A block (stimulus, unit, time, repeat); NaN where no trial was, or was dropped."""
    found = np.full(shape, np.nan, np.float32)
    for result, part in zip(results, parts, strict=True):
        found[part.rows, :, :, part.repeats] = result.values[kind][part.trials]
    return found


def states(results: Sequence[RunValues], parts: Sequence[Part], shape: tuple[int, ...]) -> Any:
    """The state of every trial, (stimulus, repeat)."""
    found = np.full(shape, ABSENT, object)
    for result, part in zip(results, parts, strict=True):
        found[part.rows, part.repeats] = np.array(result.states, object)[part.trials]
    return found
