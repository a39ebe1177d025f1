"""An array of (unit, stimulus, repeat) in every kind of file, and the YAML that names its axes."""

from pathlib import Path

import h5py
import numpy as np
import yaml

VALUES = np.arange(3 * 4 * 2, dtype=np.float32).reshape(3, 4, 2)
NAMES = {
    "modality": "mua", "quantity": "MUA", "units": "z", "dataset": "mine", "subject": "F",
    "dims": ["unit", "stimulus", "repeat"], "stimulus": "images.txt", "unit": ["e1", "e2", "e3"],
    "coords": {"unit": {"region": ["V1", "V1", "IT"]}, "stimulus": {"score": [0.1, 0.2, 0.3, 0.4]}},
}  # fmt: skip


def write(folder: Path, kind="npz", values=VALUES, **names) -> Path:
    file = folder / f"responses.{kind}"
    if kind == "npy":
        np.save(file, values)
    elif kind == "npz":
        np.savez_compressed(file, counts=values)
    elif kind == "h5":
        with h5py.File(file, "w") as out:
            out["counts"] = values
    else:
        np.savetxt(file, values[..., 0] if values.ndim == 3 else values, delimiter=",")
        names = {"dims": ["unit", "stimulus"]} | names
    found = NAMES | {"file": file.name, "array": "counts"} | names
    (folder / "images.txt").write_text("cat_01\ndog_02\nbat1_03\nhot-air_balloon_04\n")
    text = yaml.safe_dump({name: one for name, one in found.items() if one is not None}, sort_keys=False)
    (folder / "cube.yaml").write_text(text)
    return folder
