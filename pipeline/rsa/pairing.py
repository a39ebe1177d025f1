"""Bringing two sets of RDMs onto the same pairs of stimuli, by name, whatever their order."""

from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from stores.dims import PAIR, STIMULUS_A, STIMULUS_B
from stores.errors import SchemaError

EXAMPLES: Final = 3


def require_pairs(rdms: xr.DataArray, which: str) -> None:
    """Raise SchemaError unless `rdms` lies on named pairs."""
    wanted = f"wanted a dim {PAIR!r} with coordinates {STIMULUS_A!r} and {STIMULUS_B!r} on it, as `rdm` makes"
    if not isinstance(rdms, xr.DataArray):
        raise SchemaError(f"{which} is a {type(rdms).__name__}; wanted an xarray.DataArray, as `rdm` makes")
    if PAIR not in rdms.dims:
        raise SchemaError(f"{which} has dims {rdms.dims}; {wanted}")
    for name in (STIMULUS_A, STIMULUS_B):
        if name not in rdms.coords or rdms.coords[name].dims != (PAIR,):
            raise SchemaError(f"{which} has no coordinate {name!r} on {PAIR!r}; {wanted}")


def on_pairs_of(other: xr.DataArray, rdms: xr.DataArray, *, named: tuple[str, str]) -> xr.DataArray:
    """`other` with its pairs in the order of those of `rdms`; a pair has no first and second here.

    Raises ValueError, with counts and examples, where the two do not hold exactly the same pairs.
    """
    ours, theirs = _sides(rdms), _sides(other)
    if all(np.array_equal(x, y) for x, y in zip(ours, theirs, strict=True)):
        return other
    keys = pd.Index(pd.unique(np.concatenate([*ours, *theirs])))
    where, there = (_numbers(keys, sides) for sides in (ours, theirs))
    for name, numbers in zip(named, (where, there), strict=True):
        if numbers.has_duplicates:
            raise ValueError(f"{name} holds {int(numbers.duplicated().sum()):,} pairs of stimuli twice")
    place = there.get_indexer(where)
    if len(where) != len(there) or (place < 0).any():
        raise ValueError(_difference(keys, where, there, named))
    return other.isel({PAIR: place})


def _sides(rdms: xr.DataArray) -> tuple[npt.NDArray[np.object_], npt.NDArray[np.object_]]:
    return rdms.coords[STIMULUS_A].values.astype(object), rdms.coords[STIMULUS_B].values.astype(object)


def _numbers(keys: pd.Index, sides: tuple[npt.NDArray[np.object_], npt.NDArray[np.object_]]) -> pd.Index:
    """One number per unordered pair."""
    a, b = (keys.get_indexer(side) for side in sides)
    return pd.Index(np.minimum(a, b) * len(keys) + np.maximum(a, b))


def _difference(keys: pd.Index, ours: pd.Index, theirs: pd.Index, named: tuple[str, str]) -> str:
    found = []
    stimuli = [pd.Index(np.concatenate(np.divmod(x.to_numpy(), len(keys)))) for x in (ours, theirs)]
    for name, own, other in ((named[0], *stimuli), (named[1], *stimuli[::-1])):
        if len(alone := own.unique().difference(other)):
            examples = ", ".join(repr(keys[i]) for i in alone[:EXAMPLES])
            found.append(f"{len(alone)} stimuli only in {name}, such as {examples}")
    for name, own, other in ((named[0], ours, theirs), (named[1], theirs, ours)):
        if not found and len(pairs := own.difference(other)):
            a, b = divmod(int(pairs[0]), len(keys))
            found.append(f"{len(pairs):,} pairs only in {name}, such as ({keys[a]!r}, {keys[b]!r})")
    return (
        f"{named[0]} and {named[1]} hold different pairs of stimuli ({len(ours):,} and {len(theirs):,}, "
        f"{len(ours.intersection(theirs)):,} in common): "
        + "; ".join(found)
        + ". Join the cubes by stimulus id first (`stores.align`), then make their RDMs."
    )
