"""One subject: 7 training images out of order of their nsdIds, 5 + 6 vertices of 40, two classes of regions.

A response tells its row, vertex of fsaverage and hemisphere. `floc-faces` and `streams` overlap; a code is in one
hemisphere only; the mapping files are pickled dicts with codes that no vertex has.
"""

from pathlib import Path

import numpy as np

NSD = [13, 4, 72999, 27, 5, 1000, 100]
TEST = [8, 9, 10]
VERTICES = {"lh": [3, 4, 11, 30, 39], "rh": [0, 4, 5, 17, 18, 21]}
CODES = {
    "lh": {"floc-faces": [0, 1, 1, 2, 0], "streams": [5, 5, 0, 5, 1]},
    "rh": {"floc-faces": [1, 0, 0, 0, 4, 1], "streams": [0, 1, 1, 1, 5, 5]},
}
NAMES = {
    "floc-faces": {0: "Unknown", 1: "OFA", 2: "FFA-1", 3: "FFA-2", 4: "mTL-faces", 5: "aTL-faces"},
    "streams": {0: "Unknown", 1: "early", 2: "midventral", 5: "ventral"},
}
WHOLE = 40


def value(row, vertex, side):
    return (np.asarray(row) * 100 + vertex + 0.5 * (side == "rh")).astype(np.float32)


def responses(side):
    return value(np.arange(len(NSD))[:, None], np.array(VERTICES[side])[None], side)


def fsaverage(side, kind=None):
    found = np.zeros(WHOLE, np.float64 if kind is None else np.int64)
    found[VERTICES[side]] = 1 if kind is None else CODES[side][kind]
    return found


def write(folder: Path, ceilings=True) -> Path:
    root = folder / "subj01"
    for split, name, ids in (("train", "training", NSD), ("test", "test", TEST)):
        images = root / f"{name}_split" / f"{name}_images"
        images.mkdir(parents=True, exist_ok=True)
        for row, nsd in enumerate(ids, 1):
            (images / f"{split}-{row:04d}_nsd-{nsd:05d}.png").write_bytes(b"")
    for part in ("training_split/training_fmri", "roi_masks", "test_split/noise_ceiling"):
        (root / part).mkdir(parents=True, exist_ok=True)
    for side in VERTICES:
        np.save(root / f"training_split/training_fmri/{side}_training_fmri.npy", responses(side))
        np.save(root / f"roi_masks/{side}.all-vertices_fsaverage_space.npy", fsaverage(side))
        for kind, codes in CODES[side].items():
            np.save(root / f"roi_masks/{side}.{kind}_challenge_space.npy", np.array(codes))
            np.save(root / f"roi_masks/{side}.{kind}_fsaverage_space.npy", fsaverage(side, kind))
        if ceilings:
            np.save(
                root / f"test_split/noise_ceiling/{side}_noise_ceiling.npy", np.array(VERTICES[side]) / 64
            )
    for kind, names in NAMES.items():
        np.save(root / f"roi_masks/mapping_{kind}.npy", names)
    return root
