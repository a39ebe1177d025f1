"""What MNE saves, small: a value is (400 trial + 32 channel + time) of its unit, counted in order of time.

Planted: epochs that are not in order of time, ragged repeats, an epoch without a stimulus, types of channels that
are interleaved and differ in units, a bad channel, a projector that is not applied, another system's companion of
a file; averages with a standard error; hemispheres with the same numbers of vertices.
"""

from pathlib import Path

import mne
import numpy as np
import pandas as pd

KINDS = ["grad", "grad", "mag", "grad", "grad", "mag", "eeg", "eog", "eeg", "stim", "eeg"]
NAMES = [f"{kind.upper()}{n:03d}" for n, kind in enumerate(KINDS)]
SCALE = {"grad": 1e-12, "mag": 1e-13, "eeg": 1e-6, "eog": 1e-6, "stim": 1.0}
BAD = "GRAD003"
TIMES, RATE, START = 21, 100.0, -0.1
# Stimuli in order of time; "n/a" is a trial of nothing. `ORDER` is their order in the file.
SHOWN = [
    *(r"faces\f001.bmp", "faces/f002.bmp", r"faces\f001.bmp", "n/a"),
    *("things/f001.bmp", "faces/f002.bmp", r"faces\f001.bmp"),
]
ORDER = [4, 0, 6, 2, 1, 5, 3]
STIMULI = {"faces/f001": [0, 2, 6], "faces/f002": [1, 5], "things/f001": [4]}
CONDITIONS = ["face", "house"]
VERTICES = [np.array([0, 4, 7]), np.array([4, 5, 7, 12])]
ESTIMATES = ["sub-01_f001", "sub-01_f002", "sub-01_s001"]


def numbers(trial, kind):
    """Whole numbers, (channel of this kind, time), that a trial's values are in units of SCALE."""
    channels = np.array([n for n, one in enumerate(KINDS) if one == kind])
    return 400 * trial + 32 * channels[:, None] + np.arange(TIMES)


def info():
    made = mne.create_info(NAMES, RATE, KINDS, verbose="error")
    for n, one in enumerate(made["chs"]):
        one["loc"][:3] = n / 100, n / 200, -n / 400
    made["bads"] = [BAD]
    made["subject_info"] = {"his_id": "P7"}
    return made


def trial_values(trial):
    scales = np.array([SCALE[one] for one in KINDS])
    return (400 * trial + 32 * np.arange(len(KINDS))[:, None] + np.arange(TIMES)) * scales[:, None]


def trial_table():
    rows = np.arange(len(SHOWN))
    return pd.DataFrame(
        {
            "stim_file": SHOWN,
            "rt": np.where(rows == 2, np.nan, rows / 10),
            "run": rows // 4 + 1,
            "colour": ["red" if "1" in one else "blue" for one in SHOWN],
            "key": [f"k{n}" for n in rows],
        }
    )


def epochs(order=ORDER, table=trial_table, data=trial_values, event_id=None, samples=None):
    n = len(order)
    events = np.zeros((n, 3), int)
    events[:, 0] = [100 + 250 * one for one in order] if samples is None else samples
    events[:, 2] = [one % 2 + 1 for one in order]
    made = mne.EpochsArray(
        np.array([data(one) for one in order]),
        info(),
        events,
        tmin=START,
        event_id=event_id or {"even": 1, "odd": 2},
        metadata=None if table is None else table().iloc[list(order)].reset_index(drop=True),
        baseline=None,
        drop_log=((),) * n + (("MAG002", "EEG010"), ("IGNORED",)),
        selection=np.arange(n),
        verbose="error",
    )
    return made.add_proj([projector()], verbose="error")


def projector():
    magnetometers = [one for one in NAMES if one.startswith("MAG")]
    row = {
        "nrow": 1,
        "ncol": 2,
        "row_names": None,
        "col_names": magnetometers,
        "data": np.ones((1, 2)) / 2**0.5,
    }
    return mne.Projection(data=row, kind=1, desc="PCA-v1", active=False)


def write_epochs(folder: Path, name="sub-01_task-x-epo.fif", **kwargs) -> Path:
    epochs(**kwargs).save(folder / name, fmt="single", overwrite=True, verbose="error")
    (folder / f"._{name}").write_bytes(b"\0\5\x16\7" * 100)
    return folder


def averages():
    """Two conditions and the standard error of one: as trials 3, 4 and 9."""
    made = [
        mne.EvokedArray(trial_values(3 + n), info(), START, one, nave=10 + n, baseline=None, verbose="error")
        for n, one in enumerate(CONDITIONS)
    ]
    error = mne.EvokedArray(
        trial_values(9), info(), START, "face", nave=10, kind="standard_error", verbose="error"
    )
    return [one.add_proj([projector()], verbose="error") for one in [*made, error]]


def write_evoked(folder: Path, made=None) -> Path:
    mne.write_evokeds(folder / "sub-01-ave.fif", made or averages(), overwrite=True, verbose="error")
    return folder


def estimate(n):
    """(vertex, time) of one stimulus."""
    return 1000.0 * n + 20 * np.arange(sum(map(len, VERTICES)))[:, None] + np.arange(5)


def write_sources(folder: Path) -> Path:
    for n, name in enumerate(ESTIMATES):
        made = mne.SourceEstimate(estimate(n), VERTICES, tmin=-0.02, tstep=0.01)
        made.save(folder / name, ftype="stc", overwrite=True, verbose="error")
    return folder
