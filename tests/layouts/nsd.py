"""NSD, small: two sessions of 6 trials in a 4 x 5 x 3 grid (z, y, x), or of 7 + 5 vertices.

A value tells its trial and place. Planted: design tables longer than what was measured, a region with -1, 0, 1
and 2 and one with images of each hemisphere only, a voxel without data in the second session, ids from 1 and
from 0, images shown once to thrice.
"""

from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
import pandas as pd
import scipy.io

from tests.layouts.haxby2001 import save

GRID = (4, 5, 3)
ORDER = np.array([1, 2, 1, 3, 4, 2, 5, 1, 3, 2, 6, 6, 7, 7])  # more trials are designed than measured
SUBJECTIM = np.array([[8, 3, 11, 40, 5, 20, 9], [1, 2, 3, 4, 5, 6, 7]])
SHARED = np.array([3, 20])
EMPTY = (3, 0, 2)
"""The voxel (z, y, x) that is 0 throughout session 2."""
VERTICES = {"lh": 7, "rh": 5}
IMAGES = 41
ANSWERS = ("TIME", "ISOLD", "ISCORRECT", "RT", "BUTTON", "MISSINGDATA")


def session(n):
    trial, z, y, x = np.indices((6, *GRID))
    found = ((trial + 6 * n) * 1000 + z * 100 + y * 10 + x).astype(np.int16)
    if n == 1:
        found[:, *EMPTY] = 0
    return found


def surface(side, n):
    """(vertex, 1, 1, trial), percent."""
    vertex, trial = np.indices((VERTICES[side], 6))
    found = (trial + 6 * n) * 10 + vertex + 100 * (side == "rh") + 0.5
    return found.astype(np.float32)[:, None, None, :]


def roi():
    x, y, _ = np.indices(GRID[::-1])
    return np.where(y == 4, -1, x).astype(np.int16)


def ncsnr():
    x, y, z = np.indices(GRID[::-1])
    return ((x + 10 * y + 100 * z) / 100).astype(np.float32)


def shown(subject=1, count=14):
    """nsdId from 0 of each trial."""
    return SUBJECTIM[subject - 1][ORDER[:count] - 1] - 1


def design(path: Path, **changed):
    found = {"masterordering": ORDER[None], "subjectim": SUBJECTIM, "sharedix": SHARED[None]} | changed
    scipy.io.savemat(path, {name: np.asarray(one, float) for name, one in found.items()})


def info(path: Path):
    """One row per image, from 0; `subject1_rep0` is a trial from 1, or 0."""
    ids = np.arange(IMAGES)
    table = {
        "cocoId": ids * 7 + 500,
        "cocoSplit": np.where(ids % 2, "train2017", "val2017"),
        "cropBox": [f"(0, 0, 0.{n:02d}, 0.1)" for n in ids],
        "loss": ids / 8,
        "nsdId": ids,
        "flagged": ids % 3 == 0,
        "BOLD5000": ids % 4 == 0,
        "shared1000": np.isin(ids, SHARED - 1),
    }
    for subject in (1, 2):
        trials = [[n + 1 for n, one in enumerate(shown(subject)) if one == image] for image in ids]
        table[f"subject{subject}"] = [int(bool(one)) for one in trials]
        for rep in range(3):
            table[f"subject{subject}_rep{rep}"] = [one[rep] if rep < len(one) else 0 for one in trials]
    pd.DataFrame(table).to_csv(path)


def answer(trial, name):
    """What was answered; no button in trial 4."""
    return (
        np.nan if trial == 4 and name in ("RT", "BUTTON", "ISCORRECT") else trial * 10 + ANSWERS.index(name)
    )


def responses(path: Path, subject=1):
    rows = []
    for trial, image in enumerate(shown(subject, 12)):
        place = trial % 6
        keys = [subject, trial // 6 + 1, place // 3 + 1, place % 3 + 1, image + 1, ORDER[trial]]
        rows.append([*keys, *(answer(trial, name) for name in ANSWERS)])
    names = ["SUBJECT", "SESSION", "RUN", "TRIAL", "73KID", "10KID", *ANSWERS]
    pd.DataFrame(rows, columns=names).to_csv(path, sep="\t", index=False)


def mgh(path: Path, values):
    values = np.asarray(values, np.float32)
    image = nib.freesurfer.MGHImage(values if values.ndim == 4 else values[:, None, None], np.eye(4))
    image.to_filename(path)


def write(folder: Path, kind="hdf5", **changed) -> Path:
    """Sessions as HDF5, "nii" or "nii.gz", with the design and one class of regions beside them."""
    folder = folder / "subj01"
    (folder / "roi").mkdir(parents=True, exist_ok=True)
    for n in range(2):
        path = folder / f"betas_session{n + 1:02d}.{kind}"
        if kind != "hdf5":
            save(path, session(n).T)
            continue
        with h5py.File(path, "w") as file:
            file["betas"] = session(n)
    design(folder / "nsd_expdesign.mat", **changed)
    save(folder / "roi" / "prf-visualrois.nii.gz", roi())
    return folder


def write_nifti(folder: Path) -> Path:
    return write(folder, "nii.gz")


def write_surface(folder: Path) -> Path:
    """Both hemispheres on fsaverage, with regions, names and the ratio."""
    folder = folder / "subj01"
    (folder / "roi").mkdir(parents=True, exist_ok=True)
    for side, count in VERTICES.items():
        for n in range(2):
            mgh(folder / f"{side}.betas_session{n + 1:02d}.mgh", surface(side, n))
        mgh(folder / f"{side}.ncsnr.mgh", np.arange(count) / 4)
        mgh(folder / "roi" / f"{side}.streams.mgz", np.arange(count) % 3)
    (folder / "roi" / "streams.mgz.ctab").write_text("0 Unknown\n1 early\n2 ventral\n")
    design(folder / "nsd_expdesign.mat")
    return folder


def write_tree(root: Path, subject=1) -> Path:
    """The published tree; returns the folder of the sessions."""
    name = f"subj{subject:02d}"
    betas = root / f"nsddata_betas/ppdata/{name}/func1pt8mm/betas_fithrf"
    data = root / f"nsddata/ppdata/{name}/func1pt8mm"
    for one in (betas, data / "roi", root / "nsddata/experiments/nsd", data.parent / "behav",
                root / f"nsddata/freesurfer/{name}/label"):  # fmt: skip
        one.mkdir(parents=True, exist_ok=True)
    for n in range(2):
        with h5py.File(betas / f"betas_session{n + 1:02d}.hdf5", "w") as file:
            file.create_dataset("betas", data=session(n), chunks=(6, 1, 2, 3))
        valid = np.ones(GRID[::-1], np.int16)
        valid[EMPTY[::-1]] = n == 0
        save(data / f"valid_session{n + 1:02d}.nii.gz", valid)
    save(betas / "ncsnr.nii.gz", ncsnr())
    save(data / "roi/prf-visualrois.nii.gz", roi())
    x, _, _ = np.indices(GRID[::-1])
    for side, inside in (("lh", x == 0), ("rh", x == 2)):
        save(data / f"roi/{side}.floc-faces.nii.gz", np.where(inside, roi() == 2, -1).astype(np.int16))
        save(data / f"roi/{side}.prf-visualrois.nii.gz", np.where(inside, roi(), -1).astype(np.int16))
    label = root / f"nsddata/freesurfer/{name}/label"
    (label / "prf-visualrois.mgz.ctab").write_text("0 Unknown\n1 V1v\n2 V1d\n3 V2v\n")
    design(root / "nsddata/experiments/nsd/nsd_expdesign.mat")
    info(root / "nsddata/experiments/nsd/nsd_stim_info_merged.csv")
    responses(data.parent / "behav/responses.tsv", subject)
    return betas


def pictures():
    """(picture, row, col, channel)."""
    picture, row, col, channel = np.indices((IMAGES, 4, 5, 3))
    return (picture * 6 + row * 40 + col * 3 + channel).astype(np.uint8)


def write_stimuli(folder: Path) -> Path:
    with h5py.File(folder / "nsd_stimuli.hdf5", "w") as file:
        file["imgBrick"] = pictures()
    return folder
