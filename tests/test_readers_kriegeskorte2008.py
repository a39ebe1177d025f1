import numpy as np
import pytest
import scipy.io
from numpy.lib.recfunctions import repack_fields

from stores.dims import PAIR, STIMULUS, STIMULUS_A, STIMULUS_B, SUBJECT, UNIT
from stores.errors import InputError
from stores.images import pixels_of
from stores.readers.kriegeskorte2008 import (
    BRAIN_FILE,
    IDS,
    PICTURES_FILE,
    human_it,
    images,
    monkey_it,
)
from tests.layouts import kriegeskorte2008 as layout
from tests.shared import shared


@pytest.fixture
def raw(tmp_path):
    return layout.write(tmp_path)


@pytest.fixture(scope="module")
def real():
    return shared("data/rsa92-kriegeskorte2008")


def test_images__keep_every_pixel_at_its_place(raw):
    cube = images(raw)
    pictures = pixels_of(cube)
    for n in (0, 1, 57, 91):
        np.testing.assert_array_equal(pictures[n], layout.picture(n))
    one = cube.isel({UNIT: (cube.row == 7) & (cube.col == 3), STIMULUS: 5}).squeeze()
    assert dict(zip(one.channel.values, one.values.tolist(), strict=True)) == {"R": 5, "G": 7, "B": 3}


def test_human_it__keeps_every_pair_and_session_at_its_place(raw):
    stack = human_it(raw / BRAIN_FILE)
    assert list(stack[SUBJECT].values) == ["BE-1", "BE-2", "KO-1", "KO-2", "SN-1", "SN-2", "TI-1", "TI-2"]
    assert list(stack.session.values) == [1, 2] * 4
    for n, subject in enumerate(stack[SUBJECT].values):
        want = layout.square(n)
        one = stack.sel({SUBJECT: subject}).isel(time=0)
        pair = one.isel({PAIR: (one[STIMULUS_A] == IDS[3]) & (one[STIMULUS_B] == IDS[60])})
        assert pair.item() == want[3, 60]


def test_monkey_it__is_one_subject(raw):
    stack = monkey_it(raw)
    assert list(stack[SUBJECT].values) == ["monkeys"]
    assert stack.values[0, 0, -1] == (layout.PAIRS - 1) / layout.PAIRS


def test_ids__are_unique_and_tell_the_category():
    assert len(set(IDS)) == 92
    assert IDS[0] == "obj01_human_bodypart"
    assert IDS[91] == "obj92_artificial_inanimate"


def spoil(raw, file, variable, change):
    """Rewrite `variable` of `file` after `change` has been applied to it."""
    content = {k: v for k, v in scipy.io.loadmat(raw / file).items() if not k.startswith("__")}
    content[variable] = change(content[variable])
    scipy.io.savemat(raw / file, content)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s[:, ::-1], "first differ from the published order at image 1;"),
        (lambda s: s[:, :91], "has 91 images.*order at image 92;"),
        (
            lambda s: repack_fields(s[["category", "human", "face", "animal", "natural"]]),
            "has no field 'image'; it has category",
        ),
        (lambda s: np.array([[1.0]]), "no field 'category'; it has no fields"),
    ],
)
def test_images__refuse_another_content(raw, change, message):
    spoil(raw, PICTURES_FILE, "stimuli_92objs", change)
    with pytest.raises(InputError, match=message) as caught:
        images(raw)
    assert PICTURES_FILE in str(caught.value)


def test_images__refuse_another_picture_size(raw):
    def crop(records):
        records["image"][0, 4] = records["image"][0, 4][:100]
        return records

    spoil(raw, PICTURES_FILE, "stimuli_92objs", crop)
    with pytest.raises(InputError, match=r"stimuli_92objs\(5\).image is uint8 \(100, 175, 3\)"):
        images(raw)


def alter(where, value):
    def change(records):
        records["RDM"][0, 1, 0][where] = value
        return records

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (alter((0, 0), 1), "not symmetric with zeros"),
        (alter((3, 5), 0.5), "not symmetric"),
        (alter(slice(None), np.nan), "not symmetric"),
        (lambda s: s[:, :3], "holds 6 entries"),
        (lambda s: repack_fields(s[["RDM", "color"]]), "RDMs has no field 'name'"),
    ],
)
def test_human_it__refuses_another_content(raw, change, message):
    spoil(raw, BRAIN_FILE, "RDMs", change)
    with pytest.raises(InputError, match=message):
        human_it(raw)


def test_monkey_it__refuses_dissimilarities_out_of_range(raw):
    def change(records):
        records["RDM"][0, 0][0, 7] = 2.5
        return records

    spoil(raw, PICTURES_FILE, "RDMs_mIT_hIT_fig1", change)
    with pytest.raises(InputError, match=r"fig1\.RDM is float64 and not all in 0\.\.2"):
        monkey_it(raw)


def test_reader__names_the_variable_that_the_other_file_lacks(raw):
    with pytest.raises(InputError, match="no variable 'stimuli_92objs'; it has RDMs"):
        images(raw / BRAIN_FILE)


def test_reader__tells_matlab_73_files(raw):
    (raw / BRAIN_FILE).write_bytes(
        b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + b"\x89HDF\r\n\x1a\n" + b"\0" * 512
    )
    with pytest.raises(InputError, match=r"MATLAB 7\.3"):
        human_it(raw)


def test_real_files__agree_with_the_published_numbers(real):
    human, monkey = human_it(real), monkey_it(real)
    mean = human.mean(SUBJECT).values[0]
    assert np.corrcoef(mean, monkey.values[0, 0])[0, 1] == pytest.approx(0.49121, abs=5e-6)
    figure = scipy.io.loadmat(real / PICTURES_FILE, squeeze_me=True)["RDMs_mIT_hIT_fig1"][1]["RDM"]
    np.testing.assert_allclose(mean, figure, atol=2e-7)
    assert list(human[STIMULUS_A].values) == list(monkey[STIMULUS_A].values)


def test_real_images__have_their_categories(real):
    cube = images(real)
    assert tuple(cube[STIMULUS].values) == IDS
    assert (pixels_of(cube)[:, 0, 0] == 128).mean() > 0.9
    assert int(cube.animate.sum()) == 48
    assert int(cube.face.sum()) == 24
    assert int(cube.natural.sum()) == 71
