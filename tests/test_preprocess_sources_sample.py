"""A real head: forward, inverse and regions of the MNE sample data, against MNE's own numbers."""

from dataclasses import replace

import mne
import numpy as np
import pytest
import xarray as xr

import stores
from pipeline.blocks import one_blas_thread
from pipeline.kernels import sources as kernels
from pipeline.preprocess.anatomy import FACES_SOURCES, SourceFiles, forward_of, read_cov, read_info
from pipeline.preprocess.inverse import inverse_operator
from pipeline.preprocess.labels import label_map
from pipeline.preprocess.source_cubes import sources
from stores.specs import SOURCES
from tests.shared import shared
from tests.source_heads import cubes_of

LABELS = ("Aud-lh", "Aud-rh", "Vis-lh", "Vis-rh")
PLACES = {"Aud-lh": (-50, -25, 25), "Aud-rh": (50, -25, 25), "Vis-lh": (-14, -75, 5), "Vis-rh": (14, -75, 5)}
"""Millimetres in MRI coordinates, about. The label files number the vertices of the whole cortex, the small
source space those of a thinned one, so for its estimates labels of the same names are made here."""
DSPM = replace(FACES_SOURCES, method="dSPM")
NORMAL = replace(FACES_SOURCES, orientation="normal")


@pytest.fixture(autouse=True)
def one_thread():
    with one_blas_thread():
        yield


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """Files, forward solution, covariance, the four evoked responses and their cubes of MEG."""
    folder = shared("data/mne-sample")
    made = tmp_path_factory.mktemp("sample")
    bem, src = made / "inner-bem-sol.fif", made / "small-src.fif"
    mne.write_bem_solution(bem, inner_skull(folder / "sample-320-320-320-bem-sol.fif"), verbose="error")
    in_metres(folder / "small-src.fif.gz").save(src, verbose="error")
    files = SourceFiles(
        "sample",
        info=folder / "test-ave.fif.gz",
        trans=folder / "sample_audvis_trunc-trans.fif",
        src=src,
        bem=bem,
        noise_cov=folder / "test-cov.fif.gz",
    )
    info = read_info(files.info)
    with one_blas_thread():
        forward = forward_of(files, info, FACES_SOURCES)
    info["bads"] = ["MEG 2443"]
    evoked = [
        one.pick("meg").drop_channels(info["bads"]).apply_baseline((None, 0), verbose="error")
        for one in mne.read_evokeds(files.info, verbose="error")
    ]
    values = np.stack([one.data for one in evoked])
    cubes = cubes_of(values, evoked[0].info, tmin=evoked[0].times[0], subject="sample")
    return info, forward, read_cov(files.noise_cov), evoked, cubes


def in_metres(path):
    """The source space of a file whose places are in thousands of metres."""
    src = mne.read_source_spaces(path, verbose="error")
    for one in src:
        assert np.abs(one["rr"]).max() < 1e-3
        one["rr"] *= 1000
    return src


def inner_skull(path):
    """The conductor of one layer, as in the study of faces, out of the file's three."""
    surfaces = mne.read_bem_solution(path, verbose="error")["surfs"]
    inner = [one for one in surfaces if one["id"] == mne.io.constants.FIFF.FIFFV_BEM_SURF_ID_BRAIN]
    inner[0]["sigma"] = 0.3
    return mne.make_bem_solution(inner, verbose="error")


def operator(sample, settings, nave=1):
    info, forward, cov, *_ = sample
    return inverse_operator(info, forward, settings, subject="sample", noise_cov=cov, nave=nave)


def by_mne(sample, settings, pick_ori=None):
    info, forward, cov, evoked, _ = sample
    made = mne.minimum_norm.make_inverse_operator(info, forward, cov, loose=0.2, depth=0.8, verbose="error")
    data = np.stack([one.data for one in evoked])
    epochs = mne.EpochsArray(data, evoked[0].info, tmin=evoked[0].times[0], verbose="error")
    return mne.minimum_norm.apply_inverse_epochs(
        epochs, made, 1 / 9, method=settings.method, pick_ori=pick_ori, verbose="error"
    )


def in_mri(forward):
    """Places of the sources in MRI coordinates, (source, 3), in millimetres."""
    back = mne.transforms.invert_transform(forward["mri_head_t"])
    return 1000 * mne.transforms.apply_trans(back, forward["source_rr"])


def near(forward, name):
    """A label of the sources within 25 mm of a place."""
    side = 0 if name.endswith("lh") else 1
    used = [one["vertno"] for one in forward["src"]]
    where = np.split(in_mri(forward), [len(used[0])])[side]
    there = np.linalg.norm(where - PLACES[name], axis=1) < 25
    return mne.Label(used[side][there], hemi=name[-2:], name=name, subject="sample")


def close(found, wanted):
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6 * np.abs(wanted).max())


@pytest.mark.parametrize(
    ("settings", "pick_ori", "mode"),
    [(FACES_SOURCES, None, "mean"), (NORMAL, "normal", "mean_flip"), (DSPM, None, "max")],
    ids=["norm-mean", "normal-mean_flip", "dSPM-max"],
)
def test_sample__regions_equal_those_of_mne(sample, settings, pick_ori, mode):
    _, forward, _, _, cubes = sample
    src, labels = forward["src"], [near(forward, name) for name in LABELS]
    made = operator(sample, settings)
    assert made.sizes["channel"] == 305
    whole = by_mne(sample, settings, pick_ori)
    close(sources(cubes, made).values[..., 0], np.stack([one.data for one in whole]))
    found = sources(cubes, made, [label_map(made, labels, mode=mode, src=src)])
    wanted = mne.extract_label_time_course(whole, labels, src, mode=mode, verbose="error")
    assert list(stores.validate(found, SOURCES).region.values) == list(LABELS)
    close(found.values[..., 0], np.stack(wanted))


def published():
    """The estimate of the response to a sound that MNE publishes: dSPM at 7928 sources of the whole cortex."""
    return mne.read_source_estimate(shared("data/mne-sample") / "sample_audvis_trunc-meg")


@pytest.mark.parametrize("mode", ["mean", "max"])
def test_sample__labels_of_the_published_estimate_equal_those_of_mne(mode):
    stc, folder = published(), shared("data/mne-sample")
    labels = [mne.read_label(folder / f"{name}.label") for name in LABELS]
    sides = np.repeat(np.array(["left", "right"], dtype=object), [len(one) for one in stc.vertices])
    vertices = np.concatenate(stc.vertices)
    ids = np.array([f"{side}-{n}" for side, n in zip(sides, vertices, strict=True)], dtype=object)
    coords = {"unit": ids, "vertex": ("unit", vertices), "hemisphere": ("unit", sides)}
    where = xr.DataArray(np.zeros(len(ids)), dims="unit", coords=coords)
    steps, needed = kernels.needed([label_map(where, labels, mode=mode).step], np.arange(len(labels)))
    wanted = mne.extract_label_time_course(stc, labels, None, mode=mode, verbose="error")
    estimate = stc.data[needed][None, :, :, None].astype(float)
    found = kernels.estimate([estimate], np.eye(len(needed))[:, None], steps, pool="signed")
    close(found[0, ..., 0], wanted)


@pytest.mark.parametrize(
    ("condition", "window", "region"),
    [
        ("Right Auditory", (0.07, 0.12), "Aud-lh"),
        ("Left visual", (0.08, 0.13), "Vis-rh"),
        ("Right visual", (0.08, 0.13), "Vis-lh"),
    ],
)
def test_sample__responses_are_where_and_when_they_should_be(sample, condition, window, region):
    """Sights reach the back of the opposite hemisphere, sounds the temporal lobe, about 90 to 120 ms on."""
    _, forward, _, evoked, cubes = sample
    which = [one.comment for one in evoked].index(condition)
    found = sources(cubes, operator(sample, DSPM, nave=evoked[which].nave)).isel(stimulus=which, repeat=0)
    there = found.sel(time=slice(*window))
    assert there.max() > 1.4 * found.sel(time=slice(None, 0)).max()
    assert int(there.max("time").argmax("unit")) in np.flatnonzero(
        np.isin(found.unit, members(forward, region))
    )


def members(forward, region):
    return [f"{region[-2:]}-{n:06d}" for n in near(forward, region).vertices]


def test_sample__a_sound_peaks_when_the_published_estimate_does(sample):
    _, forward, _, evoked, cubes = sample
    which = [one.comment for one in evoked].index("Right Auditory")
    made = operator(sample, DSPM, nave=evoked[which].nave)
    found = sources(cubes, made, [label_map(made, [near(forward, "Aud-lh")])]).isel(
        stimulus=which, unit=0, repeat=0
    )
    label = mne.read_label(shared("data/mne-sample") / "Aud-lh.label")
    stc = published()
    theirs = stc.times[stc.extract_label_time_course(label, None, mode="mean")[0].argmax()]
    ours = float(found.sel(time=slice(0, 0.24)).compute().idxmax("time"))
    assert abs(ours - theirs) < 0.03
