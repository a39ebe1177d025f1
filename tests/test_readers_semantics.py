"""Every reader against files that are sound in themselves and wrong all the same.

Another dataset's file, a field or column that is gone, infinite or absent numbers, absurd shapes, rows doubled
or in another order, pickles. What must come is an InputError that names the file, or cubes in which nothing
moved: labels may be fewer and numbers absent (NaN) where the file no longer has them. A file that a reader does
not use may hold anything. What a layout cannot tell is listed in `BY_DESIGN`, with the reason.
"""

import csv
import pickle
import shutil
from functools import cache
from importlib import import_module
from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
import pytest

from stores.errors import InputError
from stores.readers import READERS
from stores.validate import validate
from tests.test_readers import ReaderTests

AT_MOST = 12
"""How many changes are made to one file, evenly spread over its fields."""
TABLES = {".csv": ",", ".tsv": "\t"}
BY_DESIGN = {
    ("csv-by-stimulus", "other"): "any table of numbers by stimulus is what this reader is for",
    (
        "bold5000_betas",
        "other",
    ): "which of two sessions lies on another grid than the dataset's cannot be told",
    ("things-fmri-volumes", "shuffled rows"): "its tables have nothing but their order that leads to volumes",
    ("bids-betas", "shuffled rows"): "its tables have nothing but their order that leads to volumes",
    ("bids-betas", "no column"): "stimuli are told by the first of several columns that is there",
    ("ds000117", "no column"): "where nobody says which channels are bad, none is",
    ("it_cshl", "no field"): "without names neurons are numbered",
    ("nwb_units", "no field"): "stimuli are told by the first of several columns that is there",
    ("nwb_units", "Inf"): "labels of units and trials are kept as they were published",
    ("tvsd", "Inf"): "signal-to-noise ratios and latencies are kept as they were published",
    ("majaj_hong2015", "all NaN"): "labels of presentations are text, in which absence is 'nan'",
}


def suffix(path):
    return ".nii.gz" if path.name.endswith(".nii.gz") else path.suffix


def files_of(folder):
    found = (one for one in folder.rglob("*") if one.is_file() and not one.name.startswith("._"))
    return sorted(found) if folder.is_dir() else [folder]


@cache
def conformance():
    for one in sorted(Path(__file__).parent.glob("test_readers_*.py")):
        import_module(f"tests.{one.stem}")
    return {one.name: one for one in ReaderTests.__subclasses__()}


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    """One folder for each reader, with its files."""
    return {name: one.write(tmp_path_factory.mktemp(name)) for name, one in conformance().items()}


def read(name, folder):
    found = conformance()[name]().read(folder)
    for cube in found.values():
        validate(cube)
    return {short: cube.compute() for short, cube in found.items()}


def moved(found, truth):
    """What of `truth` is something else in `found`; nothing where labels or numbers are only absent."""
    wrong = []
    for name, cube in found.items():
        if name not in truth or cube.dims != truth[name].dims:
            return [f"{name} is new, or has other dims"]
        ids = {dim: cube.indexes[dim] for dim in cube.dims if dim in cube.indexes}
        if any(not index.isin(truth[name].indexes[dim]).all() for dim, index in ids.items()):
            return [f"{name} has new ids"]
        same = truth[name].sel(ids)
        for label in ["", *set(cube.coords) & set(same.coords)]:
            a, b = (one.variable if label == "" else one.coords.variables[label] for one in (cube, same))
            if a.dims != b.dims or not (a.isnull() | (a == b)).all():
                wrong.append(f"{name}: {label or 'values'}")
    return wrong


def outcome(name, folder, file, truth):
    """Nothing where the file is refused by name, or nothing moved; else what is wrong."""
    try:
        found = read(name, folder)
    except InputError as error:
        fault = str(error)
    else:
        return moved(found, truth)
    return [] if file.name in fault else [f"another file is blamed: {fault[:300]}"]


def wrongs(name, pool, spoil):
    """(file, what was done, what is wrong) of all that `spoil` does to the files of a reader; how much it did."""
    folder, wrong, count = pool[name], [], 0
    truth = read(name, folder)
    for file in files_of(folder):
        whole = file.read_bytes()
        try:
            for done in spoil(file):
                count += 1
                if found := outcome(name, folder, file, truth):
                    wrong.append((file.name, done, found))
                file.write_bytes(whole)
        finally:
            file.write_bytes(whole)
    return wrong, count


def spread(names):
    return names[:: max(1, -(-len(names) // AT_MOST))]


def others(name, pool):
    """Replaces a file by those of the same kind of other datasets."""

    def spoil(file):
        for other, folder in pool.items():
            alike = [one for one in files_of(folder) if suffix(one) == suffix(file)]
            if other != name and alike and alike[0].read_bytes() != file.read_bytes():
                shutil.copy(alike[0], file)
                yield f"{other}/{alike[0].name}"

    return spoil


def fields(path):
    """Names of the numeric datasets of an HDF5 file."""
    found = []

    def note(name, one):
        if isinstance(one, h5py.Dataset) and one.dtype.kind in "fiu" and not name.startswith("#refs#"):
            found.append(name)

    if h5py.is_hdf5(path):
        with h5py.File(path) as file:
            file.visititems(note)
    return found


def hdf5(change):
    """Changes one numeric dataset of an HDF5 file after the other."""

    def spoil(file):
        whole = file.read_bytes()
        for name in spread(fields(file)):
            with h5py.File(file, "r+") as opened:
                old, attrs = opened[name][()], dict(opened[name].attrs)
                if not change(opened, name, old):
                    continue
                if name in opened:
                    opened[name].attrs.update(attrs)
            yield name
            file.write_bytes(whole)

    return spoil


def gone(file, name, old):
    del file[name]
    return True


def filled(value, everywhere):
    def change(file, name, old):
        if old.dtype.kind != "f" or not old.size:
            return False
        new = old.copy()
        new.flat[slice(None) if everywhere else 0] = value
        file[name][...] = new
        return True

    return change


def huge(file, name, old):
    shape = (*(10**6,) * (old.ndim - 1), 10**9)
    del file[name]
    file.create_dataset(name, shape, old.dtype, chunks=(1,) * max(1, old.ndim))
    return bool(old.ndim)


def volumes(value):
    """Sets the first voxel of an image, if its numbers can hold that."""

    def spoil(file):
        if suffix(file) in (".nii", ".nii.gz"):
            image = nib.load(file)
            if image.get_data_dtype().kind == "f":
                data = np.asarray(image.dataobj).copy()
                data.flat[0] = value
                nib.Nifti1Image(data, image.affine, image.header).to_filename(file)
                yield f"{value} in a voxel"

    return spoil


def arrays(value):
    """Sets the first number of a .npy file."""

    def spoil(file):
        if suffix(file) == ".npy" and b"|O" not in file.read_bytes()[:200]:
            data = np.load(file)
            if data.dtype.kind == "f":
                data.flat[0] = value
                np.save(file, data)
                yield f"{value} in the array"

    return spoil


def declared(file):
    """Headers of .npy and NIfTI files that declare more than there is on any disk."""
    whole = bytearray(file.read_bytes())
    if suffix(file) == ".npy" and whole[6] == 1:
        before, after = bytes(whole[10:128]).split(b"'shape': (", 1)
        head = (before + b"'shape': (900000000, " + after).rstrip()
        file.write_bytes(bytes(whole[:10]) + head.ljust(117) + b"\n" + bytes(whole[128:]))
        yield "a huge shape"
    elif suffix(file) == ".nii":
        whole[40:50] = np.array([4, 32767, 32767, 32767, 32767], "<i2").tobytes()
        file.write_bytes(whole)
        yield "a huge shape"


class Canary:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def pickled(file):
    """Puts a pickle that would run code in place of a .npy, .npz or HDF5 file."""
    canary = file.with_name("canary")
    if suffix(file) == ".npz":
        np.savez(file, counts=np.array([Canary(canary)], object))
    elif suffix(file) == ".npy":
        np.save(file, np.array([Canary(canary)], object), allow_pickle=True)
    elif suffix(file) in (".mat", ".h5", ".nc"):
        file.write_bytes(pickle.dumps(Canary(canary)))
    else:
        return
    yield "a pickle"
    assert not canary.exists()


def rows(change):
    """Changes the rows of a table, its header apart."""

    def spoil(file):
        if suffix(file) in TABLES:
            head, *body = file.read_text("utf-8-sig").splitlines(keepends=True)
            if changed_rows := change(head, body, TABLES[suffix(file)]):
                file.write_text("".join(changed_rows), newline="")
                yield "rows"

    return spoil


def doubled(head, body, separator):
    return [head, *body, body[-1]]


def shuffled(head, body, separator):
    return [head, *(body[i] for i in np.random.default_rng(0).permutation(len(body)))]


def columns(file):
    """Takes one column of a table after the other out."""
    if suffix(file) not in TABLES:
        return
    with file.open(newline="", encoding="utf-8-sig") as opened:
        table = list(csv.reader(opened, delimiter=TABLES[suffix(file)]))
    whole = file.read_bytes()
    for n, name in spread(list(enumerate(table[0]))):
        with file.open("w", newline="", encoding="utf-8") as opened:
            csv.writer(opened, delimiter=TABLES[suffix(file)]).writerows(
                row[:n] + row[n + 1 :] for row in table
            )
        yield f"no {name}"
        file.write_bytes(whole)


CASES = {
    "other": None,
    "no field": hdf5(gone),
    "Inf": hdf5(filled(np.inf, everywhere=False)),
    "all NaN": hdf5(filled(np.nan, everywhere=True)),
    "huge": hdf5(huge),
    "Inf in an image": volumes(np.inf),
    "Inf in an array": arrays(np.inf),
    "declared": declared,
    "pickle": pickled,
    "doubled row": rows(doubled),
    "shuffled rows": rows(shuffled),
    "no column": columns,
}


def check(name, case, pool):
    """How many changes were made, none of which did harm, but for what is so by design."""
    wrong, count = wrongs(name, pool, CASES[case] or others(name, pool))
    assert bool(wrong) == ((name, case) in BY_DESIGN), (name, wrong)
    return count


@pytest.mark.parametrize("name", sorted(READERS))
def test_reader__refuses_files_of_other_datasets(name, pool):
    check(name, "other", pool)


def test_readers__never_run_a_pickle(pool):
    assert sum(check(name, "pickle", pool) for name in sorted(READERS)) > 5


@pytest.mark.slow
@pytest.mark.parametrize("case", [one for one in CASES if one not in ("other", "pickle")])
def test_readers__refuse_what_is_wrong_or_are_not_moved_by_it(case, pool):
    counts = {name: check(name, case, pool) for name in sorted(READERS)}
    print({name: count for name, count in counts.items() if count})
    assert sum(counts.values()) > 0
