"""TVSD with its published sizes: 62 GB of single trials, of which a few milliseconds are written.

The rest are holes, which take no disk and read as zeros; HDF5 counts them as stored. A value tells channel, trial
and moment: ``(channel + 3 trial + 7 moment) mod 4096``.
"""

from pathlib import Path

import h5py
import numpy as np
import scipy.io

from tests.layouts.matlab73 import Writer
from tests.layouts.tvsd import MAPPING

ELECTRODES, TRAIN, TEST, REPEATS, TIMES = 1024, 22_248, 100, 30, 300
TRIALS = TRAIN + TEST * REPEATS
MOMENT_BYTES = 8 * TRIALS * ELECTRODES
TRAIN_STEMS = [f"thing{n // 12:04d}_{n % 12 + 1:02d}b" for n in range(TRAIN)]
TEST_STEMS = [f"zebra{n:02d}_01s" for n in range(TEST)]
ORDER = np.random.default_rng(0).permutation(TRIALS)
"""Which presentation each trial was: below TRAIN a training image, else test image (n - TRAIN) // REPEATS."""


def value(channel, trial, moment):
    return (channel + 3 * trial + 7 * moment) % 4096


def unwritten(file, name, shape):
    """A contiguous dataset of doubles whose bytes are there, but are a hole in the file."""
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    plan.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    space = h5py.h5s.create_simple(shape)
    return h5py.Dataset(h5py.h5d.create(file.id, name.encode(), h5py.h5t.IEEE_F64LE, space, dcpl=plan))


def trials(path: Path, moments=()) -> Path:
    """THINGS_MUA_trials.mat; these moments are written, the others are zero."""
    with Writer(path) as mat:
        made = unwritten(mat.file, "ALLMUA", (TIMES, TRIALS, ELECTRODES))
        for moment in moments:
            for start in range(0, TRIALS, 2048):
                rows = np.arange(start, min(start + 2048, TRIALS))[:, None]
                made[moment, start : start + 2048] = value(np.arange(ELECTRODES), rows, moment)
        train = np.where(ORDER < TRAIN, ORDER + 1, 0)
        test = np.where(ORDER < TRAIN, 0, (ORDER - TRAIN) // REPEATS + 1)
        number = np.arange(TRIALS)
        table = [number + 1, train, test, 0 * number, number % 4 + 1, number // 7000 + 1]
        mat.array(mat.file, "ALLMAT", np.array(table, float).T)
        mat.array(mat.file, "tb", np.arange(-100.0, 200)[None])
    return path


def norm(path: Path) -> Path:
    """THINGS_normMUA.mat, all zeros."""
    with Writer(path) as mat:
        unwritten(mat.file, "train_MUA", (TRAIN, ELECTRODES))
        unwritten(mat.file, "test_MUA_reps", (REPEATS, TEST, ELECTRODES))
        for name, columns in (("SNR", 4), ("lats", 4), ("reliab", REPEATS * (REPEATS - 1) // 2)):
            mat.array(mat.file, name, np.zeros((ELECTRODES, columns)))
        for name in ("SNR_max", "oracle"):
            mat.array(mat.file, name, np.zeros((1, ELECTRODES)))
    return path


def images(path: Path) -> Path:
    with Writer(path) as mat:
        for name, stems in (("train_imgs", TRAIN_STEMS), ("test_imgs", TEST_STEMS)):
            mat.cell(mat.file.create_group(name), "things_path", [f"x\\{stem}.jpg" for stem in stems])
    return path


def write(folder: Path, moments=()) -> Path:
    """One monkey's folder."""
    logs = folder / "monkeyF" / "_logs"
    logs.mkdir(parents=True)
    trials(logs.parent / "THINGS_MUA_trials.mat", moments)
    norm(logs.parent / "THINGS_normMUA.mat")
    images(logs / "things_imgs.mat")
    scipy.io.savemat(logs / "1024chns_mapping_20220105.mat", {"mapping": MAPPING[None]})
    return logs.parent
