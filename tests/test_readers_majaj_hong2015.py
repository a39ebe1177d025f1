from functools import partial
from typing import ClassVar

import h5py
import numpy as np
import pytest
import xarray as xr

import stores
from pipeline.fill import Block, fill, lazy_source
from stores.dims import REPEAT, STIMULUS, TIME, UNIT
from stores.errors import InputError
from stores.readers import hdf5_heaps
from stores.readers.majaj_hong2015 import Sites, read
from stores.readers.trials import TrialReader, presented, regions, storage
from tests.layouts import majaj_hong2015 as layout
from tests.malformed import survive
from tests.test_readers import ReaderTests


class TestMajajHong2015(ReaderTests):
    name = "majaj_hong2015"
    write = staticmethod(layout.write)
    cubes: ClassVar[dict[str, str]] = {"public": "mua", "private": "mua"}


def check(cube, split):
    values = cube.values
    for image in range(6):
        row = list(cube[STIMULUS].values).index(layout.image_id(split, image))
        for site, name in enumerate(layout.SITES):
            column = list(cube[UNIT].values).index(name)
            for repeat in range(cube.sizes[REPEAT]):
                got = values[row, column, 0, repeat]
                if repeat < layout.REPEATS[split][image]:
                    assert got == layout.value(split, site, image, repeat)
                else:
                    assert np.isnan(got)


def test_majaj__every_value_is_at_its_image_site_and_repetition(tmp_path):
    found = read(layout.write(tmp_path))
    for split, cube in found.items():
        assert cube.chunks is not None
        assert cube.shape == (6, 7, 1, max(layout.REPEATS[split]))
        check(cube, split)
        assert set(cube["split"].values) == {split}
    assert found["public"][TIME].values.tolist() == [0.12]
    assert [found["public"][f"bin_{edge}"].item() for edge in ("start", "stop")] == [0.07, 0.17]


@pytest.mark.parametrize(
    ("order", "options"),
    [
        (("presentation", "neuroid", "time_bin"), {}),
        (
            ("time_bin", "neuroid", "presentation"),
            {"chunks": (1, 3, 4), "compression": "gzip", "shuffle": True},
        ),
        (("neuroid", "time_bin", "presentation"), {"fletcher32": True}),
    ],
)
def test_majaj__axes_are_found_by_name(tmp_path, order, options):
    axes = [("neuroid", "presentation", "time_bin").index(one) for one in order]
    values = layout.data("public").transpose(axes)
    path = layout.save(tmp_path / "a.nc", layout.columns("public"), values, order, **options)
    check(read(path)["public"], "public")


def test_majaj__facts_travel(tmp_path):
    cube = read(layout.write(tmp_path))["public"]
    assert list(cube["region"].values) == layout.REGION
    assert list(cube["animal"].values) == ["Chabo"] * 6 + ["Tito"]
    assert list(cube["array"].values) == list("AAMMPPP")
    np.testing.assert_array_equal(cube["x"], np.arange(7) / 4)
    assert set(cube["hemisphere"].values) == {"L"}
    assert cube.attrs["subject"] == "Chabo, Tito"
    at = {layout.image_id("public", n): n for n in range(6)}
    images = [at[one] for one in cube[STIMULUS].values]
    assert list(cube["category"].values) == [layout.CATEGORIES[n] for n in images]
    assert list(cube["object_name"].values) == [layout.OBJECTS[n] for n in images]
    assert list(cube["variation"].values) == [layout.VARIATION["public"][n] for n in images]
    np.testing.assert_array_equal(cube["rxy"], np.array(images) * 15.5)
    shown = layout.presentations("public")
    for row, image in enumerate(images):
        for repeat in range(5):
            there = (image, repeat) in shown
            want = shown.index((image, repeat)) if there else np.nan
            assert cube["repetition"].values[row, repeat] == (repeat if there else -1)
            np.testing.assert_array_equal(cube["recorded_at"].values[row, repeat], want)
            assert cube["day"].values[row, repeat] == (f"day{want % 2}" if there else "")
    assert cube.attrs["dropped"] == {}


def test_majaj__what_is_not_known_of_an_image_stays_with_it(tmp_path):
    found = layout.columns("public")
    found["presentation"]["rxy"][np.array(found["presentation"]["object_name"]) == "z3"] = np.nan
    cube = read(layout.save(tmp_path / "a.nc", found, layout.data("public")))["public"]
    assert cube["rxy"].dims == (STIMULUS,)
    assert list(cube["object_name"].values[np.isnan(cube["rxy"])]) == ["z3"]


def test_majaj__gaps_in_repetitions_stay_in_their_order(tmp_path):
    found = layout.columns("public")
    found["presentation"]["repetition"] = found["presentation"]["repetition"] * 3 + 1
    cube = read(layout.save(tmp_path / "a.nc", found, layout.data("public")))["public"]
    check(cube, "public")
    assert set(np.unique(cube["repetition"])) == {-1, 1, 4, 7, 10, 13}


def test_majaj__what_fills_a_gap_is_missing(tmp_path):
    values = layout.data("public").astype(np.float32)
    values[2] = 1e20
    values[3, 0] = np.nan
    path = layout.save(tmp_path / "a.nc", layout.columns("public"), values)
    with h5py.File(path, "a") as file:
        file["dicarlo.MajajHong2015"].attrs["_FillValue"] = np.float32([1e20])
    cube = read(path)["public"].compute()
    counts = np.isnan(cube).sum((STIMULUS, TIME, REPEAT)).values
    ragged = 30 - len(layout.presentations("public"))
    assert counts.tolist() == [ragged, ragged, 30, ragged + 1, ragged, ragged, ragged]


@pytest.mark.parametrize("step", [1, 3, 7])
def test_majaj__blocks_of_any_size_hold_the_same(tmp_path, step):
    path = layout.save(tmp_path / "a.nc", layout.columns("public"), layout.data("public"))
    whole = read(path)["public"].values
    order = np.argsort([r for _, r in layout.presentations("public")], kind="stable")
    shown = presented(np.array(layout.columns("public")["presentation"]["image_id"])[order], order)
    reader = TrialReader(Sites(path, "dicarlo.MajajHong2015", (1, 0, 2), np.nan), shown.trials)
    for start in range(0, 7, step):
        units = slice(start, min(7, start + step))
        got = reader((slice(1, 5), units, slice(0, 1), slice(1, 4)))
        np.testing.assert_array_equal(got, whole[1:5, units, :, 1:4])


def change(found, axis, name, values):
    if values is None:
        del found[axis][name]
    else:
        found[axis][name] = values


@pytest.mark.parametrize(
    ("axis", "name", "values", "why"),
    [
        ("presentation", "image_id", None, "no variable stimulus_id or image_id along presentation"),
        ("presentation", "image_id", [""] * 22, "22 presentations have no image's id"),
        ("presentation", "repetition", None, "no variable repetition along presentation"),
        ("presentation", "repetition", np.zeros(22, np.int64), "repetition 0 of the image .* is there twice"),
        ("presentation", "repetition", np.full(22, 0.5), "repetition is float64, or not all whole numbers"),
        (
            "presentation",
            "repetition",
            np.full(22, np.nan),
            "repetition is float64, or not all whole numbers",
        ),
        ("presentation", "repetition", ["x"] * 22, "repetition is object"),
        ("presentation", "variation", np.full(22, 4), r"variation is one of \[4\].*of another dataset"),
        ("presentation", "variation", np.full(22, np.nan), r"variation is one of \[nan\]"),
        ("presentation", "rxy", np.full(22, np.inf), "rxy holds 22 infinite"),
        ("neuroid", "neuroid_id", None, "no variable neuroid_id along neuroid"),
        ("neuroid", "neuroid_id", ["a"] * 7, "neuroid_id has 6 repeated ids, such as 'a'"),
        ("neuroid", "region", ["V1"] * 7, r"region of \['V1'\]; wanted .*another dataset"),
        ("time_bin", "time_bin_end", np.array([70]), "are no bins of time"),
        ("time_bin", "time_bin_start", None, "no variable time_bin_start along time_bin"),
    ],
)
def test_majaj__refuses_variables_that_do_not_fit(tmp_path, axis, name, values, why):
    found = layout.columns("public")
    change(found, axis, name, values)
    with pytest.raises(InputError, match=rf"assy\.nc.*{why}"):
        read(layout.save(tmp_path / "assy.nc", found, layout.data("public")))


def test_majaj__refuses_files_of_another_kind(tmp_path):
    path = layout.save(tmp_path / "a.nc", layout.columns("public"), layout.data("public"))
    with h5py.File(path, "a") as file:
        file["other"] = np.zeros((2, 2))
        file["short"] = np.zeros(3)
    dropped = read(path)["public"].attrs["dropped"]
    assert set(dropped) == {
        f"variable {one}, along no axis of dicarlo.MajajHong2015" for one in ("other", "short")
    }
    with h5py.File(path, "a") as file:
        del file["dicarlo.MajajHong2015"].attrs["DIMENSION_LIST"]
    with pytest.raises(InputError, match=r"a\.nc has 0 variables along presentation, neuroid, time_bin"):
        read(path)
    layout.write(tmp_path)
    (tmp_path / "assy_dicarlo_MajajHong2015_copy.nc").write_bytes(
        (tmp_path / "assy_dicarlo_MajajHong2015_public.nc").read_bytes()
    )
    with pytest.raises(InputError, match="holds the public images a second time"):
        read(tmp_path)


def test_majaj__refuses_values_that_were_never_written(tmp_path):
    path = layout.save(tmp_path / "a.nc", layout.columns("public"), layout.data("public"))
    with h5py.File(path, "a") as file:
        axes = [file[one] for one in ("neuroid", "presentation", "time_bin")]
        del file["dicarlo.MajajHong2015"]
        empty = file.create_dataset("dicarlo.MajajHong2015", (7, 22, 1), "f4")
        for n, axis in enumerate(axes):
            empty.dims[n].attach_scale(axis)
    with pytest.raises(InputError, match=r"declares \(7, 22, 1\) but holds 0 of 616 bytes"):
        read(path)


def test_majaj__an_infinite_value_is_refused_when_it_is_read(tmp_path):
    values = layout.data("public").copy()
    values[2, 3, 0] = np.inf
    path = layout.save(tmp_path / "a.nc", layout.columns("public"), values)
    with pytest.raises(InputError, match=r"a\.nc: dicarlo\.MajajHong2015 holds 1 infinite"):
        read(path)["public"].compute()


@pytest.mark.parametrize(
    ("at", "wrong"), [(0, bytes(16)), (8, b"\xf0" + b"\xff" * 7), (8, b"\xff" * 2 + bytes(6))]
)
def test_heaps__a_chain_that_does_not_end_is_refused(tmp_path, at, wrong):
    """The HDF5 library would follow the first two for ever."""
    path = layout.save(tmp_path / "a.nc", layout.columns("public"), layout.data("public"))
    hdf5_heaps.check(path)
    whole = bytearray(path.read_bytes())
    first = whole.index(hdf5_heaps.MARK) + hdf5_heaps.HEADER + at
    whole[first : first + len(wrong)] = wrong
    path.write_bytes(whole)
    with pytest.raises(
        InputError, match=r"a\.nc is damaged: the collection of texts at byte \d+ leads nowhere"
    ):
        read(path)


def test_majaj__survives_malformed_files(tmp_path):
    path = layout.save(tmp_path / "a.nc", layout.columns("public"), layout.data("public"))
    assert survive(partial(read, path), path, 56) > 10


def test_majaj__is_stored_with_its_labels(tmp_path):
    cube = read(layout.write(tmp_path))["public"]
    with stores.writing(tmp_path / "s", "majaj", cube, made_from={"x": 1}, **storage(cube)) as target:
        where = regions(target, cube)
        fill({"majaj": target}, [Block({"majaj": one}) for one in where], lazy_source(cube, "majaj"))
    again = stores.open_cube(tmp_path / "s", "majaj")
    xr.testing.assert_equal(again.compute(), cube.compute())
