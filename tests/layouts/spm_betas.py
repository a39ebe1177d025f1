"""SPM.mat and its betas: three runs, two conditions in an order that changes, one missing, motion, constants."""

from pathlib import Path

import numpy as np
import scipy.io

from tests.layouts.haxby2001 import save
from tests.layouts.kriegeskorte2008 import struct

SHAPE = (3, 4, 5)
# Regressors of each run in their order; house is not in run 3.
RUNS = (("face*bf(1)", "house*bf(1)", "R1"), ("house*bf(1)", "face*bf(1)", "R1"), ("face*bf(1)", "R1"))


def regressors():
    """(run from 1, name) of every beta, constants last, as SPM orders them."""
    return [(run, name) for run, names in enumerate(RUNS, 1) for name in names] + [
        (run, "constant") for run in (1, 2, 3)
    ]


def value(condition, run):
    """Image of a condition in a run; outside the analysis NaN."""
    x, y, z = np.indices(SHAPE)
    image = 1000.0 * (1 + ["face", "house"].index(condition)) + 300 * run + 100 * x + 10 * y + z
    image[0, 0, 0] = np.nan
    return image.astype(np.float32)


def write(folder: Path, descriptions=None) -> Path:
    names, texts = [], []
    for n, (run, name) in enumerate(regressors(), 1):
        file = f"beta_{n:04d}.nii"
        condition = name.split("*")[0]
        image = value(condition, run) if "bf" in name else np.full(SHAPE, -1.0, np.float32)
        save(folder / file, image)
        names.append(f"/data/elsewhere/{file}" if n == 1 else file)
        texts.append(f"spm_spm:beta ({n:04d}) - Sn({run}) {name}")
    betas = struct(
        (1, len(names)), fname=names, descrip=descriptions or texts, n=[np.array([1.0, 1.0])] * len(names)
    )
    scipy.io.savemat(folder / "SPM.mat", {"SPM": {"Vbeta": betas, "nscan": np.array([100.0] * 3)}})
    (folder / "rois").mkdir(exist_ok=True)
    x, y, _ = np.indices(SHAPE)
    save(folder / "rois" / "FFA.nii.gz", (x == 1).astype(np.uint8))
    save(folder / "rois" / "V1.nii.gz", (y >= 1).astype(np.uint8))
    return folder
