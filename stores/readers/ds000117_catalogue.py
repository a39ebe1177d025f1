"""The recordings of ds000117, by tables and names: what reading or cleaning them needs; none is opened.

Wakeman and Henson (2015), in BIDS. See `stores.readers.ds000117` for the traps.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import pandas as pd

from stores.errors import InputError
from stores.readers.bids import inherited, read_json
from stores.readers.events import absent
from stores.readers.tables import integers, numbers, read_table

DATASET: Final = "ds000117"
DERIVATIVES: Final = Path("derivatives", "meg_derivatives")
DELAY: Final = 0.0345
"""Seconds from the trigger until the picture was on the screen."""
PRESENTATIONS: Final = ("initial", "immediate", "delayed")
TRIGGERS: Final[Mapping[int, tuple[str, str]]] = {
    first + n: (category, presentation)
    for category, first in (("Famous", 5), ("Unfamiliar", 13), ("Scrambled", 17))
    for n, presentation in enumerate(PRESENTATIONS)
}
"""What a trigger says: category, and which presentation of its picture."""
NO_ELECTRODES: Final = {"EEG061": "eog", "EEG062": "eog", "EEG063": "ecg", "EEG064": "misc"}
Kind = Literal["raw", "sss"]
_RUN: Final = re.compile(
    r"(?P<sub>sub-\d+)_ses-meg_task-facerecognition_run-(?P<run>\d+)(?P<sss>_proc-sss)?_meg\.fif"
)
_PICTURE: Final = re.compile(r"(?P<id>meg/(?P<letter>[fus])\d{3})\.bmp")
_VERSIONS: Final = (("onset_sample", "trigger"), ("sample", "value"))
_TYPES: Final = {
    "MEGMAG": "mag",
    "MEGGRADPLANAR": "grad",
    **dict.fromkeys(("EOG", "HEOG", "VEOG"), "eog"),
    **{kind: kind.lower() for kind in ("EEG", "ECG", "EMG", "MISC")},
    "TRIG": "stim",
}
EXAMPLE: Final = "sub-01_ses-meg_task-facerecognition_run-01_meg.fif"


@dataclass(frozen=True, eq=False)
class Recording:
    """One run as measured, or after MaxFilter, and what is known of it.

    events : one row per picture, in order of time: onset (seconds from the file's start, without the delay),
    sample, trigger, stimulus (`meg/f013`), category, presentation, stim_file, file (of the picture, or "").
    dropped : rows of the table that are no pictures.    bads : by the table of channels, beside the file's own.
    types : channel -> type of MNE, where the file says another.    parameters : of MaxFilter.
    Files that are not there are None; `sss` is this run after MaxFilter, which holds head positions.
    """

    path: Path
    subject: str
    run: str
    kind: Kind
    table: Path
    events: pd.DataFrame = field(repr=False)
    dropped: int
    bads: tuple[str, ...]
    types: Mapping[str, str] = field(repr=False)
    channels: Path | None
    sss: Path | None
    cross_talk: Path | None
    calibration: Path | None
    empty_room: Path | None
    headshape: Path | None
    parameters: Mapping[str, Any]
    delay: float = DELAY


def catalogue(path: Path) -> tuple[Recording, ...]:
    """Every MEG run under the dataset's folder, by subject, kind and run; no recording is opened. InputError."""
    root = Path(path).expanduser()
    if not root.is_dir():
        raise InputError(
            f"{root} is no folder; wanted that of {DATASET}, with sub-01 and others, as {EXAMPLE}"
        )
    files = [
        *root.glob("sub-*/ses-meg/meg/*_meg.fif"),
        *(root / DERIVATIVES).glob("sub-*/ses-meg/meg/*_meg.fif"),
    ]
    runs = [(match, one) for one in files if (match := _RUN.fullmatch(one.name))]
    if not runs:
        raise InputError(f"{root} holds no recordings sub-01/ses-meg/meg/{EXAMPLE}, nor in {DERIVATIVES}")
    found = [_recording(root, one, match) for match, one in runs]
    return tuple(sorted(found, key=lambda one: (one.subject, one.kind, one.run)))


def _recording(root: Path, path: Path, match: re.Match[str]) -> Recording:
    subject, run = match["sub"], match["run"]
    folder = root / subject / "ses-meg" / "meg"
    # The MaxFiltered run has the events of the one that was measured.
    measured = folder / path.name.replace("_proc-sss", "")
    table = folder / measured.name.replace("_meg.fif", "_events.tsv")
    events, dropped = _events(root, table)
    channels = inherited(measured, root, "channels.tsv")
    types, bads = _channels(channels)
    side = inherited(measured, root, "meg.json")
    linked = str(read_json(side).get("AssociatedEmptyRoom") or "") if side else ""
    own = path.with_suffix(".json")
    after = (
        root
        / DERIVATIVES
        / subject
        / "ses-meg"
        / "meg"
        / measured.name.replace("_meg.fif", "_proc-sss_meg.fif")
    )
    return Recording(
        path,
        subject,
        run,
        "sss" if match["sss"] else "raw",
        table,
        events,
        dropped,
        bads,
        types,
        channels,
        sss=_there(after),
        cross_talk=_there(root / DERIVATIVES / "ct_sparse.fif"),
        calibration=_there(root / DERIVATIVES / "sss_cal.dat"),
        empty_room=_there(root / linked.lstrip("/")) if linked else None,
        headshape=next(iter(sorted(folder.glob(f"{subject}_*headshape.pos"))), None),
        parameters=read_json(own) if match["sss"] and own.exists() else {},
    )


def _events(root: Path, path: Path) -> tuple[pd.DataFrame, int]:
    """The pictures of one run, and how many events are none. Raises InputError."""
    if not path.exists():
        raise InputError(f"{path} does not exist; wanted the table of events of this run")
    table = read_table(path, ["onset", "stim_file"], "\t")
    sample, trigger = next((names for names in _VERSIONS if set(names) <= set(table.columns)), _VERSIONS[0])
    table = read_table(path, [sample, trigger], "\t")
    triggers = integers(path, table, trigger)
    pictures = np.array([one in TRIGGERS for one in triggers.tolist()])
    named = np.array([not absent(one) for one in table["stim_file"]])
    if odd := np.flatnonzero(pictures != named).tolist():
        raise InputError(
            f"{path}: row {odd[0] + 1} has the trigger {triggers[odd[0]]} and stim_file "
            f"{table['stim_file'].iloc[odd[0]]!r}; "
            f"wanted a picture for each of {sorted(TRIGGERS)}, and for no other"
        )
    kept = table[pictures].reset_index(drop=True)
    if kept.empty:
        raise InputError(f"{path} has no row with a picture")
    categories, presentations = zip(*(TRIGGERS[one] for one in triggers[pictures].tolist()), strict=True)
    found = pd.DataFrame(
        {
            "onset": numbers(path, kept, "onset"),
            "sample": integers(path, kept, sample),
            "trigger": triggers[pictures],
            "stimulus": [
                _picture(path, n, one, category)
                for n, one, category in zip(
                    np.flatnonzero(pictures).tolist(), kept["stim_file"], categories, strict=True
                )
            ],
            "category": categories,
            "presentation": presentations,
            "stim_file": kept["stim_file"],
        }
    )
    found["file"] = [_file(root, path, one) for one in kept["stim_file"]]
    if (found["sample"] < 0).any() or found["sample"].duplicated().any():
        raise InputError(f"{path}: {sample} has numbers below 0, or twice the same")
    return found.sort_values("sample", kind="stable", ignore_index=True), int((~pictures).sum())


def _picture(path: Path, row: int, name: str, category: str) -> str:
    match = _PICTURE.fullmatch(name)
    if not match or match["letter"] != category[0].lower():
        raise InputError(
            f"{path}: stim_file is {name!r} in row {row + 1}; wanted one of {category}, such as "
            f"meg/{category[0].lower()}001.bmp. Is it a table of MEG, with its rows as they were?"
        )
    return match["id"]


def _file(root: Path, table: Path, name: str) -> str:
    """Where a picture lies in the dataset, "" where none of the pictures are there. Raises InputError."""
    if not (root / "stimuli" / "meg").is_dir():
        return ""
    found = root / "stimuli" / name
    if not (found.is_file() or found.is_symlink()):  # a link whose content was not fetched names it, too
        raise InputError(f"{table}: stim_file {name!r} is not in {root / 'stimuli'}")
    return f"stimuli/{name}"


def _channels(path: Path | None) -> tuple[dict[str, str], tuple[str, ...]]:
    """Types by channel, and bad channels. Raises InputError."""
    if path is None:
        return dict(NO_ELECTRODES), ()
    table = read_table(path, ["name", "type"], "\t")
    types = {
        name: _TYPES.get(kind.upper(), "misc")
        for name, kind in zip(table["name"], table["type"], strict=True)
    }
    status = table["status"] if "status" in table else [""] * len(table)
    bads = tuple(
        name for name, one in zip(table["name"], status, strict=True) if one.strip().lower() == "bad"
    )
    return types | NO_ELECTRODES, bads


def _there(path: Path) -> Path | None:
    return path if path.is_file() else None
