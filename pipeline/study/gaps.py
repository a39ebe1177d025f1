"""RDMs that cannot be compared because stimuli are missing in some: which, and what to do."""

from collections.abc import Mapping
from typing import Final

import xarray as xr

from stores.dims import PAIR, STIMULUS_A, STIMULUS_B

LISTED: Final = 5


def gaps(rdms: Mapping[str, xr.DataArray]) -> str:
    """What each RDM lacks, in words, by the cube that it comes from; empty where all lack the same stimuli."""
    missing = {name: _missing(rdm) for name, rdm in rdms.items()}
    if len(set(map(tuple, missing.values()))) < 2:
        return ""
    lacking = {name: ids for name, ids in missing.items() if ids}
    lines = [f"{name} lacks {len(ids)}: {_shown(ids)}" for name, ids in lacking.items()]
    cube, ids = next(iter(lacking.items()))
    cube = cube.partition(" ")[0]
    return (
        f"stimuli are missing (NaN, or the same value in every unit) in {len(lacking)} of {len(rdms)} RDMs, "
        "which are to be compared on the same stimuli:\n  - "
        + "\n  - ".join([*lines[:LISTED], *([f"and {len(lines) - LISTED} more"] if lines[LISTED:] else [])])
        + f"\nStore each of these cubes once more without them, such as `stores.save(root, {'whole/' + cube!r}, "
        f"stores.open_cube(root, {cube!r}).drop_sel(stimulus=[{ids[0]!r}]), made_from={{'without': "
        f"[{ids[0]!r}]}})`, name these in the step instead, and give the step `join: inner`."
    )


def _missing(rdm: xr.DataArray) -> list[str]:
    """Ids of the stimuli that no pair of an RDM, (time, pair) or (pair,), knows at some time."""
    a, b = (rdm.coords[side].values.astype(object) for side in (STIMULUS_A, STIMULUS_B))
    gone = rdm.isnull().any([dim for dim in rdm.dims if dim != PAIR]).values
    there = {*a[~gone], *b[~gone]}
    return sorted({*a, *b} - there)


def _shown(ids: list[str]) -> str:
    more = f" and {len(ids) - LISTED} more" if len(ids) > LISTED else ""
    return ", ".join(map(repr, ids[:LISTED])) + more
