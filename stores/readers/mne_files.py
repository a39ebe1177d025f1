"""Epochs that MNE saved: one cube per type of channel.

A stimulus is told by the table of trials (metadata), in the first of `STIMULUS_COLUMNS` that it has, or else by
the name of the event; which one is told as ``attrs["stimulus_from"]``. Its repeats go by the time of their
events, whatever their order in the file. Values are as stored: no projector is applied that was not, and no
baseline is taken. Each cube reads the file for itself.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import xarray as xr

from stores.dims import REPEAT, STIMULUS, TIME, UNIT
from stores.errors import InputError
from stores.readers.cubes import cube_of
from stores.readers.events import event_coords, stimulus_ids
from stores.readers.fif import FifTrials, chain, epochs_of, whole
from stores.readers.lazy import from_blocks
from stores.readers.reader import Reader
from stores.readers.sensors import sensors
from stores.readers.trials import TrialReader, blocks, presented

EPOCHS: Final = ("*-epo.fif", "*_epo.fif", "*-epo.fif.gz", "*_epo.fif.gz")
STIMULUS_COLUMNS: Final = (
    *("stimulus", "stimulus_id", "stim_file", "stim_id", "image", "image_file", "image_path", "file_path"),
)
DATASET: Final = "mne"


def read_epochs(path: Path, *, stimulus: str | None = None) -> Mapping[str, xr.DataArray]:
    """`<file>/mag`, `<file>/grad`, `<file>/eeg` of each chain here or below; `epochs` says more. InputError."""
    files = [one for one in files_like(path, EPOCHS) if "_split-" not in one.name or "_split-01_" in one.name]
    return {
        f"{name}/{kind}": cube for name, one in named(files) for kind, cube in epochs(one, stimulus).items()
    }


def epochs(head: Path, stimulus: str | None = None) -> dict[str, xr.DataArray]:
    """One chain as cubes (stimulus, channel, time, repeat) by type of channel.

    stimulus : the column of the table of trials that tells the stimulus; "event" for the name of the event.
    Every column is `trial_<column>` or `event_<column>`; `trial` and `trial_sample` tell place and time in the
    recording. Epochs without a stimulus, and channels of other types, are counted in ``attrs["dropped"]``.
    Raises InputError.
    """
    parts = chain(head)
    for part in parts:
        whole(part)
    found = epochs_of(head, parts)
    table = found.metadata if found.metadata is not None else pd.DataFrame(index=range(len(found)))
    table = table.reset_index(drop=True)
    events = found.events
    if len(table) != len(events):
        raise InputError(f"{head}: its table of trials has {len(table)} rows for {len(events)} epochs")
    ids, source = _stimuli(head, found, table, stimulus)
    order = np.argsort(events[:, 0], kind="stable")
    rows = [n for n in order.tolist() if ids[n]]
    if not rows:
        raise InputError(f"{head}: none of its {len(ids)} epochs has a stimulus, in the {source}")
    shown = presented([ids[n] for n in rows], rows)
    names = {code: name for name, code in found.event_id.items()}
    table = table.assign(
        sample=events[:, 0], event=[names.get(one, str(one)) for one in events[:, 2].tolist()]
    )
    coords = {**event_coords(shown, table), "trial": ((STIMULUS, REPEAT), shown.trials)}
    kinds, left = sensors(head, found.info)
    attrs = {
        "baseline": [float(one) for one in found.baseline] if found.baseline else "none",
        "rejected": dict(Counter(", ".join(why) for why in found.drop_log if why and why != ("IGNORED",))),
        "stimulus_from": source,
    }
    cubes = {}
    for one in kinds:
        shape = (len(shown.stimuli), len(one.names), len(found.times), shown.trials.shape[1])
        cubes[one.kind] = cube_of(
            from_blocks(
                TrialReader(FifTrials(head, parts, one.picks), shown.trials),
                blocks(shape, np.float32, whole=[UNIT, TIME], slow=STIMULUS),
                np.float32,
            ),
            one.spec,
            stimuli=shown.stimuli,
            units=one.names,
            time=found.times,
            sources=parts,
            coords={**coords, **one.coords},
            attrs={**one.attrs, "dataset": DATASET, **attrs},
            dropped={"epochs without a stimulus": len(ids) - len(rows), **left},
        )
    return cubes


def files_like(path: Path, patterns: tuple[str, ...]) -> list[Path]:
    """The file itself, or all in this folder or below whose names are like one of these. Raises InputError."""
    path = Path(path).expanduser()
    if not path.exists():
        raise InputError(f"{path} does not exist; wanted a file {patterns[0]}, or a folder that holds some")
    every = [path] if path.is_file() else sorted(one for one in path.rglob("*") if one.is_file())
    found = [one for one in every if any(fnmatch(one.name, like) for like in patterns)]
    # macOS leaves a companion ._x beside a file x on foreign disks.
    found = [one for one in found if not one.name.startswith("._")]
    if not found:
        raise InputError(f"{path} is, or holds, no file {' or '.join(patterns)}")
    return found


def named(files: Iterable[Path]) -> list[tuple[str, Path]]:
    """Files by their name without its ending; with their folders' names, as far as it takes to be unique."""
    listed = list(files)
    for depth in range(1, 20):
        names = ["/".join([*one.resolve().parts[-depth:-1], _short(one)]) for one in listed]
        if len(set(names)) == len(names):
            break
    return list(zip(names, listed, strict=True))


def _short(path: Path) -> str:
    stem = path.name.split(".fif")[0].replace("_split-01", "")
    return stem[:-4] if stem[-4:-3] in "-_" else stem


def _stimuli(head: Path, found: Any, table: pd.DataFrame, column: str | None) -> tuple[list[str], str]:
    """The stimulus of each epoch, "" for none, and where that is told."""
    if column is None:
        column = next((one for one in STIMULUS_COLUMNS if one in table), "event")
    if column != "event":
        if column not in table:
            raise InputError(
                f"{head}: its table of trials has no column {column!r}; it has {list(table)[:20]}"
            )
        where = f"column {column!r} of its table of trials"
        return stimulus_ids(head, where, table[column]), where
    names = {code: name for name, code in found.event_id.items()}
    codes = found.events[:, 2].tolist()
    if len(names) < len(found.event_id) or set(codes) - set(names):
        raise InputError(f"{head}: its names of events do not tell the codes apart: {found.event_id}")
    return [names[one] for one in codes], "names of its events"


READER: Final = Reader(
    "mne-epochs",
    "Epochs of MEG or EEG that MNE saved, split or not; the stimulus by table of trials or name of event.",
    EPOCHS[:1],
    read_epochs,
)
