"""Release 1 of two subjects, 74 trials in two runs: an image is repeated 4 times, another 3, a third 5 times.

Repeats are named `rep_<image>`; the list is CSI01, the files are CSI1. CSI2 has its .mat files alone, and calls
its regions LHLO and RHRRSC. A value tells its subject, region, voxel and trial. Of release 2 there
are two sessions of CSI1.
"""

from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
import scipy.io

TRIALS = 74
ROIS = {"CSI1": {"LHPPA": 4, "RHLOC": 3, "RHRSC": 1}, "CSI2": {"LHLO": 2, "RHRRSC": 3}}
AGAIN = {"COCO_train2014_000000420713.jpg": (5, 20, 40, 73), "n01930112_19568.JPEG": (0, 38, 39),
         "homeoffice6.jpg": (9, 10, 11, 50, 60)}  # fmt: skip
GRID = (4, 5, 3)
SESSIONS = (37, 37)
VERSION = "TYPED-FITHRF-GLMDENOISE-RR"


def names(prefix="rep_"):
    """File of each trial."""
    found = [
        ("COCO_train2014_{:012d}.jpg", "n0{:07d}_7.JPEG", "kitchen{}.jpg")[n % 3].format(n)
        for n in range(TRIALS)
    ]
    for image, places in AGAIN.items():
        for n, place in enumerate(places):
            found[place] = (prefix if n else "") + image
    return found


def value(subject, roi, voxel, trial):
    return int(subject[-1]) * 1e5 + list(ROIS[subject]).index(roi) * 1e4 + voxel * 1e3 + trial


def matrices(subject):
    trial = np.arange(TRIALS)[:, None]
    return {roi: value(subject, roi, np.arange(count)[None], trial) for roi, count in ROIS[subject].items()}


def write(folder: Path) -> Path:
    root = folder / "ROIs"
    (root / "stim_lists").mkdir(parents=True, exist_ok=True)
    for subject in ROIS:
        (root / "stim_lists" / f"CSI0{subject[-1]}_stim_lists.txt").write_text("\n".join(names()) + "\n")
        kind = "h5" if subject == "CSI1" else "mat"
        (root / subject / kind).mkdir(parents=True, exist_ok=True)
        path = root / subject / kind / f"{subject}_ROIs_TR34.{kind}"
        if kind == "mat":
            scipy.io.savemat(path, matrices(subject), do_compression=True)
        else:
            with h5py.File(path, "w") as file:
                for roi, values in matrices(subject).items():
                    file[roi] = values
    return root


def volume_value(trial, x, y, z):
    return 1000 * trial + 100 * x + 10 * y + z


def save(path, values, affine=None):
    nib.Nifti1Image(values, np.diag([2.0, 2, 2, 1]) if affine is None else affine).to_filename(path)


def write_betas(folder: Path) -> Path:
    root = folder / "release2"
    (root / "spm/sub-CSI1").mkdir(parents=True, exist_ok=True)
    x, y, z, t = np.indices((*GRID, TRIALS))
    data = volume_value(t, x, y, z).astype(np.float32)
    data[0, 0, 0] = np.nan
    first = 0
    for n, count in enumerate(SESSIONS, 1):
        save(root / f"CSI1_GLMbetas-{VERSION}_ses-{n:02d}.nii.gz", data[..., first : first + count])
        first += count
    (root / "CSI1_imgnames.txt").write_text("\n".join(names("")) + "\n")
    x, y, z = np.indices(GRID)
    save(root / "CSI1_brainmask.nii.gz", (x > 0).astype(np.int16))
    save(root / "spm/sub-CSI1/sub-CSI1_mask-LHLO.nii.gz", (y > 2).astype(np.int16))
    save(root / "spm/sub-CSI1/sub-CSI1_mask-RHPPA.nii.gz", ((y > 1) & (z == 2)).astype(np.int16))
    return root
