"""vim-1: EstimatedResponses.mat (7.3) and Stimuli.mat (5); a response tells its voxel and image."""

from pathlib import Path

import numpy as np
import scipy.io

from tests.layouts.matlab73 import Writer

VOXELS = {"S1": 50, "S2": 60}
IMAGES = {"Trn": 20, "Val": 6}
NAN = {("S1", "Trn"): [3, 7], ("S1", "Val"): [7], ("S2", "Trn"): [], ("S2", "Val"): [0, 1, 2]}


def index(subject):
    """Linear indices from 1 into 64 x 64 x 18, increasing, far apart."""
    return 1 + 1201 * np.arange(VOXELS[subject]) + (5 if subject == "S2" else 0)


def data(subject, kind):
    """MATLAB's matrix, voxels x images."""
    voxel, image = np.indices((VOXELS[subject], IMAGES[kind]))
    values = 1000.0 * voxel + image + (0.5 if kind == "Val" else 0) + (0.25 if subject == "S2" else 0)
    values[NAN[subject, kind]] = np.nan
    return values


def pictures(kind):
    image, row, col = np.indices((IMAGES[kind], 16, 16))
    return (image + 10 * row + 5 * col + (kind == "Val")).astype(np.float64)


def variables():
    found = {}
    for subject in VOXELS:
        for kind in IMAGES:
            found[f"data{kind}{subject}"] = data(subject, kind)
        found[f"roi{subject}"] = (np.arange(VOXELS[subject]) % 8)[:, None].astype(np.float64)
        found[f"voxIdx{subject}"] = index(subject)[:, None].astype(np.float64)
    return found


def write(folder: Path, changes=None, modern=True, pixels=None) -> Path:
    """Both files in `folder`; a change to None leaves a variable out."""
    kept = {name: one for name, one in (variables() | (changes or {})).items() if one is not None}
    if modern:
        with Writer(folder / "EstimatedResponses.mat") as mat:
            for name, one in kept.items():
                mat.array(mat.file, name, one, compression="gzip", compression_opts=3)
    else:
        scipy.io.savemat(folder / "EstimatedResponses.mat", kept)
    stimuli = {f"stim{kind}": pictures(kind) for kind in IMAGES} | (pixels or {})
    sequence = {"seqTrn": np.arange(1.0, 41), "seqVal": np.arange(1.0, 79)}
    scipy.io.savemat(folder / "Stimuli.mat", stimuli | sequence, do_compression=True)
    return folder
