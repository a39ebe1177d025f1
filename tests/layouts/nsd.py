"""Two sessions of 6 trials in a 4 x 5 x 3 grid (z, y, x), design and one ROI with -1, 0, 1 and 2."""

from pathlib import Path

import h5py
import numpy as np
import scipy.io

from tests.layouts.haxby2001 import save

GRID = (4, 5, 3)
ORDER = np.array([1, 2, 1, 3, 4, 2, 5, 1, 3, 2, 6, 6, 7, 7])  # more trials are designed than measured
SUBJECTIM = np.array([[8, 3, 11, 40, 5, 20, 9], [1, 2, 3, 4, 5, 6, 7]])
SHARED = np.array([3, 20])


def session(n):
    trial, z, y, x = np.indices((6, *GRID))
    return ((trial + 6 * n) * 1000 + z * 100 + y * 10 + x).astype(np.int16)


def roi():
    x, y, _ = np.indices(GRID[::-1])
    return np.where(y == 4, -1, x).astype(np.int16)


def write(folder: Path, **design) -> Path:
    folder = folder / "subj01"
    (folder / "roi").mkdir(parents=True, exist_ok=True)
    for n in range(2):
        with h5py.File(folder / f"betas_session{n + 1:02d}.hdf5", "w") as file:
            file["betas"] = session(n)
    found = {"masterordering": ORDER[None], "subjectim": SUBJECTIM, "sharedix": SHARED[None]} | design
    scipy.io.savemat(
        folder / "nsd_expdesign.mat", {name: np.asarray(one, float) for name, one in found.items()}
    )
    save(folder / "roi" / "prf-visualrois.nii.gz", roi())
    return folder
