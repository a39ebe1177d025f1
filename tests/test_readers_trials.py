"""Blocks of recordings made of trials, whichever way the source lies."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stores.errors import InputError
from stores.readers.trials import ByUnit, TrialReader, together

VALUES = np.random.default_rng(0).standard_normal((40, 6, 3)).astype(np.float32)


@dataclass(frozen=True)
class Ascending:
    """A recording (trial, unit, time) that wants trials in the order of the file, and gives a few at a time."""

    step: int = 7

    def __call__(self, trials, units, times):
        assert (np.diff(trials) > 0).all()
        for start in range(0, len(trials), self.step):
            some = trials[start : start + self.step]
            yield slice(start, start + len(some)), slice(None), slice(None), VALUES[some][:, units, times]


@dataclass(frozen=True)
class Striped(ByUnit):
    """The same, unit by unit."""

    step: int | None = None

    def __call__(self, trials, units, times):
        for n, unit in enumerate(range(units.start, units.stop)):
            for start in range(0, len(trials), self.step or len(trials)):
                some = slice(start, start + self.step if self.step else None)
                yield some, slice(n, n + 1), slice(None), VALUES[trials[some], unit : unit + 1, times]


@dataclass(frozen=True)
class Forgetful(Striped):
    def __call__(self, trials, units, times):
        yield from list(super().__call__(trials, units, times))[1:]


def wanted(table, where):
    part = table[where[0], where[3]]
    values = VALUES[part][..., where[1], where[2]]  # (stimulus, repeat, unit, time)
    values[part < 0] = np.nan
    return np.moveaxis(values, 1, 3)


@st.composite
def tables(draw, trials):
    """Slots (stimulus, repeat) of trials, with gaps."""
    table = np.full((draw(st.integers(1, 6)), draw(st.integers(1, 3))), -1)
    gaps = draw(st.integers(0, table.size))
    places = draw(st.permutations(range(table.size)))[gaps:]
    table.flat[places] = [draw(st.sampled_from(trials)) for _ in places]
    return table


def spans(size):
    """Runs of one at least."""
    return st.integers(0, size - 1).flatmap(
        lambda start: st.integers(start + 1, size).map(lambda stop: slice(start, stop))
    )


@pytest.mark.parametrize("pieces", [Ascending(), Ascending(1), Striped(), Striped(2)])
@given(data=st.data())
def test_together__puts_every_trial_in_its_slot(pieces, data):
    trials = data.draw(st.permutations(range(len(VALUES))))
    half = [trials[:20], trials[10:]]  # some trials belong to both cubes
    found = {name: data.draw(tables(some)) for name, some in zip("ab", half, strict=True)}
    units, times = data.draw(spans(6)), data.draw(spans(3))
    where = {
        name: (data.draw(spans(len(one))), units, times, data.draw(spans(one.shape[1])))
        for name, one in found.items()
    }
    readers = {name: TrialReader(pieces, table) for name, table in found.items()}
    blocks = together(readers, where)
    for name, table in found.items():
        np.testing.assert_array_equal(blocks[name], wanted(table, where[name]))
        np.testing.assert_array_equal(readers[name](where[name]), wanted(table, where[name]))


def test_trial_reader__refuses_a_source_that_gives_too_little():
    reader = TrialReader(Forgetful(), np.arange(8).reshape(4, 2))
    with pytest.raises(InputError, match="gave 120 values of 144"):
        reader((slice(0, 4), slice(0, 6), slice(0, 3), slice(0, 2)))
