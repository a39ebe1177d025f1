"""Regions and morphs of sources, from FreeSurfer reconstructions, against MNE's own."""

import re
from dataclasses import replace
from pathlib import Path

import dask
import mne
import numpy as np
import pytest

import stores
from pipeline import preprocess
from pipeline.blocks import one_blas_thread
from pipeline.errors import VerbError
from pipeline.kernels import sources as kernels
from pipeline.kernels.envelope import envelope
from pipeline.preprocess.anatomy import FACES_SOURCES, SourceFiles, forward_of, read_info
from pipeline.preprocess.inverse import inverse_operator, operator_of
from pipeline.preprocess.labels import label_map, morph_map, read_labels
from pipeline.preprocess.settings import BANDS
from pipeline.preprocess.source_cubes import sources, store_sources
from stores.errors import InputError
from stores.specs import SOURCES
from tests.layouts import freesurfer
from tests.source_heads import SFREQ, cubes_of, epochs_of, noise_of, save_files, sensors

SMALL = replace(FACES_SOURCES, spacing="oct3", ico=2, morph_grade=2)
NORMAL = replace(SMALL, orientation="normal")
TIMES = 40


@pytest.fixture(autouse=True)
def one_thread():
    with one_blas_thread():
        yield


@pytest.fixture(scope="module")
def person(tmp_path_factory):
    """Files of one person and of the brain to morph to; the forward solution; trials."""
    folder = tmp_path_factory.mktemp("subjects")
    freesurfer.write(folder, "anna")
    freesurfer.write(folder, "fsaverage", size=1.1)
    info = sensors()
    saved = save_files(folder, info, noise_of(info))
    files = SourceFiles("sub-01", subjects_dir=folder, anatomy="anna", **saved)
    forward = forward_of(files, read_info(files.info), SMALL)
    scale = np.array([1e-13 if kind == "mag" else 1e-12 for kind in info.get_channel_types()])
    values = scale[:, None] * np.random.default_rng(1).standard_normal((3, len(scale), TIMES))
    return files, forward, info, values


@pytest.fixture(scope="module")
def operators(person):
    files, *_ = person
    return {"vector": operator_of(files, SMALL), "normal": operator_of(files, NORMAL)}


def by_mne(person, pick_ori):
    files, forward, info, values = person
    cov = mne.read_cov(files.noise_cov, verbose="error")
    made = mne.minimum_norm.make_inverse_operator(info, forward, cov, loose=0.2, depth=0.8, verbose="error")
    return mne.minimum_norm.apply_inverse_epochs(
        epochs_of(values, info), made, 1 / 9, method="MNE", pick_ori=pick_ori, verbose="error"
    )


def close(found, wanted, rtol=1e-6):
    np.testing.assert_allclose(found, wanted, rtol=rtol, atol=rtol * np.abs(wanted).max())


def test_preset__is_that_of_the_study():
    chosen = FACES_SOURCES
    assert (chosen.spacing, chosen.ico, chosen.conductivity, chosen.mindist) == ("oct6", 4, (0.3,), 5.0)
    assert (chosen.loose, chosen.depth, chosen.method, chosen.orientation) == (0.2, 0.8, "MNE", "vector")
    assert chosen.lambda2 == pytest.approx(1 / 9)
    assert (chosen.morph_to, chosen.morph_grade, chosen.parcellation) == ("fsaverage", 5, "aparc_sub")


def test_operator_of__is_made_from_a_reconstruction(person, operators):
    _, forward, info, _ = person
    made = operators["vector"]
    assert made.attrs["subject"] == "sub-01"
    assert made.attrs["dropped"] == {}
    again = inverse_operator(info, forward, SMALL, subject="sub-01", noise_cov=noise_of(info))
    assert list(made.unit.values) == list(again.unit.values)
    close(made.values, again.values)
    side = np.where(made.hemisphere == "left", -1, 1)
    where = np.stack([made.x.values - side * 0.036, made.y.values, made.z.values])
    np.testing.assert_allclose(np.linalg.norm(where, axis=0), 0.034, atol=1e-6)
    assert set(made.hemisphere.values) == {"left", "right"}


def test_operator_of__counts_sources_too_near_the_skull(person, operators):
    near = replace(SMALL, mindist=25.0)
    made = operator_of(person[0], near)
    dropped = operators["vector"].sizes["unit"] - made.sizes["unit"]
    assert dropped > 10
    assert made.attrs["dropped"] == {"sources less than 25 mm from the inner skull": dropped}


def test_operator_of__one_task_for_each_person(person, operators):
    files, *_ = person
    people = [replace(files, subject=name) for name in ("sub-01", "sub-02")]
    made = dask.compute(*(dask.delayed(operator_of)(one, SMALL) for one in people), scheduler="threads")
    assert [one.attrs["subject"] for one in made] == ["sub-01", "sub-02"]
    for one in made:
        np.testing.assert_array_equal(one.values, operators["vector"].values)


@pytest.mark.parametrize("mode", ["mean", "mean_flip", "max"])
def test_labels__of_signed_sources_equal_those_of_mne(person, operators, mode):
    files, forward, info, values = person
    labels = read_labels(files.subjects_dir, SMALL, anatomy="anna")
    labels.append(labels[0] + labels[4])  # opposite wedges, whose normals point away from each other
    labels[-1].name = "both ways-lh"
    if mode == "mean_flip":
        assert set(mne.label_sign_flip(labels[-1], forward["src"])) == {-1, 1}
    regions = label_map(operators["normal"], labels, mode=mode, src=forward["src"])
    found = stores.validate(sources(cubes_of(values, info), operators["normal"], [regions]), SOURCES)
    wanted = mne.extract_label_time_course(
        by_mne(person, "normal"), labels, forward["src"], mode=mode, verbose="error"
    )
    close(found.values[..., 0], np.stack(wanted))
    assert list(found.region.values) == [one.name for one in labels]
    assert list(found.hemisphere.values) == ["left" if one.hemi == "lh" else "right" for one in labels]


@pytest.mark.parametrize("mode", ["mean", "max"])
def test_labels__of_pooled_sources_equal_those_of_mne(person, operators, mode):
    files, forward, info, values = person
    labels = read_labels(files.subjects_dir, SMALL, anatomy="anna")
    labels.append(labels[0] + labels[1])
    assert labels[-1].hemi == "both"
    found = sources(
        cubes_of(values, info), operators["vector"], [label_map(operators["vector"], labels, mode=mode)]
    )
    wanted = mne.extract_label_time_course(
        by_mne(person, None), labels, forward["src"], mode=mode, verbose="error"
    )
    close(found.values[..., 0], np.stack(wanted))
    assert found.hemisphere.values[-1] == "both"


def test_labels__leave_out_what_the_atlas_calls_unknown(person):
    files, *_ = person
    names = [one.name for one in read_labels(files.subjects_dir, SMALL)]
    assert names == [f"wedge_{n}-{hemi}" for n in (1, 2, 3, 4) for hemi in ("lh", "rh")]


def test_labels__envelope_first_then_pooling_then_regions(person, operators):
    files, _, info, values = person
    labels = read_labels(files.subjects_dir, SMALL, anatomy="anna")
    regions = label_map(operators["vector"], labels)
    cubes = cubes_of(values, info)
    signed = sources(cubes, operators["vector"], pool="signed").values.reshape(3, -1, 3, TIMES)
    pooled = np.linalg.norm(envelope(signed, SFREQ, BANDS["alpha"]), axis=2)
    found = sources(cubes, operators["vector"], [regions], band="alpha", edges="distorted")
    close(found.values[..., 0], np.einsum("ls,kst->klt", regions.matrix.toarray(), pooled))


@pytest.fixture(scope="module")
def morph(person, operators):
    files, forward, *_ = person
    return morph_map(operators["vector"], forward["src"], files.subjects_dir, SMALL)


@pytest.mark.parametrize(("orientation", "pick_ori"), [("vector", None), ("normal", "normal")])
def test_morph__equals_that_of_mne(person, operators, morph, orientation, pick_ori):
    files, forward, info, values = person
    by = mne.compute_source_morph(
        forward["src"], "anna", "fsaverage", files.subjects_dir, spacing=2, verbose="error"
    )
    found = sources(cubes_of(values, info), operators[orientation], [morph])
    wanted = np.stack([by.apply(one).data for one in by_mne(person, pick_ori)])
    close(found.values[..., 0], wanted)
    assert list(found.vertex.values) == [*by.vertices_to[0], *by.vertices_to[1]]
    # The white surface of fsaverage here: balls of 37.4 mm at 39.6 mm from the middle.
    side = np.where(found.hemisphere == "left", -1, 1)
    where = np.stack([found.x.values - side * 0.0396, found.y.values, found.z.values])
    np.testing.assert_allclose(np.linalg.norm(where, axis=0), 0.0374, atol=1e-6)
    assert found.attrs["frame"] == "fsaverage surface"


@pytest.mark.parametrize("mode", ["mean", "max"])
def test_morph__then_regions_equal_those_of_mne(person, operators, morph, mode, tmp_path):
    files, forward, info, values = person
    labels = read_labels(files.subjects_dir, SMALL)
    by = mne.compute_source_morph(
        forward["src"], "anna", "fsaverage", files.subjects_dir, spacing=2, verbose="error"
    )
    wanted = mne.extract_label_time_course(
        [by.apply(one) for one in by_mne(person, None)], labels, None, mode=mode, verbose="error"
    )
    maps = [morph, label_map(morph, labels, mode=mode)]
    lazy = sources(cubes_of(values, info), operators["vector"], maps)
    ran = store_sources(tmp_path, "sub-01/regions", lazy, made_from={"mode": mode})
    found = stores.open_cube(tmp_path, "sub-01/regions")
    close(found.values[..., 0], np.stack(wanted))
    assert ran == 1
    assert found.attrs["maps"] == ["morph", mode]
    assert store_sources(tmp_path, "sub-01/regions", lazy, made_from={"mode": mode}) == 0


@pytest.mark.parametrize("pool", ["norm", "signed"])
@pytest.mark.parametrize("band", ["", "alpha"])
def test_store_sources__computes_no_block_twice(person, operators, tmp_path, monkeypatch, band, pool):
    _, _, info, values = person
    monkeypatch.setattr(stores.layout, "SHARD_BYTES", 2**15)
    lazy = sources(cubes_of(values, info), operators["vector"], band=band, pool=pool, edges="distorted")
    wanted, ran, estimate = lazy.values, [], kernels.estimate
    monkeypatch.setattr(kernels, "estimate", lambda *a, **o: ran.append(1) or estimate(*a, **o))
    shards = store_sources(tmp_path, "found", lazy, made_from={"band": band})
    assert shards >= 3
    # A unit whose three orientations two shards share is made for both.
    assert lazy.data.npartitions <= len(ran) <= lazy.data.npartitions * (1 if pool == "norm" else 1.5)
    close(stores.open_cube(tmp_path, "found").values, wanted, rtol=1e-12)


REFUSED = {
    "unknown mode": ({"mode": "mean_flp"}, r"unknown mode 'mean_flp'.*Did you mean 'mean_flip'"),
    "no normals": ({"mode": "mean_flip"}, "needs the normals"),
}


@pytest.mark.parametrize("options", REFUSED.values(), ids=REFUSED)
def test_label_map__refuses_modes_that_do_not_fit(person, operators, options):
    labels = read_labels(person[0].subjects_dir, SMALL, anatomy="anna")
    with pytest.raises(ValueError, match=options[1]):
        label_map(operators["normal"], labels, **options[0])


def test_label_map__refuses_labels_that_do_not_fit(person, operators):
    made = operators["vector"]
    label = read_labels(person[0].subjects_dir, SMALL, anatomy="anna")[0]
    unused = np.setdiff1d(np.arange(642), made.vertex.values[made.hemisphere == "left"])
    empty = mne.Label(unused[:3], hemi="lh", name="tiny-lh")
    with pytest.raises(VerbError, match="1 of 2 labels have no source: tiny-lh"):
        label_map(made, [label, empty])
    with pytest.raises(VerbError, match="1 names of labels appear twice, such as 'wedge_1-lh'"):
        label_map(made, [label, label])
    with pytest.raises(VerbError, match="no vertices on a cortex"):
        label_map(made.drop_vars("hemisphere"), [label])


def test_maps__of_other_sources_are_refused(person, operators, morph):
    files, forward, info, values = person
    cubes, labels = cubes_of(values, info), read_labels(files.subjects_dir, SMALL, anatomy="anna")
    regions = label_map(operators["vector"], labels)
    with pytest.raises(VerbError, match=r"map 2 \(mean\) is of 132 units"):
        sources(cubes, operators["vector"], [morph, regions])
    flip = label_map(operators["vector"], labels, mode="mean_flip", src=forward["src"])
    with pytest.raises(VerbError, match="along the normal"):
        sources(cubes, operators["vector"], [flip])
    fewer = forward["src"].copy()
    fewer[1]["vertno"] = fewer[1]["vertno"][3:]
    with pytest.raises(VerbError, match="has 63 sources in a hemisphere, and lacks 3 of these 66"):
        morph_map(operators["vector"], fewer, files.subjects_dir, SMALL)
    with pytest.raises(VerbError, match="not in the order of a source space"):
        morph_map(
            operators["vector"].isel(unit=slice(None, None, -1)), forward["src"], files.subjects_dir, SMALL
        )


@pytest.mark.parametrize("mode", ["mean", "mean_flip"])
def test_maps__of_sources_that_a_forward_solution_kept(person, operators, mode):
    """The source space on file has more sources than the operator; what is made is of the operator's alone."""
    files, forward, *_ = person
    labels = read_labels(files.subjects_dir, SMALL, anatomy="anna")
    kept = operators["normal"].isel(unit=slice(None, None, 2))
    thin = forward["src"].copy()
    for one, side in zip(thin, ("left", "right"), strict=True):
        one["vertno"] = kept.vertex.values[kept.hemisphere == side]
        one["nuse"] = len(one["vertno"])
    found = label_map(kept, labels, mode=mode, src=forward["src"])
    wanted = label_map(kept, labels, mode=mode, src=thin)
    np.testing.assert_array_equal(found.matrix.toarray(), wanted.matrix.toarray())
    assert found.sources == tuple(kept.unit.values)
    whole = morph_map(kept, forward["src"], files.subjects_dir, SMALL)
    by = mne.compute_source_morph(thin, "anna", "fsaverage", files.subjects_dir, spacing=2, verbose="error")
    np.testing.assert_array_equal(whole.matrix.toarray(), by.morph_mat.toarray())
    assert forward["src"][0]["nuse"] == 66


def broken(path, kind):
    if kind == "gone":
        path.unlink()
    elif kind == "foreign":
        path.write_bytes(b"not a fif file" * 100)
    else:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("kind", ["gone", "foreign", "cut"])
@pytest.mark.parametrize("field", ["info", "trans", "noise_cov"])
def test_operator_of__names_the_file_that_is_wrong(person, tmp_path, field, kind):
    files, _, info, _ = person
    copies = save_files(tmp_path, info, noise_of(info))
    broken(copies[field], kind)
    with pytest.raises(InputError, match=str(copies[field])):
        operator_of(replace(files, **copies), SMALL)


@pytest.mark.parametrize(
    ("changes", "settings", "message"),
    [
        ({"subjects_dir": None}, SMALL, "neither the file `src` nor a `subjects_dir`"),
        ({"anatomy": "berta"}, SMALL, "berta does not exist"),
        ({}, replace(SMALL, spacing="hex3"), "anna cannot be used as a FreeSurfer reconstruction"),
        ({}, replace(SMALL, conductivity=(0.3, 0.006, 0.3)), "anna cannot be used for its skull surfaces"),
    ],
)
def test_operator_of__says_what_the_reconstruction_lacks(person, changes, settings, message):
    with pytest.raises(InputError, match=message):
        operator_of(replace(person[0], **changes), settings)


def test_read_labels__says_which_parcellation_is_missing(person):
    with pytest.raises(InputError, match="label cannot be used for the parcellation 'schaefer'"):
        read_labels(person[0].subjects_dir, replace(SMALL, parcellation="schaefer"))


def test_docs__example_runs(person, tmp_path, monkeypatch):
    """The example of the page, in order, with a small brain and settings that fit it."""
    files, _, info, values = person
    monkeypatch.setattr(preprocess, "FACES_SOURCES", SMALL)
    mag, grad = cubes_of(values, info)
    names = {"folder": files.subjects_dir, "mag": mag, "grad": grad, "root": tmp_path}
    page = (Path(__file__).parents[1] / "docs" / "sources.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    for block in blocks:
        exec(block, names)
    assert len(blocks) == 2
    assert stores.open_cube(tmp_path, "sub-01/regions").sizes["unit"] == 8
    assert np.isfinite(names["theta"].values).all()
