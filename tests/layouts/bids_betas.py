"""Betas in BIDS, small: trial n (counted through all runs) at voxel x, y, z is 1000 n + 100 x + 10 y + z.

Planted: tables that lie elsewhere than the images, run 10 beside run 2, rows without a stimulus, repeats that are
ragged, a file of one name in two folders, an affine that turns and shifts, masks of another space and of one run,
another system's companion of a file.
"""

import json
from pathlib import Path

import nibabel as nib
import numpy as np

SHAPE = (3, 4, 5)
AFFINE = np.array([[0, -2.0, 0, 10], [3.0, 0, 0, -20], [0, 0, 2.5, 5], [0, 0, 0, 1]])
RUNS = [("1", "2"), ("1", "10"), ("2", "1")]  # (session, run) in order
HEADER = ["onset", "duration", "trial_type", "trigger", "response_time", "stim_file"]
# (trial_type, picture) of each row of each run; "n/a" is a button press.
SHOWN = [
    [("IniFF", "func/f002"), ("btn", "n/a"), ("ImmFF", "func/f002"), ("IniUF", "func/u001")],
    [("IniSF", "func/s001"), ("IniFF", "func/f001"), ("DelFF", "func/f002")],
    [
        ("IniUF", "meg/u001"),
        ("IniSF", "func/s001"),
        ("btn", "n/a"),
        ("ImmUF", "func/u001"),
        ("IniFF", "func/f003"),
    ],
]
STIMULI = {
    "func/f001": [5], "func/f002": [0, 2, 6], "func/f003": [11], "func/s001": [4, 8], "func/u001": [3, 10],
    "meg/u001": [7],
}  # fmt: skip
BIDS, GLM = Path("sub-01"), Path("derivatives", "glm", "sub-01")


def image(trial):
    x, y, z = np.indices(SHAPE)
    return 1000 * trial + 100 * x + 10 * y + z


def brain():
    x, y, z = np.indices(SHAPE)
    return (x + y + z > 1).astype(np.uint8)


def regions():
    x, y, _ = np.indices(SHAPE)
    return {"label-V1": (y == 2).astype(np.uint8), "hemi-L_label-FFA": (x >= 1).astype(np.uint8)}


def save(path, values, affine=AFFINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.Nifti1Image(values, affine).to_filename(path)


def stem(n, subject="01"):
    session, run = RUNS[n]
    return f"sub-{subject}_ses-{session}_task-faces_run-{run}"


def first(n):
    """How many rows came before run n."""
    return sum(map(len, SHOWN[:n]))


def events(n):
    rows = [
        (
            float(row),
            1.0,
            kind,
            5 + row,
            "n/a" if row % 2 else 0.5 + first(n) + row,
            name if name == "n/a" else f"{name}.bmp",
        )
        for row, (kind, name) in enumerate(SHOWN[n])
    ]
    return "".join("\t".join(map(str, row)) + "\n" for row in [HEADER, *rows])


def write_tables(folder: Path) -> Path:
    (folder / "dataset_description.json").write_text(
        json.dumps({"Name": "faces", "BIDSVersion": "1.8.0"}) + "\n"
    )
    for n, (session, _) in enumerate(RUNS):
        func = folder / BIDS / f"ses-{session}" / "func"
        func.mkdir(parents=True, exist_ok=True)
        (func / f"{stem(n)}_events.tsv").write_text(events(n))
        (func / f"._{stem(n)}_events.tsv").write_bytes(b"\0\5\x16\7" * 100)
    return folder


def write(folder: Path) -> Path:
    """One 4-D image for each run, the second not compressed, and masks."""
    write_tables(folder)
    for n, (session, _) in enumerate(RUNS):
        trials = np.stack([image(first(n) + row) for row in range(len(SHOWN[n]))], axis=-1)
        ending = "nii" if n == 1 else "nii.gz"
        save(
            folder / GLM / f"ses-{session}" / "func" / f"{stem(n)}_space-T1w_betas.{ending}",
            trials.astype(np.float32),
        )
    anat = folder / GLM / "anat"
    save(anat / "sub-01_space-T1w_desc-brain_mask.nii.gz", brain())
    save(anat / "sub-01_space-MNI_label-V1_mask.nii.gz", np.ones((2, 2, 2), np.uint8))
    save(anat / f"{stem(0)}_space-T1w_label-V2_mask.nii.gz", np.ones(SHAPE, np.uint8))
    for name, values in regions().items():
        save(anat / f"sub-01_space-T1w_{name}_mask.nii.gz", values)
    return folder


def write_conditions(folder: Path) -> Path:
    """sub-02: one 3-D image for each condition and run, of both spellings; house is not in run 10."""
    for n, (condition, run) in enumerate([("face", 2), ("house", 2), ("face", 10)]):
        name = f"sub-02_task-x_run-{run}"
        name += (
            f"_condition-{condition}_beta.nii"
            if n < 2
            else f"_contrast-{condition}_stat-effect_statmap.nii.gz"
        )
        save(folder / "sub-02" / name, image(n).astype(np.float32))
    save(
        folder / "sub-02" / "sub-02_task-x_run-10_contrast-face_stat-t_statmap.nii.gz",
        image(9).astype(np.float32),
    )
    return folder
