"""Which trials or conditions the volumes of images of betas are, by names and tables of events in BIDS."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pandas as pd

from stores.errors import InputError
from stores.readers.bids import entities, matching
from stores.readers.events import stimulus_ids
from stores.readers.tables import read_table, require
from stores.readers.volumes import SUFFIXES, Volume, opened

KINDS: Final = ("betas", "beta", "betaseries")
LABELS: Final = ("condition", "contrast", "desc")
RUN: Final = ("ses", "run")
"""What tells apart the repeats of a stimulus."""
OURS: Final = ("stimulus", "image", "volume", "row", "occasion")
"""Columns of `trials` that are no facts of a trial."""


@dataclass(frozen=True)
class Image:
    """One file of betas: its header, the entities of its name, and its table of events, if it has one."""

    volume: Volume
    names: Mapping[str, str]
    table: Path | None

    @property
    def label(self) -> str:
        """The condition, or the kind of betas."""
        return next((self.names[key] for key in LABELS if key in self.names), "")

    @property
    def single(self) -> bool:
        """Whether it is of one trial or condition, rather than of several rows of its table."""
        return len(self.volume.shape) == 3

    @property
    def occasion(self) -> tuple[tuple[int, str], ...]:
        """Sorts by session and run: 2 before 10, and both before words."""
        found = [self.names.get(key, "") for key in RUN]
        return tuple((int(one), "") if one.isdecimal() else (10**9, one) for one in found)


def image(path: Path, tables: Iterable[Path]) -> Image | None:
    """A file as an image of betas, None if its name is not that of one. Raises InputError."""
    names = entities(path.name)
    kind = names.get("suffix")
    effect = kind == "statmap" and names.get("stat") == "effect"
    if not path.name.endswith(SUFFIXES) or "sub" not in names or not (effect or kind in KINDS):
        return None
    found = matching(tables, names)
    if len(found) > 1 and entities(found[0].name) == entities(found[1].name):
        raise InputError(f"{path} has two tables of events: {found[0]} and {found[1]}. Keep one of them")
    return Image(opened(path, checked=False), names, found[0] if found else None)


def common(one: Image) -> tuple[tuple[str, str], ...]:
    """What images of one cube have in common: all entities but session, run and what is a condition or trial."""
    names = {key: value for key, value in one.names.items() if key not in (*RUN, "trial", "suffix", "stat")}
    if one.single or (one.table and len(_of_type(_events(one.table), one.label))):
        names = {key: value for key, value in names.items() if value != one.label or key not in LABELS}
    return tuple(names.items())


def trials(images: list[Image], stimulus: str | None) -> pd.DataFrame:
    """One row per volume of all images, by session, run and row of the table; `stimulus` is "" for none.

    stimulus : the column of the tables that tells it. Beside `OURS`, ses and run, it has the tables' columns.
    Raises InputError.
    """
    occasions = sorted({one.occasion for one in images})
    found = []
    for n, one in enumerate(images):
        rows = _condition(one) if one.single and "trial" not in one.names else _rows(one, stimulus)
        runs = {key: one.names[key] for key in RUN if key in one.names}
        place = occasions.index(one.occasion)
        found.append(rows.assign(image=n, volume=range(len(rows)), occasion=place, **runs))
    return pd.concat(found).sort_values(["occasion", "row"], kind="stable", ignore_index=True)


def _condition(one: Image) -> pd.DataFrame:
    if not one.label:
        raise InputError(
            f"{one.volume.path} is one volume; wanted a name that tells its trial or condition, such as "
            "sub-01_task-x_condition-face_beta.nii.gz or sub-01_task-x_trial-1_beta.nii.gz"
        )
    return pd.DataFrame({"stimulus": [one.label], "row": [0]})


def _rows(one: Image, stimulus: str | None) -> pd.DataFrame:
    """The rows of its table that an image's volumes are. Raises InputError."""
    path = one.volume.path
    if one.table is None:
        raise InputError(f"{path} has no table *_events.tsv with its sub, ses, task and run; wanted one")
    table = _events(one.table)
    column = stimulus or next((name for name in ("stim_file", "trial_type") if name in table), "trial_type")
    require(one.table, list(table.columns), [column])
    table = table.assign(stimulus=stimulus_ids(one.table, column, table[column]), row=range(len(table)))
    own = _of_type(table, one.label)
    if one.single:
        number = one.names["trial"]
        if not number.isdecimal() or not 1 <= int(number) <= len(table):
            raise InputError(f"{path} is of trial {number}; {one.table} has {len(table)} rows")
        return table.iloc[int(number) - 1 : int(number)].drop(columns=column)
    rows = own if len(own) else table
    if len(rows) != one.volume.shape[3]:
        of = f" of {one.label!r}" if len(own) else ""
        raise InputError(
            f"{path} has {one.volume.shape[3]} volumes; {one.table} has {len(rows)} rows{of}: wanted as many"
        )
    return rows.drop(columns=column)


def _events(path: Path) -> pd.DataFrame:
    table = read_table(path, ["onset"], "\t")
    taken = {*OURS, *RUN} & set(table.columns)
    return table.rename(columns={name: f"table_{name}" for name in taken})


def _of_type(table: pd.DataFrame, label: str) -> pd.DataFrame:
    """Rows whose trial_type is this label; labels of BIDS are letters and digits alone."""
    if "trial_type" not in table or not label:
        return table.iloc[:0]
    plain = ["".join(c for c in cell if c.isalnum()).lower() for cell in table["trial_type"]]
    return table[[one == label.lower() for one in plain]]
