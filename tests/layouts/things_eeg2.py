"""Pickled dicts as published: 30 training images x 4, 5 test images x 8, 17 channels, 100 times."""

from pathlib import Path

import numpy as np

IMAGES = {"train": 30, "test": 5}
REPEATS = {"train": 4, "test": 8}
CHANNELS = [f"O{n}" for n in range(10)] + [f"P{n}" for n in range(7)]
TIMES = np.linspace(-0.2, 0.79, 100)
CONCEPTS = ["aardvark", "air_conditioner", "aircraft_carrier", "hot-air_balloon", "bat1", "camera_lens"]


def data(split):
    image, repeat, channel, time = np.indices((IMAGES[split], REPEATS[split], 17, 100))
    return image * 1000.0 + repeat * 100 + channel * 4 + time / 128


def files(split):
    return [f"{CONCEPTS[n % 6]}_{n // 6 + 1 + 20 * (split == 'test'):02d}s.jpg" for n in range(IMAGES[split])]


def metadata():
    found = {}
    for split in IMAGES:
        concepts = [one.rsplit("_", 1)[0] for one in files(split)]
        found[f"{split}_img_files"] = files(split)
        found[f"{split}_img_concepts"] = [f"{CONCEPTS.index(one) + 1:05d}_{one}" for one in concepts]
        found[f"{split}_img_concepts_THINGS"] = concepts
    return found


def write(folder: Path, changes=None, **meta) -> Path:
    for split, name in (("train", "training"), ("test", "test")):
        found = {"preprocessed_eeg_data": data(split), "ch_names": CHANNELS, "times": TIMES} | (changes or {})
        np.save(folder / f"preprocessed_eeg_{name}.npy", found)
    np.save(folder / "image_metadata.npy", metadata() | meta)
    return folder
