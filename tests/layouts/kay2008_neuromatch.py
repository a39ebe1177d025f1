"""kay_images.npz with the real counts of voxels per region, few images; labels beside it."""

from pathlib import Path

import numpy as np

NAMES = np.array(["Other", "V1", "V2", "V3", "V3A", "V3B", "V4", "LatOcc"])
COUNTS = (0, 1294, 2083, 1790, 484, 314, 1535, 928)


def arrays():
    image, voxel = np.indices((6, sum(COUNTS)), dtype=np.float32)
    pixels = np.indices((6, 8, 8), dtype=np.float32)
    pixels = pixels[0] + 10 * pixels[1] + 5 * pixels[2]
    return {
        "stimuli": pixels,
        "stimuli_test": pixels[:3] + 1,
        "responses": voxel + 10000 * image,
        "responses_test": (voxel + 10000 * image)[:3] + 0.5,
        "roi": np.repeat(np.arange(8), COUNTS),
        "roi_names": NAMES,
    }


def write(folder: Path, changes=None, labels=True) -> Path:
    found = {name: one for name, one in (arrays() | (changes or {})).items() if one is not None}
    np.savez(folder / "kay_images.npz", **found)
    if labels:
        for name, count in (("kay_labels", 6), ("kay_labels_val", 3)):
            text = np.array([[f"level{level}_image{n}" for n in range(count)] for level in range(4)])
            np.save(folder / f"{name}.npy", text)
    return folder
