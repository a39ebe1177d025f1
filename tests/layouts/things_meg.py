"""THINGS-MEG epochs as published, small: sensor c at time t of trial n is 16384 n + 512 c + t.

Planted: a chain of FIF parts whose names a glob finds too, test images in every session, catch trials with NaN
numbers and the code 999999, folders that differ by kind of trial, units that say tesla.
"""

from pathlib import Path

import mne
import numpy as np
import pandas as pd

from stores.readers.things_stems import image_numbers
from tests.layouts.matlab73 import Writer
from tests.layouts.things_stimuli import CONCEPTS, stems

SENSORS, TIMES, SESSIONS, CATCH = 12, 281, 3, 20
CHANNELS = [f"M{'LRZ'[n % 3]}{'CFOPT'[n % 5]}{n + 11:02d}-1609" for n in range(SENSORS)]
COLUMNS = (
    *("trial_type", "image_nr", "category_nr", "exemplar_nr", "test_image_nr", "things_category_nr"),
    *("things_image_nr", "things_exemplar_nr", "image_path", "onset", "image_on", "image_off"),
    *("responded", "key_id", "key_time", "RT", "session_nr", "run_nr"),
)
NAMES = stems()
NUMBERS = image_numbers(NAMES, "paper")
TRAIN = [one for one in NAMES if int(one[-3:-1]) <= 12]
TEST = [f"{concept}_13s" for concept in CONCEPTS]


def trials():
    """(trial_type, stem, session) as recorded: shuffled inside sessions."""
    found = []
    rng = np.random.default_rng(11)
    for session in range(1, SESSIONS + 1):
        part = [("exp", one, session) for one in TRAIN[session - 1 :: SESSIONS]]
        part += [("test", one, session) for one in TEST]
        part += [("catch", "", session)] * CATCH
        found += [part[n] for n in rng.permutation(len(part))]
    return found


def value(trial, sensor, time):
    return 16384.0 * trial + 512 * sensor + time


def values():
    return value(*np.ogrid[: len(trials()), :SENSORS, :TIMES])


def table():
    folder = {
        "exp": "images_meg/{}/{}.jpg",
        "test": "images_test_meg/{1}.jpg",
        "catch": "images_catch_meg/c.jpg",
    }
    rows = []
    for n, (kind, stem, session) in enumerate(trials()):
        catch = kind == "catch"
        row = dict.fromkeys(COLUMNS, np.nan) | {
            "trial_type": kind,
            "session_nr": session,
            "run_nr": n % 10 + 1,
        }
        row["image_path"] = folder[kind].format(stem.rsplit("_", 1)[0], stem)
        row["things_image_nr"] = np.nan if catch else float(NUMBERS[stem])
        rows.append(row | {"responded": float(catch), "onset": n * 1.5})
    return pd.DataFrame(rows, columns=COLUMNS)


def write(folder: Path, split_size="2MB", change=lambda t: t, codes=lambda c: c) -> Path:
    """preprocessed_P1-epo.fif and its parts."""
    metadata = table()
    code = metadata["things_image_nr"].fillna(999999).astype(int).to_numpy()
    events = np.stack([np.arange(len(code)) * 300 + 7, np.zeros(len(code), int), codes(code)], axis=1)
    info = mne.create_info(CHANNELS, 200.0, "mag", verbose="error")
    for n, one in enumerate(info["chs"]):
        one["loc"][:3] = n / 100, n / 200, n / 400
    epochs = mne.EpochsArray(values(), info, events, tmin=-0.1, metadata=change(metadata), verbose="error")
    file = folder / "preprocessed_P1-epo.fif"
    epochs.save(file, fmt="single", split_size=split_size, overwrite=True, verbose="error")
    return folder


def write_cosmo(folder: Path, change=lambda t: t) -> Path:
    """P1_cosmofile.mat, with ds.samples of trials x (sensors, times), sensors fastest."""
    rows = change(table())
    with Writer(folder / "P1_cosmofile.mat") as mat:
        ds = mat.file.create_group("ds")
        mat.array(ds, "samples", values().transpose(0, 2, 1).reshape(len(trials()), -1))
        for name in rows.columns:
            here = ds.require_group("sa")
            if name in ("trial_type", "image_path"):
                mat.cell(here, name, list(rows[name]), column=False)
            else:
                mat.array(here, name, rows[name].to_numpy(float)[:, None])
        time, sensor = np.indices((TIMES, SENSORS)).reshape(2, -1) + 1.0
        mat.array(ds.require_group("fa"), "chan", sensor[None])
        mat.array(ds["fa"], "time", time[None])
        fdim = ds.create_group("a").create_group("fdim")
        mat.cell(fdim, "labels", ["chan", "time"], column=False)
        mat.cell(fdim, "values", [list(CHANNELS), np.arange(TIMES) / 200 - 0.1], column=False)
    return folder
