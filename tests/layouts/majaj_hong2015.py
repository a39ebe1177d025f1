"""netCDF4 as xarray writes it: 6 images with 2, 3 or 5 repetitions in a shuffled order, 7 sites, one bin.

A value tells its site, image and repetition. Indexes are reset: every level is a variable of its own. Dims have
no variable but a placeholder; texts are of variable length; a fill value marks what is missing.
"""

from pathlib import Path

import h5py
import numpy as np

OBJECTS = ["bear", "elephant", "bmw", "ship", "z3", "airplane2"]
CATEGORIES = ["Animals", "Animals", "Cars", "Boats", "Cars", "Planes"]
REPEATS = {"public": [2, 2, 5, 5, 3, 5], "private": [4, 3, 3, 4, 4, 4]}
VARIATION = {"public": [0, 0, 3, 3, 3, 3], "private": [6] * 6}
SITES = [f"Chabo_L_{part}_{n}_{n + 2}" for n, part in enumerate("AAMMPP")] + ["Tito_L_P_9_9"]
REGION = ["V4", "V4", "IT", "IT", "V4", "IT", "IT"]
PLACEHOLDER = "This is a netCDF dimension but not a netCDF variable. {:9d}"


def image_id(split, image):
    return f"{(image * 7919 + len(split)) % 997:040x}"


def value(split, site, image, repetition):
    return np.float32(1000 * site + 100 * image + repetition + (0.5 if split == "private" else 0))


def presentations(split):
    """(image, repetition) in the order of the file."""
    found = [(i, r) for i, count in enumerate(REPEATS[split]) for r in range(count)]
    return [found[n] for n in np.random.default_rng(3).permutation(len(found))]


def columns(split):
    shown = presentations(split)
    images = [one for one, _ in shown]
    return {
        "presentation": {
            "image_id": [image_id(split, one) for one in images],
            "repetition": np.array([r for _, r in shown], np.int64),
            "object_name": [OBJECTS[one] for one in images],
            "category_name": [CATEGORIES[one] for one in images],
            "variation": np.array([VARIATION[split][one] for one in images], np.int64),
            "rxy": np.array(images) * 15.5,
            "recorded_at": np.arange(len(shown), dtype=np.float64),
            "day": [f"day{n % 2}" for n in range(len(shown))],
        },
        "neuroid": {
            "neuroid_id": SITES,
            "region": REGION,
            "animal": [one.split("_")[0] for one in SITES],
            "hemisphere": ["L"] * 7,
            "arr": [one.split("_")[2] for one in SITES],
            "col": np.arange(7),
            "x": np.arange(7) / 4,
        },
        "time_bin": {"time_bin_start": np.array([70]), "time_bin_end": np.array([170])},
    }


def data(split):
    """(neuroid, presentation, time_bin), as saved."""
    return np.array([[[value(split, s, i, r)] for i, r in presentations(split)] for s in range(7)])


def save(path: Path, found, values, order=("neuroid", "presentation", "time_bin"), **options) -> Path:
    with h5py.File(path, "w") as file:
        file.attrs["_NCProperties"] = "version=2,netcdf=4.7.4,hdf5=1.12.0"
        for number, axis in enumerate(order):
            length = values.shape[number]
            file[axis] = np.zeros(length, ">f4")
            file[axis].make_scale(PLACEHOLDER.format(length))
        main = file.create_dataset("dicarlo.MajajHong2015", data=values, **options)
        main.attrs["coordinates"] = " ".join(name for one in found.values() for name in one)
        main.attrs["_FillValue"] = np.float32([np.nan])
        for number, axis in enumerate(order):
            main.dims[number].attach_scale(file[axis])
        for axis, variables in found.items():
            for name, one in variables.items():
                text = isinstance(one, list)
                file.create_dataset(name, data=one, dtype=h5py.string_dtype() if text else None)
                file[name].dims[0].attach_scale(file[axis])
    return path


def write(folder: Path) -> Path:
    for split in REPEATS:
        save(folder / f"assy_dicarlo_MajajHong2015_{split}.nc", columns(split), data(split))
    return folder
