"""Extraction from files to a finished store, against a bare torch loop that stores nothing.

Both decode the same JPEG files with the same transform, run the same network in the same batches, and may use
the same number of threads. The loop decodes the next batch in a pool while torch computes the present one.
"""

import atexit
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.table import Case
from pipeline.extract import extract
from pipeline.models import build, network_spec
from stores.stimuli import ImageFolder, read_folder

BAR = 0.85
IMAGES, SIDE, BATCH, THREADS = 320, 500, 16, 2
SPEC = network_spec("torchvision:resnet18", untrained_seed=0)
LAYERS = ("layer2", "layer3", "layer4", "avgpool", "fc")


@cache
def workspace() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="bench-extract-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def images() -> ImageFolder:
    """JPEG files as large as photographs of the usual stimulus sets: smooth colours under some noise."""
    folder, rng = workspace() / "images", np.random.default_rng(0)
    folder.mkdir()
    for number in range(IMAGES):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)).resize((SIDE, SIDE))
        noisy = np.clip(np.asarray(coarse, np.float32) + rng.normal(0, 8, (SIDE, SIDE, 3)), 0, 255)
        Image.fromarray(noisy.astype(np.uint8)).save(folder / f"image{number:04d}.jpg", quality=90)
    return read_folder(folder)


def ours() -> int:
    return extract(
        images(), SPEC, LAYERS, workspace() / "store", batch_size=BATCH, threads=THREADS, overwrite=True
    ).tasks


def peer() -> float:
    network, folder = build(SPEC), images()
    paths = [Path(folder.root) / file.path for file in folder.files]

    def load(path: Path) -> torch.Tensor:
        with Image.open(path) as image:
            return torch.from_numpy(network.transform.pixels(np.asarray(image.convert("RGB"))).copy())

    total = 0.0
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        with ThreadPoolExecutor(THREADS) as pool, torch.inference_mode():
            batches = [paths[i : i + BATCH] for i in range(0, len(paths), BATCH)]
            ahead = [pool.submit(load, path) for path in batches[0]]
            for following in [*batches[1:], []]:
                present, ahead = ahead, [pool.submit(load, path) for path in following]
                batch = network.transform.values(torch.stack([future.result() for future in present]))
                total += float(network.module(batch).sum())
    finally:
        torch.set_num_threads(before)
    return total


def cases() -> list[Case]:
    images()
    return [
        Case(f"extract resnet18, {IMAGES} images, {len(LAYERS)} layers", ours, peer, BAR, "bare torch loop")
    ]
