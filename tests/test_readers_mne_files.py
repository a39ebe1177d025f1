import shutil
from pathlib import Path
from typing import ClassVar

import mne
import numpy as np
import pytest

from stores.dims import REPEAT, STIMULUS, TIME, UNIT
from stores.errors import InputError
from stores.readers import mne_evoked, mne_files, mne_sources
from stores.readers.fif import whole
from tests.layouts import mne_files as layout
from tests.malformed import survive
from tests.shared import shared
from tests.test_readers import ReaderTests

KINDS = {"mag": "meg_epochs", "grad": "meg_epochs", "eeg": "eeg_epochs"}
EPOCHS = "sub-01_task-x-epo.fif"


class Copied:
    def copy(self, raw, folder):
        return shutil.copytree(raw, folder, dirs_exist_ok=True)

    def files(self, raw):
        return [one for one in super().files(raw) if not one.name.startswith("._")]


class TestMneEpochs(Copied, ReaderTests):
    name = "mne-epochs"
    write = staticmethod(layout.write_epochs)
    cubes: ClassVar[dict[str, str]] = {f"sub-01_task-x/{kind}": one for kind, one in KINDS.items()}


class TestMneEvoked(Copied, ReaderTests):
    name = "mne-evoked"
    write = staticmethod(layout.write_evoked)
    cubes: ClassVar[dict[str, str]] = {
        f"sub-01/{measure}{kind}": one for kind, one in KINDS.items() for measure in ("", "standard_error/")
    }


class TestMneSources(Copied, ReaderTests):
    name = "mne-sources"
    write = staticmethod(layout.write_sources)
    cubes: ClassVar[dict[str, str]] = {"sources": "meg_sources"}


def counted(cube, kind):
    """The whole numbers that the values are in units of the layout."""
    return np.rint(cube.values / layout.SCALE[kind])


@pytest.mark.parametrize("kind", list(KINDS))
def test_epochs__keep_every_value_at_its_stimulus_sensor_time_and_repeat(tmp_path, kind):
    cube = mne_files.read_epochs(layout.write_epochs(tmp_path))[f"sub-01_task-x/{kind}"]
    assert list(cube[STIMULUS].values) == list(layout.STIMULI)
    assert list(cube.channel.values) == [one for one in layout.NAMES if one.startswith(kind.upper())]
    values = counted(cube, kind)
    for row, trials in enumerate(layout.STIMULI.values()):
        for repeat in range(3):
            if repeat < len(trials):
                np.testing.assert_array_equal(values[row, :, :, repeat], layout.numbers(trials[repeat], kind))
            else:
                assert np.isnan(values[row, :, :, repeat]).all()


def test_epochs__in_another_order_are_the_same_cube(tmp_path):
    found = []
    for name, order in (("a", layout.ORDER), ("b", range(len(layout.SHOWN)))):
        (tmp_path / name).mkdir()
        layout.write_epochs(tmp_path / name, order=list(order))
        cube = mne_files.read_epochs(tmp_path / name)["sub-01_task-x/mag"]
        found.append(cube.drop_vars("trial"))
    assert found[0].equals(found[1])


def test_epochs__carry_what_is_known(tmp_path):
    cubes = mne_files.read_epochs(layout.write_epochs(tmp_path))
    cube = cubes["sub-01_task-x/grad"]
    assert cubes["sub-01_task-x/eeg"].attrs["units"] == "V"
    assert cube.attrs["units"] == "T/m"
    assert cube.attrs["subject"] == "sub-01"
    assert cube.attrs["dropped"] == {"epochs without a stimulus": 1, "eog channels": 1, "stim channels": 1}
    assert cube.attrs["rejected"] == {"MAG002, EEG010": 1}
    assert cube.attrs["baseline"] == "none"
    assert cube.attrs["stimulus_from"] == "column 'stim_file' of its table of trials"
    assert cube.attrs["projectors"] == ["PCA-v1 (not applied)"]
    assert list(cube.channel.values[cube.bad.values]) == [layout.BAD]
    np.testing.assert_allclose(cube.x, [0, 0.01, 0.03, 0.04], atol=1e-7)
    np.testing.assert_allclose(cube[TIME], np.arange(21) / 100 - 0.1)
    np.testing.assert_array_equal(cube.trial_run.values, [[1, 1, 2], [1, 2, -1], [2, -1, -1]])
    nan = np.nan
    np.testing.assert_allclose(cube.trial_rt, [[0, nan, 0.6], [0.1, 0.5, nan], [0.4, nan, nan]])
    assert cube.event_colour.values.tolist() == ["red", "blue", "red"]
    assert cube.trial_key.values.tolist() == [["k0", "k2", "k6"], ["k1", "k5", ""], ["k4", "", ""]]
    assert cube.trial_sample.values[0].tolist() == [100, 600, 1600]
    assert cube.trial.values[0].tolist() == [layout.ORDER.index(n) for n in (0, 2, 6)]


def test_epochs__without_a_table_go_by_names_of_events(tmp_path):
    cube = mne_files.read_epochs(layout.write_epochs(tmp_path, table=None))["sub-01_task-x/mag"]
    assert list(cube[STIMULUS].values) == ["even", "odd"]
    np.testing.assert_array_equal(counted(cube, "mag")[1, :, :, 2], layout.numbers(5, "mag"))
    asked = mne_files.read_epochs(layout.write_epochs(tmp_path), stimulus="colour")["sub-01_task-x/mag"]
    assert list(asked[STIMULUS].values) == ["blue", "red"]
    with pytest.raises(InputError, match=r"no column 'face'; it has \['stim_file'"):
        mne_files.read_epochs(tmp_path, stimulus="face")


@pytest.mark.parametrize("bids", [True, False])
def test_epochs__split_chains_are_read_once(tmp_path, bids):
    long = [n % len(layout.SHOWN) for n in range(300)]
    made = layout.epochs(order=long, samples=np.arange(300) * 7)
    name = "sub-01_epo.fif" if bids else "sub-01-epo.fif"
    naming = "bids" if bids else "neuromag"
    made.save(tmp_path / name, split_size="1.1MB", split_naming=naming, verbose="error")
    files = sorted(one.name for one in tmp_path.iterdir())
    assert len(files) > 1
    (cube,) = (one for key, one in mne_files.read_epochs(tmp_path).items() if key == "sub-01/mag")
    assert [one["file"] for one in cube.attrs["sources"]] == (files if bids else [files[-1], *files[:-1]])
    trials = cube.trial.values[cube.trial.values >= 0]
    assert len(trials) == len(set(trials)) == sum(layout.SHOWN[n] != "n/a" for n in long)
    last = long[int(trials.max())]
    row, repeat = np.argwhere(cube.trial.values == trials.max())[0]
    np.testing.assert_array_equal(counted(cube[row, :, :, repeat], "mag"), layout.numbers(last, "mag"))
    (tmp_path / files[-1 if bids else 0]).unlink()
    with pytest.raises(InputError, match=r"cannot be read as MNE epochs.*Are all there"):
        mne_files.read_epochs(tmp_path)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        (
            {"table": lambda: layout.trial_table().assign(stim_file="n/a")},
            "none of its 7 epochs has a stimulus",
        ),
        (
            {"table": lambda: layout.trial_table().assign(stim_file=["a.jpg", "a.png"] + ["b.jpg"] * 5)},
            r"'a\.(png|jpg)' and 'a\.(jpg|png)', which both are stimulus 'a'",
        ),
        ({"data": lambda n: layout.trial_values(n) * (1 + 1j)}, "holds complex values"),
    ],
)
def test_epochs__refuse_what_has_no_stimuli_or_is_complex(tmp_path, kwargs, message):
    layout.write_epochs(tmp_path, **kwargs)
    with pytest.raises(InputError, match=f"{EPOCHS}.*{message}"):
        mne_files.read_epochs(tmp_path)


def test_epochs__an_infinite_value_is_refused_when_it_is_read(tmp_path):
    layout.write_epochs(tmp_path, data=lambda n: np.where(n == 4, np.inf, layout.trial_values(n)))
    cube = mne_files.read_epochs(tmp_path)["sub-01_task-x/eeg"]
    with pytest.raises(InputError, match=f"{EPOCHS}: its epochs holds .* infinite"):
        cube.compute()


def test_epochs__another_part_or_file_is_refused(tmp_path):
    layout.write_epochs(tmp_path)
    other = (tmp_path / EPOCHS).rename(tmp_path / "sub-01_task-x-epo-1.fif")
    with pytest.raises(InputError, match=r"-epo-1\.fif is, or holds, no file \*-epo\.fif"):
        mne_files.read_epochs(other)


def test_files__of_one_name_go_by_their_folders():
    listed = [Path("/a/s1/meg/x-epo.fif"), Path("/a/s2/meg/x-epo.fif")]
    assert [name for name, _ in mne_files.named(listed)] == ["s1/meg/x", "s2/meg/x"]


@pytest.mark.parametrize("kind", list(KINDS))
def test_evoked__keeps_every_value_at_its_condition_sensor_and_time(tmp_path, kind):
    cubes = mne_evoked.read(layout.write_evoked(tmp_path))
    cube, error = cubes[f"sub-01/{kind}"], cubes[f"sub-01/standard_error/{kind}"]
    assert list(cube[STIMULUS].values) == layout.CONDITIONS
    for n in (0, 1):
        np.testing.assert_array_equal(counted(cube, kind)[n, :, :, 0], layout.numbers(3 + n, kind))
    np.testing.assert_array_equal(counted(error, kind)[0, :, :, 0], layout.numbers(9, kind))
    assert cube.averaged.values.tolist() == [10, 11]
    assert (cube.attrs["measure"], error.attrs["measure"]) == ("average", "standard_error")


def test_evoked__refuses_conditions_of_one_name_or_other_times(tmp_path):
    first, second, _ = layout.averages()
    again = second.copy()
    again.comment = first.comment
    with pytest.raises(InputError, match=r"sub-01-ave\.fif: its averages has 1 repeated ids, such as 'face'"):
        mne_evoked.read(layout.write_evoked(tmp_path, [first, again]))
    with pytest.raises(InputError, match=r"sub-01-ave\.fif: 'house' has other channels or times than 'face'"):
        mne_evoked.read(layout.write_evoked(tmp_path, [first, second.crop(0, 0.05)]))


def test_evoked__real_averages_are_those_mne_reads():
    file = shared("data/mne-sample/test-ave.fif.gz")
    cubes = mne_evoked.read(file)
    assert {name: one.shape for name, one in cubes.items()} == {
        "test/mag": (4, 102, 421, 1),
        "test/grad": (4, 204, 421, 1),
        "test/eeg": (4, 60, 421, 1),
    }
    want = mne.read_evokeds(file, condition="Left visual", proj=False, verbose="error")
    for cube in cubes.values():
        rows = want.get_data(picks=list(cube.channel.values)).astype(np.float32)
        np.testing.assert_array_equal(cube.sel({STIMULUS: "Left visual"}).values[..., 0], rows)
        np.testing.assert_allclose(cube[TIME], want.times)
    assert cube.averaged.values.tolist() == [3, 6, 6, 6]
    assert cube.attrs["dropped"] == {"stim channels": 9, "eog channels": 1}


def test_sources__keep_every_value_at_its_stimulus_vertex_and_time(tmp_path):
    cube = mne_sources.read(layout.write_sources(tmp_path))["sources"]
    assert list(cube[STIMULUS].values) == layout.ESTIMATES
    for n in range(3):
        np.testing.assert_array_equal(cube.values[n, :, :, 0], layout.estimate(n))
    assert list(cube[UNIT].values[2:5]) == ["lh-000007", "rh-000004", "rh-000005"]
    assert list(cube.hemisphere.values[2:4]) == ["left", "right"]
    np.testing.assert_allclose(cube[TIME], np.arange(5) / 100 - 0.02)
    assert cube.sizes[REPEAT] == 1
    one = mne_sources.read(tmp_path / f"{layout.ESTIMATES[1]}-rh.stc")["sources"]
    assert one.equals(cube[1:2])


def test_sources__in_small_blocks_are_the_same(tmp_path, monkeypatch):
    layout.write_sources(tmp_path)
    want = mne_sources.read(tmp_path)["sources"].compute()
    monkeypatch.setattr(mne_sources, "BLOCK_BYTES", 60)
    cut = mne_sources.read(tmp_path)["sources"]
    assert len(cut.chunks[0]) == 3
    assert len(cut.chunks[2]) > 1
    np.testing.assert_array_equal(cut.values, want.values)


def test_sources__of_other_vertices_are_other_cubes(tmp_path):
    layout.write_sources(tmp_path)
    other = mne.SourceEstimate(np.ones((2, 5)), [np.array([3]), np.array([1])], tmin=-0.02, tstep=0.01)
    for name in ("sub-02_f001", "sub-02_f002"):
        other.save(tmp_path / name, ftype="stc", verbose="error")
    found = mne_sources.read(tmp_path)
    assert {name: one.shape[:2] for name, one in found.items()} == {"sub-01": (3, 7), "sub-02_f00": (2, 2)}


def test_sources__without_the_other_hemisphere_or_of_other_times_are_refused(tmp_path):
    name = layout.ESTIMATES[0]
    layout.write_sources(tmp_path)
    shorter = mne.SourceEstimate(layout.estimate(0)[:, :4], layout.VERTICES, tmin=-0.02, tstep=0.01)
    shorter.save(tmp_path / "short", ftype="stc", verbose="error")
    (tmp_path / "short-rh.stc").replace(tmp_path / f"{name}-rh.stc")
    (tmp_path / "short-lh.stc").unlink()
    with pytest.raises(InputError, match=rf"{name}-lh\.stc has other times than {name}-rh\.stc"):
        mne_sources.read(tmp_path)
    (tmp_path / f"{name}-rh.stc").unlink()
    with pytest.raises(InputError, match=rf"{name}-lh\.stc stands beside nothing; wanted both"):
        mne_sources.read(tmp_path)


def test_sources__real_estimates_are_those_mne_reads():
    found = mne_sources.read(shared("data/mne-sample"))
    assert {name: one.shape[1:3] for name, one in found.items()} == {
        "sample_audvis_trunc-meg": (7928, 25),
        "fsaverage_audvis_trunc-meg": (1284, 24),
    }
    for name, cube in found.items():
        want = mne.read_source_estimate(shared("data/mne-sample") / name, subject="any")
        # The vertices of one of these files are in no order; MNE sorts them.
        sides = np.split(np.arange(cube.sizes[UNIT]), [len(want.lh_vertno)])
        order = np.concatenate([one[np.argsort(cube.vertex.values[one])] for one in sides])
        np.testing.assert_array_equal(cube.vertex.values[order], np.concatenate(want.vertices))
        np.testing.assert_array_equal(cube.values[0, order, :, 0], want.data)
        np.testing.assert_allclose(cube[TIME], want.times)


@pytest.mark.parametrize(
    ("write", "read", "file", "count"),
    [
        (layout.write_epochs, mne_files.read_epochs, EPOCHS, 60),
        (layout.write_evoked, mne_evoked.read, "sub-01-ave.fif", 40),
        (layout.write_sources, mne_sources.read, f"{layout.ESTIMATES[0]}-lh.stc", 100),
    ],
)
def test_files__malformed_end_in_an_error_or_a_cube(tmp_path, write, read, file, count):
    write(tmp_path)
    assert survive(lambda: read(tmp_path), tmp_path / file, count=count) >= count // 5


@pytest.mark.parametrize("end", [0, 1, 17, 5000, -1, -17])
def test_fif__that_breaks_off_is_told(tmp_path, end):
    file = layout.write_epochs(tmp_path) / EPOCHS
    whole(file)
    file.write_bytes(file.read_bytes()[:end])
    with pytest.raises(InputError, match=EPOCHS):
        whole(file)
