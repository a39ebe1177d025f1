import numpy as np
import pytest
import xarray as xr

from stores.dims import CUBE, REPEAT, STIMULUS, TIME, UNIT
from stores.errors import AlignError, SchemaError
from stores.images import image_cube, pixels_of
from stores.simulate import CATEGORIES, RECIPES, simulate
from stores.simulate_brains import simulate_subjects
from stores.specs import MODALITIES, SPECS
from stores.validate import validate

NOISY = [name for name in MODALITIES if name not in ("images", "activations")]


def columns_r(a, b):
    """Pearson r of each unit; in float64, since squares of 1e-13 T underflow."""
    a, b = a.astype(float), b.astype(float)
    a, b = a - a.mean(0), b - b.mean(0)
    return (a * b).sum(0) / np.sqrt((a**2).sum(0) * (b**2).sum(0))


def correlation_rdm(patterns):
    return (1 - np.corrcoef(patterns))[np.triu_indices(len(patterns), 1)]


@pytest.mark.parametrize("modality", MODALITIES)
def test_simulate__passes_the_spec_of_every_modality(modality):
    cube = simulate(modality)
    assert validate(cube, SPECS[modality]) is cube
    assert cube.attrs["dataset"] == "simulated"
    assert cube.sizes[STIMULUS] == 60


def test_recipes__are_those_of_all_modalities():
    assert set(RECIPES) == set(MODALITIES)


@pytest.mark.parametrize("modality", MODALITIES)
def test_simulate__is_decided_by_its_seed_alone(modality):
    first = simulate(modality, stimuli=12, seed=3)
    simulate("fmri", seed=9)
    assert first.identical(simulate(modality, stimuli=12, seed=3))
    assert not np.array_equal(first.values, simulate(modality, stimuli=12, seed=4).values)


@pytest.mark.parametrize("modality", NOISY)
def test_simulate__has_the_planted_reliability(modality):
    times = 1 if SPECS[modality].timeless else None
    cube = simulate(modality, stimuli=1500, units=12, times=times, repeats=2, seed=1)
    at = int(cube.true_gain.values.argmax())
    assert cube.true_gain[at] == 1
    got = columns_r(*(cube.isel({TIME: at, REPEAT: n}).values for n in (0, 1)))
    np.testing.assert_allclose(got, cube.true_reliability, atol=0.09)
    assert np.ptp(got) > 0.2


def test_simulate__without_noise_is_the_signal():
    truth, noisy = (simulate("meg_epochs", noise=noise, repeats=80) for noise in (0, 1))
    assert (truth.true_reliability == 1).all()
    assert (truth.isel({REPEAT: 0}) == truth.isel({REPEAT: 79})).all()
    before = truth.where(truth[TIME] <= 0, drop=True)
    assert (before == 0).all()
    at = int(truth.true_gain.values.argmax())
    r = columns_r(truth.mean(REPEAT).values[:, :, at], noisy.mean(REPEAT).values[:, :, at])
    assert r.min() > 0.9


def test_simulate__spikes_are_poisson_counts_around_their_rates():
    counts = simulate("spikes", stimuli=20, units=5, times=4, repeats=400)
    rates = simulate("spikes", stimuli=20, units=5, times=4, repeats=400, noise=0)
    assert counts.dtype.kind == "u"
    mean, variance = counts.mean(REPEAT), counts.var(REPEAT)
    np.testing.assert_allclose(mean / rates.mean(REPEAT), 1, atol=0.2)
    assert float((variance / mean).mean()) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("modality", NOISY)
def test_simulate__ragged_repeats_are_nan_after_the_last_presentation(modality):
    cube = simulate(modality, repeats=5, ragged=True)
    assert cube.dtype.kind == "f"
    there = cube.notnull().transpose(STIMULUS, REPEAT, UNIT, TIME).values
    assert (there.all((2, 3)) == there.any((2, 3))).all()
    np.testing.assert_array_equal(there[:, :, 0, 0].sum(1), cube.presentations)
    assert set(cube.presentations.values) == {1, 2, 3, 4, 5}
    whole = simulate(modality, repeats=5)
    assert (cube.fillna(whole) == whole).all()


def test_simulate__modalities_share_stimuli_and_geometry():
    brain, network = simulate("fmri", noise=0, units=300), simulate("activations", units=320)
    assert list(brain[STIMULUS].values) == list(simulate("images")[STIMULUS].values)
    a, b = (correlation_rdm(cube.isel({TIME: 0, REPEAT: 0}).values) for cube in (brain, network))
    assert np.corrcoef(a, b)[0, 1] > 0.85
    other = correlation_rdm(simulate("activations", units=320, seed=5).isel({TIME: 0, REPEAT: 0}).values)
    assert abs(np.corrcoef(a, other)[0, 1]) < 0.6


def test_simulate__categories_are_nearer_within_than_between():
    cube = simulate("activations", units=400)
    same = np.equal.outer(cube.category.values, cube.category.values)[np.triu_indices(60, 1)]
    rdm = correlation_rdm(cube.isel({TIME: 0, REPEAT: 0}).values)
    assert rdm[same].mean() < rdm[~same].mean() - 0.2


def test_simulate__images_show_their_shapes():
    cube = simulate("images", stimuli=12, units=3 * 24 * 24, categories=6)
    pictures = pixels_of(cube)
    assert pictures.shape == (12, 24, 24, 3)
    assert set(cube.category.values) == set(CATEGORIES)
    # The shape stands out from the ground, which is what the picture's corner shows.
    far = abs(pictures.astype(float) - pictures[:, :2, :2].mean((1, 2))[:, None, None]).max(-1) > 40
    share = far.mean((1, 2))
    assert (share > 0.03).all()
    assert (share < 0.6).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"modality": "meg_epoch"}, "no modality 'meg_epoch'.*Did you mean 'meg_epochs'"),
        ({"modality": "fmri", "times": 3}, "has no time axis"),
        ({"modality": "fmri", "units": 0}, "must all be at least 1"),
        ({"modality": "fmri", "categories": 99}, "there are 1 to 6"),
        ({"modality": "images", "units": 100}, r"3 side\^2 units, such as 108"),
    ],
)
def test_simulate__refuses_what_cannot_be(arguments, message):
    with pytest.raises(ValueError, match=message):
        simulate(**arguments)


def test_image_cube__orders_units_rows_first_channel_fastest():
    pixels = np.arange(2 * 3 * 4 * 3, dtype=np.uint8).reshape(2, 3, 4, 3)
    cube = image_cube(pixels, ["a", "b"], dataset="d")
    place = cube.where((cube.row == 1) & (cube.col == 2) & (cube.channel == "B"), drop=True)
    np.testing.assert_array_equal(place.values.ravel(), pixels[:, 1, 2, 2])
    np.testing.assert_array_equal(pixels_of(cube), pixels)


def test_image_cube__refuses_other_shapes_and_parts_of_pictures():
    with pytest.raises(SchemaError, match="one id for each stimulus"):
        image_cube(np.zeros((2, 3, 4, 3), np.uint8), ["a"], dataset="d")
    with pytest.raises(SchemaError, match="dtype is float64"):
        image_cube(np.zeros((1, 3, 4, 3)), ["a"], dataset="d")
    with pytest.raises(SchemaError, match="Select stimuli, not units"):
        pixels_of(simulate("images", stimuli=2).isel({UNIT: slice(10)}))


LAYERS = ("early", "middle", "late")


@pytest.fixture(scope="module")
def layers():
    """Three layers of unlike geometry over the same 40 stimuli."""
    ids = [f"s{n:02d}" for n in range(40)]
    return {
        name: xr.DataArray(
            np.random.default_rng(n).normal(size=(40, 6)) @ np.random.default_rng(n + 9).normal(size=(6, 90))
            + 0.5,
            dims=(STIMULUS, UNIT),
            coords={STIMULUS: ids, UNIT: [f"u{u}" for u in range(90)]},
        )
        for n, name in enumerate(LAYERS)
    }


PLAN = {"V1": "early", "V4": "middle", "IT": "late"}


def nearest(patterns, layers):
    rdm = correlation_rdm(patterns)
    return max(layers, key=lambda name: np.corrcoef(rdm, correlation_rdm(layers[name].values))[0, 1])


def test_simulate_subjects__regions_carry_their_layers(layers):
    cubes = simulate_subjects(layers, PLAN, subjects=2)
    assert sorted(cubes) == ["fmri/sub-01", "fmri/sub-02", "meg/sub-01", "meg/sub-02"]
    for subject in ("sub-01", "sub-02"):
        brain = validate(cubes[f"fmri/{subject}"]).mean(REPEAT).isel({TIME: 0})
        for region, layer in PLAN.items():
            part = brain.isel({UNIT: brain.region == region})
            assert set(part.planted_layer.values) == {layer}
            assert nearest(part.values, layers) == layer


def test_simulate_subjects__without_noise_keeps_the_geometry_exactly(layers):
    brain = simulate_subjects(layers, PLAN, noise=0)["fmri/sub-01"].isel({TIME: 0, REPEAT: 0})
    for region, layer in PLAN.items():
        part = brain.values[:, (brain.region == region).values]
        np.testing.assert_allclose(
            correlation_rdm(part), correlation_rdm(layers[layer].values), atol=1e-5, err_msg=region
        )


def test_simulate_subjects__layers_dominate_the_sensors_in_turn(layers):
    meg = validate(simulate_subjects(layers, PLAN)["meg/sub-01"])
    assert meg.dims == CUBE
    seen = [name for name in dict.fromkeys(meg.planted_layer.values) if name]
    assert seen == list(LAYERS)
    for layer in LAYERS:
        window = meg.isel({TIME: meg.planted_layer == layer}).mean((REPEAT, TIME))
        assert nearest(window.values * 1e13, layers) == layer


def test_simulate_subjects__differ_by_subject_and_seed_but_not_by_call(layers):
    cubes = simulate_subjects(layers, PLAN, subjects=2)
    assert not np.allclose(cubes["fmri/sub-01"], cubes["fmri/sub-02"])
    again = simulate_subjects(layers, PLAN, subjects=1)
    assert again["fmri/sub-01"].identical(cubes["fmri/sub-01"])
    assert not np.allclose(
        again["meg/sub-01"], simulate_subjects(layers, PLAN, seed=1)["meg/sub-01"], atol=1e-15
    )


def test_simulate_subjects__joins_layers_by_id(layers):
    shuffled = dict(layers) | {"late": layers["late"][::-1]}
    want, got = (simulate_subjects(one, PLAN)["fmri/sub-01"] for one in (layers, shuffled))
    np.testing.assert_allclose(got.values, want.values, atol=1e-5)


def test_simulate_subjects__refuses_unknown_layers_and_other_stimuli(layers):
    with pytest.raises(ValueError, match=r"'lat'; there are .* Did you mean 'late'"):
        simulate_subjects(layers, {"IT": "lat"})
    with pytest.raises(ValueError, match="no features"):
        simulate_subjects({}, {})
    with pytest.raises(AlignError, match="absent from"):
        simulate_subjects(dict(layers) | {"late": layers["late"][:-1]}, PLAN)


@pytest.mark.parametrize(
    ("sizes", "told"),
    [
        ({"voxels": 1}, "voxels=1; wanted at least 2"),
        ({"sensors": 1}, "sensors=1; wanted at least 2"),
        ({"repeats": 0}, "repeats=0; wanted at least 1"),
    ],
)
def test_simulate_subjects__refuses_sizes_that_leave_nothing(layers, sizes, told):
    with pytest.raises(ValueError, match=told):
        simulate_subjects(layers, PLAN, **sizes)


def test_simulate_subjects__refuses_layers_without_geometry(layers):
    late = layers["late"]
    for flat in (late * 0, late * 0 + late[0].drop_vars(STIMULUS), late * np.nan):
        with pytest.raises(ValueError, match="layer 'late' has NaN, or answers alike to all 40 stimuli"):
            simulate_subjects(dict(layers) | {"late": flat}, PLAN)
