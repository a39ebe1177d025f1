"""Sensors to sources: MNE's own numbers, planted dipoles found, channels joined by name, out of core."""

from dataclasses import replace

import dask
import dask.array as da
import mne
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import stores
from pipeline import preprocess as pp
from pipeline.blocks import one_blas_thread
from pipeline.errors import PlanError, VerbError
from pipeline.kernels.envelope import envelope
from pipeline.plan import plan
from pipeline.preprocess.anatomy import FACES_SOURCES, SourceFiles, source_space
from pipeline.preprocess.inverse import inverse_operator, noise_covariance
from pipeline.preprocess.labels import label_map, read_labels
from pipeline.preprocess.settings import BANDS
from pipeline.preprocess.source_cubes import sources, store_sources
from pipeline.preprocess.source_work import access, parts_within
from stores.errors import SchemaError
from stores.layout import layout
from stores.specs import SOURCES
from tests.layouts import freesurfer
from tests.source_heads import SFREQ, cubes_of, epochs_of, head_to_mri, noise_of, planted, sensors
from tests.workers import workers

COARSE = replace(FACES_SOURCES, spacing="oct3", reduce_rank=True)
METHODS = ("MNE", "dSPM", "sLORETA", "LCMV")
TIMES = 60
TIGHT = 2 * 10**6
MADE = {}


@pytest.fixture(autouse=True)
def one_thread():
    """MNE's own products as well: on a shared machine BLAS threads wait for each other."""
    with one_blas_thread():
        yield


@pytest.fixture(scope="module")
def head(tmp_path_factory):
    """Sensors, noise, and forward solutions of a sphere with 132 and with 1284 sources on two round cortices."""
    folder = tmp_path_factory.mktemp("subjects")
    freesurfer.write(folder, "sub-01")
    info = sensors()
    files = SourceFiles("sub-01", folder, folder, subjects_dir=folder)
    sphere = mne.make_sphere_model(r0=(0, 0, 0), head_radius=0.09, verbose="error")
    made = {
        name: mne.make_forward_solution(
            info,
            head_to_mri(),
            source_space(files, replace(COARSE, spacing=name)),
            sphere,
            eeg=False,
            verbose="error",
        )
        for name in ("oct3", "all")
    }
    return info, noise_of(info), made, folder


@pytest.fixture(scope="module")
def trials(head):
    """Noise and two dipoles, as an array and as cubes."""
    info, _, forwards, _ = head
    times = np.arange(TIMES) / SFREQ
    waves = {
        20: 4e-8 * np.sin(2 * np.pi * 10 * times) * (times > 0.1),
        100: 4e-8 * np.cos(2 * np.pi * 7 * times),
    }
    values = planted(forwards["oct3"], info, waves, normal=normals(forwards["oct3"]))
    return values, cubes_of(values, info)


def normals(forward):
    return np.concatenate([one["nn"][one["vertno"]] for one in forward["src"]])


def data_cov(values, info):
    return mne.compute_covariance(epochs_of(values, info), tmin=0.0, verbose="error")


def operator(head, values, *, spacing="oct3", **changes):
    info, cov, forwards, _ = head
    chosen = replace(COARSE, spacing=spacing, **changes)
    data = data_cov(values, info) if chosen.method == "LCMV" else None
    key = (id(forwards), chosen)
    if data is not None or key not in MADE:  # those of LCMV depend on the trials
        MADE[key] = inverse_operator(
            info, forwards[spacing], chosen, subject="sub-01", noise_cov=cov, data_cov=data
        )
    return MADE[key].copy()


def by_mne(head, values, method, pick_ori):
    """(stimulus, source[, orientation], time) as MNE estimates it."""
    info, cov, forwards, _ = head
    epochs = epochs_of(values, info)
    if method == "LCMV":
        forward = mne.convert_forward_solution(forwards["oct3"], surf_ori=True, verbose="error")
        made = mne.beamformer.make_lcmv(
            info,
            forward,
            data_cov(values, info),
            noise_cov=cov,
            pick_ori=pick_ori,
            weight_norm="unit-noise-gain-invariant",
            reduce_rank=True,
            verbose="error",
        )
        found = mne.beamformer.apply_lcmv_epochs(epochs, made, verbose="error")
    else:
        made = mne.minimum_norm.make_inverse_operator(
            info, forwards["oct3"], cov, loose=0.2, depth=0.8, verbose="error"
        )
        found = mne.minimum_norm.apply_inverse_epochs(
            epochs, made, 1 / 9, method=method, pick_ori=pick_ori, verbose="error"
        )
    return np.stack([one.data for one in found])


def close(found, wanted, rtol=1e-6):
    """Equal to a part in a million of the largest value."""
    np.testing.assert_allclose(found, wanted, rtol=rtol, atol=rtol * np.abs(wanted).max())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("orientation", "pool", "pick_ori"),
    [("vector", "norm", None), ("vector", "signed", "vector"), ("normal", "signed", "normal")],
)
def test_sources__equal_those_of_mne(head, trials, method, orientation, pool, pick_ori):
    values, cubes = trials
    made = operator(head, values, method=method, orientation=orientation)
    found = stores.validate(sources(cubes, made, pool=pool), SOURCES)
    wanted = by_mne(head, values, method, pick_ori)
    close(found.values[..., 0], wanted.reshape(len(values), -1, TIMES))
    assert found.attrs["units"] == {"LCMV": "a.u.", "MNE": "A m"}.get(method, method)


def test_operator__has_the_projections_in_it(head, trials):
    values, _ = trials
    info, cov, forwards, _ = head
    raw = mne.io.RawArray(np.concatenate(list(values), axis=1), info.copy(), verbose="error")
    projected = info.copy()
    projected["projs"].extend(mne.compute_proj_raw(raw, n_mag=2, n_grad=1, verbose="error"))
    made = inverse_operator(projected, forwards["oct3"], COARSE, subject="sub-01", noise_cov=cov)
    found = sources(cubes_of(values, projected), made).values
    close(found[..., 0], by_mne((projected, cov, forwards, None), values, "MNE", None))
    epochs = epochs_of(values, projected).apply_proj(verbose="error").get_data(copy=False)
    assert np.abs(epochs - values).max() > 0.1 * np.abs(values).max()
    close(sources(cubes_of(epochs, projected), made).values, found)


def test_operator__of_means_trusts_them_more(head, trials):
    info, cov, forwards, _ = head
    values, cubes = trials
    dspm = replace(COARSE, method="dSPM")  # of the plain minimum norm, all scales cancel
    made = inverse_operator(info, forwards["oct3"], dspm, subject="sub-01", noise_cov=cov, nave=40)
    inverse = mne.minimum_norm.make_inverse_operator(info, forwards["oct3"], cov, loose=0.2, verbose="error")
    mean = mne.EvokedArray(values[0], info, tmin=-0.1, nave=40, verbose="error")
    wanted = mne.minimum_norm.apply_inverse(mean, inverse, 1 / 9, method="dSPM", verbose="error")
    close(sources(cubes, made).values[0, ..., 0], wanted.data)


def test_noise_covariance__is_that_of_mne_and_skips_missing_trials(head, trials):
    info, *_ = head
    values, _ = trials
    missing = np.concatenate([values, np.full_like(values[:1], np.nan)])
    cubes = cubes_of(missing, info)
    wanted = mne.compute_covariance(epochs_of(values, info), tmax=0.0, verbose="error")
    with pytest.warns(RuntimeWarning, match="Too few samples"):
        found = noise_covariance(cubes[::-1], info, method="empirical")
    order = [wanted.ch_names.index(name) for name in found.ch_names]
    assert order[0] == 1
    np.testing.assert_allclose(found.data, wanted.data[np.ix_(order, order)], rtol=1e-9)
    with pytest.raises(
        VerbError, match=r"no trial has finite values from None to .* the cube's times are -0"
    ):
        noise_covariance(cubes[0].isel(stimulus=[-1]), info)
    few = cubes[0].isel(unit=slice(4))
    assert noise_covariance(few, info, tmax=None)["method"] == "shrunk"


# Sources lie 5 mm from each other here, and the sensors 2 to 4 cm away.
ERROR_MM = {"MNE": 15.0, "dSPM": 15.0, "sLORETA": 5.0, "LCMV": 5.0}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("source", [120, 500, 900])
def test_sources__find_a_planted_dipole(head, method, source):
    info, _, forwards, _ = head
    times = np.arange(TIMES) / SFREQ - 0.1
    wave = 5e-8 * np.exp(-(((times - 0.1) / 0.03) ** 2)) * np.sin(2 * np.pi * 12 * times)
    values = planted(forwards["all"], info, {source: wave}, normal=normals(forwards["all"]), trials=20)
    made = operator(head, values, spacing="all", method=method)
    cubes = cubes_of(values, info)
    mean = sources(
        [one.mean("stimulus", keepdims=True).assign_coords(stimulus=["mean"]) for one in cubes], made
    )
    power = np.square(mean.values[0, ..., 0]).sum(axis=1)
    where = np.stack([made[axis].values for axis in "xyz"], axis=1)
    error = 1000 * np.linalg.norm(where[power.argmax()] - where[source])
    assert error <= ERROR_MM[method]
    signed = sources(cubes, operator(head, values, spacing="all", method=method, orientation="normal"))
    course = signed.mean("stimulus").values[source, :, 0]
    assert abs(np.corrcoef(course, wave)[0, 1]) > 0.95


def test_sources__from_a_recording(head):
    """Two dipoles, each answering to one picture, from the continuous recording to the place of either."""
    info, _, forwards, _ = head
    gain, rng = forwards["all"]["sol"]["data"].reshape(len(info["ch_names"]), -1, 3), np.random.default_rng(5)
    where, shown = {"face": 200, "house": 1000}, rng.permutation(["face", "house"] * 20)
    data = rng.standard_normal((120, 42 * 200)) * np.sqrt(np.diag(noise_of(info).data))[:, None]
    stim, wave = np.zeros(42 * 200), 5e-8 * np.hanning(40)
    for second, name in enumerate(shown, start=1):
        stim[second * 200 : second * 200 + 5] = 1 + (name == "house")
        field = gain[:, where[name]] @ normals(forwards["all"])[where[name]]
        data[:, second * 200 + 20 : second * 200 + 60] += np.outer(field, wave)
    raw = mne.io.RawArray(data, info, verbose="error")
    triggers = mne.io.RawArray(stim[None], mne.create_info(["STI"], SFREQ, "stim"), verbose="error")
    raw.add_channels([triggers], force_update_info=True)
    trials = pp.find_trials(raw, pp.Triggers({1: "face", 2: "house"}))
    cut = pp.cut_epochs(raw, trials, pp.EpochSettings(tmin=-0.2, tmax=0.5), run="1")
    cubes = [
        pp.epochs_cube([cut], kind=kind, subject="sub-01", dataset="made up") for kind in ("mag", "grad")
    ]
    cov = pp.noise_covariance(cubes, raw.info, method="diagonal_fixed")
    chosen = replace(COARSE, method="sLORETA")
    made = inverse_operator(raw.info, forwards["all"], chosen, subject="sub-01", noise_cov=cov)
    found = pp.sources(cubes, made).mean("repeat").sel(time=0.2).compute()
    places = np.stack([made[axis].values for axis in "xyz"], axis=1)
    for name, source in where.items():
        peak = places[int(found.sel(stimulus=name).argmax("unit"))]
        assert 1000 * np.linalg.norm(peak - places[source]) <= ERROR_MM["sLORETA"]


def test_sources__channels_are_joined_by_name(head, trials):
    values, cubes = trials
    made = operator(head, values)
    rng = np.random.default_rng(0)
    shuffled = [one.isel(unit=rng.permutation(one.sizes["unit"])) for one in cubes]
    assert list(shuffled[0].channel.values) != list(cubes[0].channel.values)
    close(sources(shuffled[::-1], made).values, sources(cubes, made).values, rtol=1e-9)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda mag, grad: [mag], r"60 of the operator are missing: GRAD000, GRAD001, .*, \.\.\.$"),
        (
            lambda mag, grad: [mag.isel(unit=slice(2, None)), grad],
            "2 of the operator are missing: MAG000, MAG001$",
        ),
        (lambda mag, grad: [mag, grad, grad], "60 appear twice: GRAD000"),
        (
            lambda mag, grad: [renamed(mag, "MAG003", "EOG1"), grad],
            "1 of the operator are missing: MAG003; 1 are not in the operator: EOG1. Leave those out with",
        ),
        (
            lambda mag, grad: [mag.assign_attrs(units="z"), grad],
            "in 'z', and the operator takes .* in T. Sensors that",
        ),
        (lambda mag, grad: [mag.assign_attrs(units="T/m"), grad], "in 'T/m', and the operator takes .* in T"),
        (
            lambda mag, grad: [mag.assign_attrs(subject="sub-02"), grad],
            "of 'sub-02', the operator of 'sub-01'",
        ),
        (lambda mag, grad: [mag, grad.isel(stimulus=[1, 0, 2, 3])], "different values of 'stimulus'"),
        (lambda mag, grad: [mag, grad.isel(time=slice(1, None))], "different values of 'time'"),
        (lambda mag, grad: [], "no cube of sensors"),
    ],
)
def test_sources__refuse_sensors_that_do_not_fit(head, trials, spoil, message):
    values, cubes = trials
    with pytest.raises(VerbError, match=message):
        sources(spoil(*cubes), operator(head, values))


def renamed(cube, old, new):
    names = [new if name == old else name for name in cube.channel.values]
    return cube.assign_coords(channel=("unit", np.array(names, dtype=object)))


def test_sources__refuse_what_is_no_cube_or_no_operator(head, trials):
    values, (mag, grad) = trials
    made = operator(head, values)
    with pytest.raises(SchemaError, match="dims"):
        sources([mag.isel(time=0), grad], made)
    with pytest.raises(SchemaError, match="empty"):
        sources([one.isel(stimulus=[]) for one in (mag, grad)], made)
    with pytest.raises(SchemaError, match="not a valid source_operator"):
        sources([mag, grad], made.drop_vars("channel"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "dSMP"}, "unknown method 'dSMP'.*Did you mean 'dSPM'"),
        ({"orientation": "free"}, "unknown orientation 'free'"),
        ({"loose": 2.0}, "no MNE operator of sub-01: loose"),
        ({"method": "LCMV", "reduce_rank": False}, "no LCMV operator of sub-01: Singular matrix"),
    ],
)
def test_operator__refuses_settings_that_do_not_fit(head, trials, changes, message):
    with pytest.raises(ValueError, match=message):
        operator(head, trials[0], **changes)


def test_operator__says_which_covariance_is_missing(head):
    info, _, forwards, _ = head
    with pytest.raises(VerbError, match="MNE needs a noise covariance"):
        inverse_operator(info, forwards["oct3"], COARSE, subject="a")
    with pytest.raises(VerbError, match="LCMV needs a covariance of the data"):
        inverse_operator(info, forwards["oct3"], replace(COARSE, method="LCMV"), subject="a")


def test_operator__leaves_bad_channels_out(head, trials):
    info, cov, forwards, _ = head
    values, cubes = trials
    bad = info.copy()
    bad["bads"] = ["GRAD007"]
    made = inverse_operator(bad, forwards["oct3"], COARSE, subject="sub-01", noise_cov=cov)
    assert "GRAD007" not in made.channel.values
    assert made.attrs["bads"] == ["GRAD007"]
    with pytest.raises(VerbError, match="1 are not in the operator: GRAD007"):
        sources(cubes, made)
    kept = [one.isel(unit=one.channel.isin(made.channel.values)) for one in cubes]
    close(sources(kept, made).values[..., 0], by_mne((bad, cov, forwards, None), values, "MNE", None))


def test_operator__of_a_volume(head):
    info, cov, _, _ = head
    sphere = mne.make_sphere_model(r0=(0, 0, 0), head_radius=0.09, verbose="error")
    src = mne.setup_volume_source_space(pos=40.0, sphere=sphere, mindist=10.0, exclude=20.0, verbose="error")
    forward = mne.make_forward_solution(info, head_to_mri(), src, sphere, eeg=False, verbose="error")
    made = inverse_operator(info, forward, replace(COARSE, loose=1.0), subject="sub-01", noise_cov=cov)
    vertices = forward["src"][0]["vertno"]
    assert list(made.unit.values) == [f"vol0-{n:06d}" for n in vertices]
    assert "hemisphere" not in made.coords
    places = np.stack([made[axis] for axis in "xyz"], axis=1)
    np.testing.assert_allclose(places, forward["src"][0]["rr"][vertices], atol=1e-9)
    assert sources(cubes_of(np.zeros((1, 120, 2)), info), made).shape == (1, len(vertices), 2, 1)
    with pytest.raises(VerbError, match="loose"):
        inverse_operator(info, forward, COARSE, subject="sub-01", noise_cov=cov)


@pytest.mark.parametrize("pool", ["norm", "signed"])
@pytest.mark.parametrize("band", ["", "alpha"])
def test_sources__do_not_depend_on_chunks_or_memory(head, trials, pool, band, computing_forbidden):
    values, _ = trials
    info, _, _, folder = head
    made = operator(head, values)
    labels = label_map(made, read_labels(folder, COARSE, anatomy="sub-01"))
    cubes = cubes_of(np.stack([values, 2 * values], axis=-1), info)
    wanted = sources(cubes, made, [labels], pool=pool, band=band, edges="distorted").values
    with computing_forbidden():
        chunked = [in_blocks(one, stimulus=3, unit=50, time=7, repeat=1) for one in cubes]
        weights = in_blocks(made, unit=40)
        lazy = sources(chunked, weights, [labels], pool=pool, band=band, edges="distorted", task_bytes=TIGHT)
        assert lazy.data.npartitions >= 4
        assert plan(lazy).peak_bytes <= TIGHT
    for scheduler in ("synchronous", "threads"):
        with dask.config.set(scheduler=scheduler):
            close(lazy.values, wanted, rtol=1e-10)


def in_blocks(array, **sizes):
    """Lazy values with labels in memory, as stored cubes have them."""
    return array.copy(data=array.variable.chunk(sizes).data)


def test_sources__refuse_with_numbers_what_cannot_fit(head, trials):
    values, cubes = trials
    with pytest.raises(PlanError, match=r"one trial needs .* and a task may hold 10 kB\. .* or fewer times"):
        sources(cubes, operator(head, values), band="alpha", edges="distorted", task_bytes=10_000)


def test_sources__a_block_of_the_store_is_computed_once(head, trials):
    """Blocks of units are those of the files a stored result has."""
    values, cubes = trials
    made = operator(head, values)
    for band, stimuli in (("", 1000), ("alpha", 997)):
        wide = [
            xr.DataArray(
                da.broadcast_to(np.float32(1e-13), (stimuli, *one.shape[1:])),  # it takes no memory
                dims=one.dims,
                coords={
                    **one.isel(stimulus=0, drop=True).coords,
                    "stimulus": [f"s{n:04d}" for n in range(stimuli)],
                },
                attrs=one.attrs,
            )
            for one in cubes
        ]
        found = sources(wide, made, pool="signed", band=band, edges="distorted", task_bytes=10**8)
        best = access(found.shape, found.dtype, band != "")
        shard = layout(found.dims, found.shape, found.dtype, **best).shard
        assert any(size < whole for size, whole in zip(shard, found.shape, strict=True))
        for chunks, size, whole in zip(found.data.chunks, shard, found.shape, strict=True):
            edges = set(np.cumsum(chunks).tolist())
            assert edges.issuperset(range(size, whole, size))


@settings(max_examples=60)
@given(
    count=st.integers(1, 200),
    shard=st.integers(1, 400),
    kept=st.sampled_from([1, 3]),
    step=st.integers(1, 200),
)
def test_parts__lie_in_one_shard_each_but_single_units(count, shard, kept, step):
    ends = parts_within(count, shard, kept, step)
    assert [n for start, stop in ends for n in range(start, stop)] == list(range(count))
    for start, stop in ends:
        assert stop - start <= step
        assert stop - start == 1 or start * kept // shard == (stop * kept - 1) // shard


def test_sources__of_float32_stay_single_and_right(head, trials):
    values, cubes = trials
    made = operator(head, values)
    found = sources([one.astype(np.float32) for one in cubes], made)
    assert found.dtype == np.float32
    close(found.values, sources(cubes, made).values, rtol=1e-5)


def test_sources__keep_missing_trials_missing(head, trials):
    values, _ = trials
    info, *_ = head
    made = operator(head, values)
    holed = np.stack([values, np.full_like(values, np.nan)], axis=-1)
    found = sources(cubes_of(holed, info), made)
    assert np.isnan(found.values[..., 1]).all()
    close(found.values[..., 0], sources(cubes_of(values, info), made).values[..., 0], rtol=1e-10)


def test_sources__envelopes_are_of_signed_sources(head, trials):
    values, cubes = trials
    made = operator(head, values)
    signed = sources(cubes, made, pool="signed").values.reshape(len(values), -1, 3, TIMES)
    wanted = np.linalg.norm(envelope(signed, SFREQ, BANDS["alpha"]), axis=2)
    found = sources(cubes, made, band="alpha", edges="distorted")
    close(found.values[..., 0], wanted)
    assert found.unit.values[0] == "lh-000000@alpha"
    assert set(found.band.values) == {"alpha"}
    with pytest.raises(VerbError, match="accept that"):
        sources(cubes, made, band="alpha")
    assert found.attrs["units"] == "A m"


def test_sources__an_oscillation_has_its_own_envelope(head):
    """A 10 Hz source of slowly growing amplitude: pooled first, it would be a 20 Hz one and leave the band."""
    info, _, forwards, _ = head
    times = np.arange(1000) / SFREQ
    grows = 3e-8 * (0.3 + 0.7 * times / times[-1])
    values = planted(
        forwards["oct3"],
        info,
        {30: grows * np.sin(2 * np.pi * 10 * times)},
        normal=normals(forwards["oct3"]),
        trials=1,
    )
    made = operator(head, values)
    found = sources(cubes_of(values, info), made, band="alpha").values[0, 30, :, 0]
    assert np.corrcoef(found[100:-100], grows[100:-100])[0, 1] > 0.99


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.assign_attrs(quantity="envelope of the field"), "which is not signed"),
        (lambda c: c.isel(time=[0, 1, 5, 9]), "unevenly spaced"),
    ],
)
def test_sources__envelopes_need_signed_even_samples(head, trials, change, message):
    values, cubes = trials
    with pytest.raises(VerbError, match=message):
        sources([change(one) for one in cubes], operator(head, values), band="alpha")


def test_sources__unknown_words_offer_near_ones(head, trials):
    values, cubes = trials
    made = operator(head, values)
    with pytest.raises(ValueError, match=r"unknown band 'alhpa'.*Did you mean 'alpha'"):
        sources(cubes, made, band="alhpa")
    with pytest.raises(ValueError, match=r"unknown pool 'sign'.*Did you mean 'signed'"):
        sources(cubes, made, pool="sign")


def test_sources__of_eeg_equal_those_of_mne(head):
    """Electrodes need their average reference as a projection, which the operator then has in it."""
    folder = head[3]
    montage = mne.channels.make_standard_montage("biosemi16")
    info = mne.create_info(montage.ch_names, SFREQ, "eeg")
    info.set_montage(montage)
    values = 1e-6 * np.random.default_rng(3).standard_normal((3, 16, 30))
    epochs = epochs_of(values, info)
    epochs.set_eeg_reference("average", projection=True, verbose="error")
    cov = mne.make_ad_hoc_cov(epochs.info, verbose="error")
    sphere = mne.make_sphere_model(r0=(0, 0, 0), head_radius=0.095, verbose="error")
    src = source_space(SourceFiles("sub-01", folder, folder, subjects_dir=folder), COARSE)
    forward = mne.make_forward_solution(epochs.info, head_to_mri(), src, sphere, meg=False, verbose="error")
    inverse = mne.minimum_norm.make_inverse_operator(epochs.info, forward, cov, loose=0.2, verbose="error")
    wanted = mne.minimum_norm.apply_inverse_epochs(epochs, inverse, 1 / 9, method="MNE", verbose="error")
    made = inverse_operator(epochs.info, forward, COARSE, subject="sub-01", noise_cov=cov)
    (cube,) = cubes_of(values, epochs.info)
    close(sources(cube, made).values[..., 0], np.stack([one.data for one in wanted]))
    shifted = cube + 1e-5  # the same in every electrode: what an average reference takes away
    close(sources(shifted.assign_attrs(cube.attrs), made).values, sources(cube, made).values)


@pytest.mark.slow
def test_sources__same_bits_on_workers(head, trials, tmp_path):
    values, cubes = trials
    made = operator(head, values)
    wanted = sources(cubes, made, task_bytes=TIGHT)
    with workers(2) as client:
        assert wanted.values.tobytes() == wanted.compute(scheduler="synchronous").values.tobytes()
        assert store_sources(tmp_path, "found", wanted, made_from={"seed": 0}, client=client) == 1
    assert (
        stores.open_cube(tmp_path, "found").values.tobytes()
        == wanted.compute(scheduler="synchronous").values.tobytes()
    )


def test_sources__from_stored_cubes_and_a_stored_operator(head, trials, tmp_path):
    values, cubes = trials
    made = operator(head, values)
    stores.save(tmp_path, "sub-01/operator", made, made_from={"settings": made.attrs["settings"]})
    for one in cubes:
        stores.save(tmp_path, f"sub-01/{one.name}", one, made_from={"seed": 0})
    opened = [stores.open_cube(tmp_path, f"sub-01/{name}") for name in ("mag", "grad", "operator")]
    found = sources(opened[:2], opened[2])
    stores.save(tmp_path, "sub-01/sources", found, made_from={"pool": "norm"})
    close(stores.open_cube(tmp_path, "sub-01/sources").values, sources(cubes, made).values, rtol=1e-12)
