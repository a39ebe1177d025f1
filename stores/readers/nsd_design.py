"""Which image each trial of NSD showed, from any of the three files that tell it, and what is known of images.

* `nsd_expdesign.mat`: `masterordering` (from 1) picks from the subject's row of `subjectim`, nsdIds from 1.
* `nsd_stim_info_merged.csv`: `subject3_rep0` is the trial, from 1, of an image's first showing, 0 for none;
  nsdIds from 0. COCO's id and split, the crop, and the flags of each image go with it.
* `responses.tsv`: one row per trial, `73KID` from 1, and what the subject answered.

Where there are several they must agree. Here nsdIds count from 0, as in `nsd_stimuli.hdf5`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import xarray as xr

from stores.dims import STIMULUS
from stores.errors import InputError
from stores.readers.cubes import Labels, cube_of, texts
from stores.readers.files import load_mat
from stores.readers.tables import number_table, require
from stores.readers.trials import Indices, Presented
from stores.specs import BEHAVIOUR

DESIGN: Final = "nsd_expdesign.mat"
INFO: Final = "nsd_stim_info_merged.csv"
RESPONSES: Final = "responses.tsv"
FACTS: Final[Mapping[str, str]] = {
    "cocoId": "coco_id",
    "cocoSplit": "coco_split",
    "cropBox": "crop_box",
    "loss": "crop_loss",
    "flagged": "flagged",
    "BOLD5000": "bold5000",
    "shared1000": "shared1000",
}
KEYS: Final = ("SUBJECT", "SESSION", "RUN", "TRIAL", "73KID", "10KID")
"""Columns of the responses that name a trial; the others are answers."""


@dataclass(frozen=True)
class Design:
    """nsdId of each trial, the shared images, tables where there are any, and the files they come from."""

    shown: Indices
    shared: Indices | None
    info: pd.DataFrame | None = None
    answers: pd.DataFrame | None = None
    sources: tuple[Path, ...] = field(default=())


def read_design(
    subject: int, sessions: int, trials: int, design: Path | None, info: Path | None, responses: Path | None
) -> Design:
    """The design of `sessions` of `trials` each, from the files that are there. Raises InputError."""
    count, told = sessions * trials, dict[Path, Indices]()
    shared, table, answers = None, None, None
    if design:
        told[design], shared = _from_design(design, subject, count)
    if info:
        table = _info(info)
        told[info] = _from_info(info, table, subject, count)
        shown_shared = table.index[table["shared1000"].astype(bool)].to_numpy(np.int64)
        if shared is not None and not np.isin(shared, shown_shared).all():
            raise InputError(f"{info}: shared1000 marks other images than sharedix of {design}")
        shared = shown_shared
    if responses:
        answers = _responses(responses, subject, sessions, trials)
        told[responses] = answers["73KID"].to_numpy(np.int64) - 1
    (first, shown), *rest = told.items()
    for other, there in rest:
        if odd := np.flatnonzero(there != shown).tolist():
            raise InputError(
                f"{other}: trial {odd[0] + 1} of subject {subject} shows the image {there[odd[0]]} (from 0), in "
                f"{first.name} {shown[odd[0]]}; {len(odd)} of {count} trials differ. Are both of this subject?"
            )
    return Design(shown, shared, table, answers, tuple(told))


def image_coords(design: Design, nsd_ids: Indices) -> Labels:
    """What is known of the images, as coordinates along stimuli: `split` is "test" for those all people saw."""
    found: dict[str, Any] = {"nsd_id": (STIMULUS, nsd_ids)}
    if design.shared is not None:
        shared = np.isin(nsd_ids, design.shared)
        found["shared1000"] = (STIMULUS, shared)
        found["split"] = (STIMULUS, texts(np.where(shared, "test", "train")))
    if design.info is not None:
        rows = design.info.loc[nsd_ids]
        for column, name in FACTS.items():
            if column in rows:
                found[name] = (STIMULUS, rows[column].to_numpy())
    return found


def answers_cube(design: Design, shown: Presented, attrs: Mapping[str, Any]) -> xr.DataArray:
    """Each answer (stimulus, measure, 0 s, repeat): ISOLD, ISCORRECT, RT in ms, ...; NaN where there was none."""
    answers = design.answers
    if answers is None:
        raise ValueError("the design has no answers")
    names = [name for name in answers.columns if name not in KEYS]
    values = answers[names].to_numpy(np.float64)
    found = np.where(shown.trials[..., None] < 0, np.nan, values[shown.trials.clip(0)])
    return cube_of(
        found.transpose(0, 2, 1)[:, :, None, :],
        BEHAVIOUR,
        stimuli=shown.stimuli,
        units=names,
        sources=design.sources[-1:],
        attrs=attrs,
    )


def _from_design(path: Path, subject: int, count: int) -> tuple[Indices, Indices]:
    names = ("masterordering", "subjectim", "sharedix")
    found = load_mat(path, names)
    order, images, shared = (np.asarray(found[name]) for name in names)
    for name, one in zip(names, (order, images, shared), strict=True):
        if one.dtype.kind not in "fiu" or not np.isfinite(one).all() or (one < 1).any():
            raise InputError(f"{path}: {name} is {one.dtype} {one.shape}, not all numbers from 1")
    order, images = np.ravel(order), np.atleast_2d(images)
    if not 1 <= subject <= len(images) or len(order) < count or order[:count].max() > images.shape[1]:
        raise InputError(
            f"{path}: masterordering has {len(order)} trials, subjectim {images.shape}; wanted {count} trials "
            f"of subject {subject}"
        )
    picked = images[subject - 1].astype(np.int64)[order[:count].astype(np.int64) - 1] - 1
    return picked, np.ravel(shared).astype(np.int64) - 1


def _info(path: Path) -> pd.DataFrame:
    """The table by nsdId."""
    table = number_table(path, ["nsdId", "cocoId", "shared1000"])
    for column in table.columns:
        kind = "b" if column in ("shared1000", "flagged", "BOLD5000") else "iu"
        if column in ("cocoSplit", "cropBox", "loss"):
            continue
        if column and table[column].dtype.kind not in kind + ("iu" if kind == "b" else ""):
            raise InputError(
                f"{path}: {column!r} holds something other than whole numbers, or True and False"
            )
    if table["nsdId"].duplicated().any() or (table["nsdId"] < 0).any():
        raise InputError(f"{path}: nsdId is negative, or there twice")
    return table.set_index("nsdId")


def _from_info(path: Path, table: pd.DataFrame, subject: int, count: int) -> Indices:
    columns = [f"subject{subject}_rep{n}" for n in range(3)]
    require(path, list(table.columns), columns)
    shown = np.full(count, -1, np.int64)
    for column in columns:
        trials = table[column].to_numpy(np.int64)
        here = (trials > 0) & (trials <= count)
        shown[trials[here] - 1] = table.index.to_numpy(np.int64)[here]
    if absent := int((shown < 0).sum()):
        raise InputError(f"{path}: {absent} of {count} trials of subject {subject} show no image")
    return shown


def _responses(path: Path, subject: int, sessions: int, trials: int) -> pd.DataFrame:
    """The rows of the first `sessions`, in order."""
    table = number_table(path, KEYS, "\t")
    for column in table.columns:
        kind = table[column].dtype.kind
        if kind not in ("iu" if column in KEYS else "iufb") or np.isinf(table[column].astype(float)).any():
            raise InputError(f"{path}: {column!r} holds something other than numbers")
    if (table["SUBJECT"] != subject).any():
        raise InputError(
            f"{path} is of subject {table['SUBJECT'].iloc[0]}; the betas are of subject {subject}"
        )
    table = table[table["SESSION"] <= sessions]
    counts = table["SESSION"].value_counts().to_dict()
    if counts != dict.fromkeys(range(1, sessions + 1), trials):
        raise InputError(f"{path} has {counts} trials by session; wanted {trials} in each of 1 to {sessions}")
    return table.sort_values(["SESSION", "RUN", "TRIAL"], kind="stable", ignore_index=True)
