"""A hundred malformations of one file of every format: an error that names it, or nothing but what was written.

Where a format has checksums (gzip, zip, compressed MATLAB 5) no changed number may be read at all. The others
(HDF5, NIfTI, .npy, FIF, text) guard structure, not values: a changed byte of a number or of a label is another
number or label, in any reader. There one changed byte may change one number or label, here two, for a label that
goes and one that comes; more would mean that a value was read from a wrong place. What changes a file's length
must be refused, or change nothing. In tables one byte may move a whole trial, so stimuli are counted there.

Two exceptions are told so. Nothing guards a FIF header, of which one byte (a gain, the number of samples before
an event) moves everything: only foreign errors and broken specs are looked for there. The two numbers by which
all values of a NIfTI image are scaled, bytes 112 to 119, are as unguarded.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from stores.dims import REPEAT, STIMULUS, UNIT
from stores.errors import InputError
from stores.readers import READERS
from stores.validate import validate
from tests.layouts import (
    arrays,
    haxby2001,
    it_cshl,
    kay2008,
    mne_files,
    raster,
    spm_betas,
    things_behaviour,
    things_fmri,
)
from tests.malformed import malformations

VALUES = np.random.default_rng(0).standard_normal((3, 4, 20)).astype("f4")
plain = partial(arrays.write, values=VALUES)


@dataclass(frozen=True)
class Family:
    """One file of a format, and the reader that gets it.

    guarded : the format has checksums.  counts : what one changed byte may change: "values", "stimuli", "all".
    scale : bytes of which each may change everything.
    """

    write: Callable[[Path], Path]
    reader: str
    file: str
    counts: str = "values"
    guarded: bool = False
    slow: bool = False
    scale: range = range(0)


FAMILIES = {
    "HDF5": Family(partial(plain, kind="h5"), "arrays", "responses.h5"),
    "HDF5 of pandas": Family(things_fmri.write, "things-fmri", "sub-01_ResponseData.h5", slow=True),
    "MATLAB 7.3": Family(kay2008.write, "kay2008", "EstimatedResponses.mat"),
    "MATLAB 7.3 cells": Family(it_cshl.write, "it_cshl", "x_fixshortvid1_coco_session.mat"),
    "MATLAB 5": Family(spm_betas.write, "spm_betas", "SPM.mat", counts="stimuli"),  # names of images
    "MATLAB 5 compressed": Family(kay2008.write, "kay2008", "Stimuli.mat", guarded=True),
    "raster": Family(raster.write, "raster", "bp1001spk_01A_raster_data.mat", guarded=True),
    "FIF": Family(mne_files.write_epochs, "mne-epochs", "sub-01_task-x-epo.fif", counts="all", slow=True),
    "npy": Family(partial(plain, kind="npy", array=None), "arrays", "responses.npy"),
    "npz": Family(partial(plain, kind="npz"), "arrays", "responses.npz", guarded=True),
    "NIfTI": Family(spm_betas.write, "spm_betas", "beta_0001.nii", scale=range(112, 120)),
    "NIfTI compressed": Family(haxby2001.write, "haxby2001", "bold.nii.gz", guarded=True),
    "CSV": Family(things_behaviour.memorability, "things-memorability", "THINGS_Memorability_Scores.csv"),
    "CSV of numbers": Family(partial(plain, kind="csv", array=None), "arrays", "responses.csv"),
    "CSV of trials": Family(
        things_fmri.write, "things-fmri", "sub-01_StimulusMetadata.csv", counts="stimuli"
    ),
    "TSV": Family(
        things_fmri.write_volumes,
        "things-fmri-volumes",
        "*_ses-things01_run-01_conditions.tsv",
        counts="stimuli",
    ),
    "YAML": Family(partial(plain, kind="npy", array=None), "arrays", "cube.yaml"),
}


def read(family, folder):
    found = READERS[family.reader].read(folder)
    for cube in found.values():
        validate(cube)
    return {name: cube.compute() for name, cube in found.items()}


def changed(found, truth, counts):
    """How many ids came or went, or, of those that stayed, how many numbers and labels (or stimuli) differ."""
    if found.keys() != truth.keys():
        return math.inf
    return max(_changed(found[name], truth[name], counts) for name in truth)


def _changed(found, truth, counts):
    places, ids = {}, 0
    for dim in (STIMULUS, UNIT):
        ours, theirs = (one.indexes.get(dim, pd.Index([])) for one in (found, truth))
        both = theirs[theirs.isin(ours)]
        ids = max(ids, len(ours) + len(theirs) - 2 * len(both))
        places[dim] = [one.get_indexer(both) for one in (ours, theirs)]
    differ = len(set(found.coords) ^ set(truth.coords))
    differ += abs(found.sizes.get(REPEAT, 0) - truth.sizes.get(REPEAT, 0))
    for name in ["", *set(found.coords) & set(truth.coords)]:
        a, b = (one.variable if name == "" else one.coords.variables[name] for one in (found, truth))
        if a.dims != b.dims:
            return math.inf
        here = _differing(*_common(a, b, places), counts)
        differ = max(differ, here) if counts == "stimuli" else differ + here
    attrs = {*found.attrs, *truth.attrs} - {"sources"}
    differ += sum(repr(found.attrs.get(name)) != repr(truth.attrs.get(name)) for name in attrs)
    return max(ids, differ)


def _common(a, b, places):
    """Values of both for the ids, times and repeats that both have."""
    for dim in a.dims:
        here, there = places.get(dim) or [np.arange(min(a.sizes[dim], b.sizes[dim]))] * 2
        a, b = a.isel({dim: here}), b.isel({dim: there})
    return a.values, b.values


def _differing(a, b, counts):
    same = a == b
    if a.dtype.kind == b.dtype.kind == "f":
        same = same | (np.isnan(a) & np.isnan(b))
    odd = ~np.asarray(same, bool)
    return int(
        odd.sum() if counts == "values" or not odd.ndim else odd.any(axis=tuple(range(1, odd.ndim))).sum()
    )


def outcomes(family, folder, count, seed=0):
    """How many malformations were refused, changed nothing, or changed no more than the bytes they touched."""
    family.write(folder)
    (file,) = folder.rglob(family.file)
    whole, truth = file.read_bytes(), read(family, folder)
    found = {"refused": 0, "equal": 0, "touched": 0}
    for done, broken in malformations(whole, count, seed):
        file.write_bytes(broken)
        fault = ""
        try:
            differ = changed(read(family, folder), truth, family.counts)
        except InputError as error:
            fault = str(error)
        if fault:
            assert file.name in fault, f"{done} of {file.name}: {fault}"
            found["refused"] += 1
            continue
        same_length = len(whole) == len(broken)
        touched = sum(a != b for a, b in zip(whole, broken, strict=True)) if same_length else 0
        scaled = any(whole[at] != broken[at] for at in family.scale)
        known = family.counts == "all" or scaled
        assert known or differ <= 2 * touched, f"{done} of {file.name}: {differ} differ"
        found["touched" if differ else "equal"] += 1
    return found


def check(name, folder, count, seed=0):
    family = FAMILIES[name]
    found = outcomes(family, folder, count, seed)
    print(name, found)
    assert sum(found.values()) == count
    assert found["refused"] >= count // 5
    assert not (family.guarded and found["touched"])


@pytest.mark.parametrize("name", FAMILIES)
def test_family__100_malformations_end_in_an_error_or_the_truth(name, tmp_path):
    check(name, tmp_path, 21 if FAMILIES[name].slow else 100)


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_family__hundreds_of_other_malformations(name, tmp_path):
    check(name, tmp_path, 100 if FAMILIES[name].slow else 400, seed=1)


@pytest.mark.parametrize(
    ("change", "differ"),
    [
        (lambda cube: cube, 0),
        (lambda cube: cube.where(cube[UNIT] != "e2", 0), 80),
        (lambda cube: cube.assign_coords(region=(UNIT, ["V1", "IT", "IT"])), 1),
        (lambda cube: cube.assign_coords({UNIT: ["e1", "e2", "e4"]}), 2),
        (lambda cube: cube.isel({STIMULUS: [1, 0, 2, 3]}), 0),
        (
            lambda cube: cube.isel({STIMULUS: [1, 0, 2, 3]}).assign_coords({STIMULUS: cube[STIMULUS].values}),
            122,
        ),
        (lambda cube: cube.assign_attrs(units="uV"), 1),
    ],
)
def test_changed__counts_what_differs(tmp_path, change, differ):
    """The measure itself: a test of malformations that saw nothing would pass for ever."""
    truth = read(FAMILIES["HDF5"], FAMILIES["HDF5"].write(tmp_path))
    found = {name: change(cube) for name, cube in truth.items()}
    assert isinstance(truth["responses"], xr.DataArray)
    assert changed(found, truth, "values") == differ
