"""24 volumes of 4 x 5 x 6 voxels in 2 chunks; a value tells its volume and voxel; one category once only."""

from pathlib import Path

import nibabel as nib
import numpy as np

LABELS = [
    *["rest"] * 2, *["face"] * 3, "rest", *["house"] * 3, *["cat"] * 3,
    "rest", *["house"] * 3, *["rest"] * 4, *["face"] * 4,
]  # fmt: skip
CHUNKS = [0] * 12 + [1] * 12
SHAPE = (4, 5, 6)


def data():
    x, y, z, t = np.indices((*SHAPE, len(LABELS)))
    return (1000 * t + 100 * x + 10 * y + z).astype(np.int16)


def save(path, values, affine=None):
    nib.Nifti1Image(values, np.diag([3.5, 3.5, 3.5, 1]) if affine is None else affine).to_filename(path)


def masks():
    x, y, _ = np.indices(SHAPE)
    return {"mask4_vt": (x == 2).astype(np.int16), "mask8_face_vt": (y > 2).astype(np.int16)}


def write(folder: Path, rows=None, literal=False) -> Path:
    save(folder / "bold.nii.gz", data())
    for name, values in masks().items():
        save(folder / f"{name}.nii.gz", values)
    rows = rows or [f"{label} {chunk}" for label, chunk in zip(LABELS, CHUNKS, strict=True)]
    name, header = ("attributes_literal.txt", []) if literal else ("labels.txt", ["labels chunks"])
    (folder / name).write_text("\n".join(header + rows) + "\n")
    return folder
