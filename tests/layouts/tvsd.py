"""TVSD as published, small: the value of electrode e (physical) for image s is 1000 e + s, plus its repeat.

Planted: 0 as "none" in indices counted from 1, a mapping that is no involution, a dead array in monkey N,
image paths with backslashes, structs of cells or struct arrays, ALLMAT with 6 or 7 columns, recording order
that is shuffled and repeats that are ragged.
"""

from pathlib import Path

import numpy as np
import scipy.io

from tests.layouts.matlab73 import Writer
from tests.layouts.things_stimuli import stems

ELECTRODES, TRAIN, TEST, REPS, DAYS, TIMES = 1024, 24, 5, 4, 2, 12
DEAD = slice(320, 384)
TB = np.arange(TIMES) * 10.0 - 100
ALL = [stem for stem in stems(count=5) if not stem.startswith("zebra")]
TRAIN_STEMS = ALL[: 2 * TRAIN : 2][::-1]
TEST_STEMS = [f"zebra_{n:02d}s" for n in (9, 3, 5, 7, 4)]
MAPPING = np.random.default_rng(7).permutation(ELECTRODES) + 1
"""Recorded channel of each physical electrode, from 1."""


def norm_value(electrode, stimulus, repeat=0):
    return 1000.0 * electrode + stimulus + repeat / 8


def trial_value(electrode, stimulus, time, repeat=0):
    return 1000.0 * electrode + 10 * stimulus + repeat + time / 64


def path_of(stem):
    return f"{stem.rsplit('_', 1)[0]}\\{stem}.jpg"


def images(path: Path, cells=True):
    with Writer(path) as mat:
        for name, listed in (("train_imgs", TRAIN_STEMS), ("test_imgs", TEST_STEMS)):
            fields = {
                "class": [one.rsplit("_", 1)[0] for one in listed],
                "local_path": [f"C:\\pics\\{path_of(one)}" for one in listed],
                "things_path": [path_of(one) for one in listed],
            }
            for field, texts in fields.items():
                mat.cell(mat.file.require_group(name), field, texts, column=cells, marked=cells)
    return path


def norm(path: Path, dead=None):
    e = np.arange(ELECTRODES)[:, None]
    train = norm_value(e, np.arange(TRAIN)[None])
    reps = norm_value(e[:, :, None], np.arange(TEST)[None, :, None], np.arange(REPS)[None, None])
    reliab = np.repeat(e / ELECTRODES, 6, axis=1)
    reliab[:, 0] = np.nan  # so that a mean without care for NaN shows
    for array in (train, reps, reliab):
        if dead is not None:
            array[dead] = np.nan
    with Writer(path) as mat:
        mat.array(mat.file, "train_MUA", train)
        mat.array(mat.file, "test_MUA", reps.mean(axis=2))
        mat.array(mat.file, "test_MUA_reps", reps)
        mat.array(mat.file, "SNR", e + np.arange(DAYS)[None] / 10)
        mat.array(mat.file, "lats", e + 50 + np.arange(DAYS)[None] / 10)
        mat.array(mat.file, "SNR_max", e.T + 0.5)
        mat.array(mat.file, "oracle", e.T / 2000)
        mat.array(mat.file, "reliab", reliab)
        mat.array(mat.file, "tb", np.arange(-100.0, 200)[None])
    return path


def order():
    """(train index or -1, test index or -1, repeat) of each trial, as recorded: shuffled, and ragged."""
    shown = [(s, -1, 0) for s in range(TRAIN)] + [
        (-1, s, r) for s in range(TEST) for r in range(REPS) if (s, r) != (2, 3)
    ]
    mixed = [shown[i] for i in np.random.default_rng(3).permutation(len(shown))]
    seen = dict.fromkeys(range(TEST), -1)
    return [(a, b, seen.__setitem__(b, seen[b] + 1) or seen[b] if b >= 0 else 0) for a, b, _ in mixed]


def table(columns=6):
    """ALLMAT, n_trials x columns; with 7 columns the last trial but one was answered wrongly."""
    rows = []
    for n, (train, test, _) in enumerate(order()):
        correct = [] if columns == 6 else [float(n != len(order()) - 2)]
        rows.append([n + 1, train + 1, test + 1, 99, n % 4 + 1, *correct, n // 22 + 1])
    return np.array(rows, float)


def trials(path: Path, columns=6, **options):
    shown = order()
    stimulus = np.array([train if train >= 0 else 100 + test for train, test, _ in shown])
    repeat = np.array([one[2] for one in shown])
    physical = np.argsort(MAPPING)  # the electrode that each recorded channel is
    values = trial_value(
        physical[:, None, None], stimulus[None, :, None], np.arange(TIMES)[None, None], repeat[None, :, None]
    )
    with Writer(path) as mat:
        mat.array(mat.file, "ALLMUA", values, **options)
        mat.array(mat.file, "ALLMAT", table(columns))
        mat.array(mat.file, "tb", TB[None])
    return path


def mapping(path: Path, column=False):
    scipy.io.savemat(path, {"mapping": MAPPING[:, None] if column else MAPPING[None]})
    return path


def write(folder: Path, monkeys="FN", with_trials="F") -> Path:
    """Folders of these monkeys; MUA_trials of some."""
    for monkey in monkeys:
        logs = folder / f"monkey{monkey}" / "_logs"
        logs.mkdir(parents=True, exist_ok=True)
        norm(logs.parent / "THINGS_normMUA.mat", dead=DEAD if monkey == "N" else None)
        images(logs / "things_imgs.mat", cells=monkey == "F")
        if monkey in with_trials:
            trials(logs.parent / "THINGS_MUA_trials.mat", columns=6 if monkey == "F" else 7)
            mapping(logs / "1024chns_mapping_20220105.mat", column=monkey == "N")
    return folder
