import shutil
from itertools import pairwise
from typing import ClassVar

import mne
import numpy as np
import pytest

import stores
from pipeline.fill import Block, fill, lazy_source
from stores.dims import STIMULUS, TIME
from stores.errors import InputError
from stores.readers import ds000117
from stores.readers.bids import entities, inherited
from stores.readers.ds000117_catalogue import catalogue
from stores.readers.trials import regions, storage
from tests.layouts import ds000117 as layout
from tests.malformed import survive
from tests.test_readers import ReaderTests

KINDS = {"mag": "meg_epochs", "grad": "meg_epochs", "eeg": "eeg_epochs"}
RUN = f"{layout.PREFIX}_run-01"
EVENTS = layout.MEG / f"{RUN}_events.tsv"
RECORDING = layout.MEG / f"{RUN}_meg.fif"


class TestDs000117(ReaderTests):
    name = "ds000117"
    write = staticmethod(layout.write)
    cubes: ClassVar[dict[str, str]] = {
        f"sub-01/{how}/{kind}": one for how in ("raw", "sss") for kind, one in KINDS.items()
    }

    def copy(self, raw, folder):
        return shutil.copytree(raw, folder, dirs_exist_ok=True)

    def files(self, raw):
        """Pictures, the empty room and other tables are named, but not opened."""
        endings = ("_meg.fif", "run-01_events.tsv", "channels.tsv", "meg.json")
        meg = [raw / layout.MEG, raw / layout.SSS / layout.MEG]
        found = [one for folder in meg for one in sorted(folder.iterdir()) if one.name.endswith(endings)]
        return [one for one in found if not one.name.startswith("._")]


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    return layout.write(tmp_path_factory.mktemp("ds000117"))


@pytest.fixture
def folder(raw, tmp_path):
    return shutil.copytree(raw, tmp_path / "ds000117")


def edit(path, change):
    path.write_text(change(path.read_text()))


@pytest.mark.parametrize("how", ["raw", "sss"])
@pytest.mark.parametrize("kind", list(KINDS))
def test_ds000117__keeps_every_value_at_its_picture_sensor_time_and_repeat(raw, how, kind):
    cube = ds000117.read(raw, kind=how)[f"sub-01/{how}/{kind}"]
    assert list(cube[STIMULUS].values) == list(layout.SHOWN)
    assert list(cube.channel.values) == [layout.NAMES[n] for n in layout.PICKED[kind]]
    np.testing.assert_allclose(cube[TIME], (np.arange(1101) - 220) / 1100)
    got = np.rint(cube.values / layout.SCALE[kind])
    for row, trials in enumerate(layout.SHOWN.values()):
        for repeat in range(3):
            if repeat < len(trials):
                run, sample = trials[repeat]
                want = layout.numbers(run, kind, sample, how == "sss")
                np.testing.assert_array_equal(got[row, :, :, repeat], want)
            else:
                assert np.isnan(got[row, :, :, repeat]).all()


def test_ds000117__onsets_are_those_mne_finds_with_the_first_sample(raw):
    """The cut equals MNE's own, whose events count from the start of the measurement."""
    recording = mne.io.read_raw_fif(raw / RECORDING, verbose="error")
    assert recording.first_samp == layout.FIRST
    one = next(one for one in catalogue(raw) if one.kind == "raw" and one.run == "01")
    samples = one.events["sample"].to_numpy() + recording.first_samp + round(ds000117.DELAY * layout.RATE)
    events = np.column_stack([samples, 0 * samples, one.events["trigger"]])
    want = mne.Epochs(recording, events, tmin=-0.2, tmax=0.8, baseline=None, picks="mag", verbose="error")
    cube = ds000117.read(raw)["sub-01/raw/mag"]
    third = want[list(one.events["stimulus"]).index("meg/u002")].get_data(verbose="error")[0]
    np.testing.assert_array_equal(cube.sel({STIMULUS: "meg/u002"}).values[..., 0], third.astype(np.float32))


def test_ds000117__carries_what_is_known(raw):
    cubes = ds000117.read(raw)
    cube = cubes["sub-01/raw/eeg"]
    assert "EEG061" not in cube.channel.values
    assert list(cube.channel.values[cube.bad.values]) == [layout.BAD]
    assert cube.attrs["units"] == "V"
    assert cubes["sub-01/sss/grad"].attrs["units"] == "T/m"
    assert cube.attrs["dropped"] == {
        "trials that do not fit into their run": 2,
        "eog channels": 1,
        "stim channels": 1,
    }
    assert cube.attrs["delay"] == 0.0345
    assert cubes["sub-01/sss/eeg"].attrs["maxfilter"] == {"trans": "run4", "st": 10}
    assert cube.attrs["maxfilter"] == {}
    assert list(cube.category.values) == ["Famous"] * 2 + ["Scrambled"] * 2 + ["Unfamiliar"] * 2
    assert cube.file.values[0] == "stimuli/meg/f001.bmp"
    assert cube.trial_run.values.tolist()[:2] == [[1, 1, 2], [2, -1, -1]]
    assert cube.trial_presentation.values.tolist()[0] == ["initial", "immediate", "delayed"]
    assert cube.trial_presentation.values.tolist()[3] == ["initial", "immediate", ""]
    assert cube.trial_trigger.values.tolist()[5] == [13, 15, -1]
    assert {one["file"] for one in cube.attrs["sources"]} == {
        *(f"{layout.PREFIX}_run-0{n}_{end}" for n in (1, 2) for end in ("meg.fif", "events.tsv")),
        f"{layout.PREFIX}_channels.tsv",
    }


def test_ds000117__both_versions_of_the_tables_give_the_same(raw, tmp_path):
    newer = ds000117.read(layout.write(tmp_path, newer=True), kind="raw")
    older = ds000117.read(raw, kind="raw")
    for name, cube in newer.items():
        onset = "trial_onset"  # rounded to 0.1 ms in the newer one
        np.testing.assert_allclose(cube[onset], older[name][onset], atol=1e-4)
        assert cube.drop_vars(onset).equals(older[name].drop_vars(onset))
        assert cube.attrs["dropped"]["events that are no pictures"] == 3


def test_ds000117__pictures_of_both_folders_are_kept_apart(raw):
    meg, func = (raw / "stimuli" / one / "f001.bmp" for one in ("meg", "func"))
    assert meg.read_bytes() != func.read_bytes()
    assert all(one.startswith("meg/") for one in ds000117.read(raw)["sub-01/raw/mag"][STIMULUS].values)


def test_ds000117__options_move_the_window(raw):
    cube = ds000117.read(raw, kind="raw", tmin=0.0, tmax=0.1, delay=0.0)["sub-01/raw/mag"]
    assert cube.sizes[TIME] == 111
    assert dict(cube.attrs["dropped"]) == {"eog channels": 1, "stim channels": 1}
    first = np.rint(cube.sel({STIMULUS: "meg/s009"}).values[0, 0] / layout.SCALE["mag"])
    assert first.tolist() == [
        200000 * run + 16384 * 2 + sample for run, sample in ((1, 100), (1, 6900), (2, 700), (2, 4207))
    ]
    with pytest.raises(InputError, match=r"tmin is 1\.0 and tmax 0\.8"):
        ds000117.read(raw, tmin=1.0)
    with pytest.raises(InputError, match=r"no trial from -9\.0 to 0\.8 s fits into its run"):
        ds000117.read(raw, tmin=-9.0)


def test_catalogue__tells_what_cleaning_needs(folder, monkeypatch):
    monkeypatch.setattr(mne.io, "read_raw_fif", None)  # no recording is opened
    found = catalogue(folder)
    assert [(one.subject, one.kind, one.run) for one in found] == [
        ("sub-01", kind, run) for kind in ("raw", "sss") for run in ("01", "02")
    ]
    one = found[0]
    assert one.path == folder / RECORDING
    assert one.bads == (layout.BAD,)
    assert one.types["EEG061"] == one.types["EEG062"] == "eog"
    assert (one.types["EEG063"], one.types["MEG0113"], one.types["EEG001"]) == ("ecg", "grad", "eeg")
    assert one.sss == found[2].path
    assert one.cross_talk == folder / layout.SSS / "ct_sparse.fif"
    assert one.calibration == folder / layout.SSS / "sss_cal.dat"
    assert one.empty_room.name == "sub-emptyroom_ses-20090409_task-noise_meg.fif"
    assert one.headshape.name == "sub-01_ses-meg_headshape.pos"
    assert one.delay == 0.0345
    assert found[2].parameters["trans"] == "run4"
    assert one.events["stimulus"].tolist()[:3] == ["meg/s009", "meg/f001", "meg/f001"]
    assert one.events["onset"].iloc[1] == pytest.approx(1237 / 1100)
    assert one.events["file"].iloc[0] == "stimuli/meg/s009.bmp"
    shutil.rmtree(folder / "stimuli")
    shutil.rmtree(folder / "sub-emptyroom")
    (folder / layout.MEG / f"{layout.PREFIX}_channels.tsv").unlink()
    bare = catalogue(folder)[0]
    assert set(bare.events["file"]) == {""}
    assert (bare.empty_room, bare.channels, bare.bads, bare.types["EEG064"]) == (None, None, (), "misc")


def swap_pictures(text):
    """Rows exchange their trigger and picture, which still fit each other."""
    return (
        text.replace("5\tmeg/f001", "@").replace("13\tmeg/u002", "5\tmeg/f001").replace("@", "13\tmeg/u002")
    )


@pytest.mark.parametrize("how", ["shuffled", "other run"])
def test_ds000117__a_table_of_other_trials_is_found_out_by_the_triggers(folder, how):
    if how == "shuffled":
        edit(folder / EVENTS, swap_pictures)
    else:
        shutil.copy(folder / layout.MEG / f"{layout.PREFIX}_run-02_events.tsv", folder / EVENTS)
    cube = ds000117.read(folder, kind="raw")["sub-01/raw/mag"]
    with pytest.raises(InputError, match=rf"{RUN}_meg\.fif: the table of events has trigger .* STI101 has"):
        cube.compute()


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        (
            EVENTS,
            lambda t: t.replace("meg/f001", "meg/u001"),
            r"stim_file is 'meg/u001\.bmp' in row 2; wanted one of Famous",
        ),
        (EVENTS, lambda t: t.replace("meg/", "func/"), r"stim_file is 'func/s009\.bmp'"),
        (EVENTS, lambda t: t.replace("meg/s001.bmp", "n/a"), r"row 5 has the trigger 17 and stim_file 'n/a'"),
        (EVENTS, lambda t: t.replace("meg/s001", "meg/s002"), r"stim_file 'meg/s002\.bmp' is not in"),
        (EVENTS, lambda t: t.replace("trigger", "code"), "no column 'trigger'"),
        (EVENTS, lambda t: t.replace("\t3611\t", "\t4611\t"), "is not sample 4611 at 1100 Hz"),
        (EVENTS, lambda t: t.replace("\t2400\t", "\t1237\t"), "numbers below 0, or twice the same"),
        (
            EVENTS,
            lambda t: t.replace("6900", "69000").replace("6.2727", "62.727"),
            "an event is at sample 69000",
        ),
        (
            layout.MEG / f"{layout.PREFIX}_channels.tsv",
            lambda t: t.replace("MEGMAG", "MEGGRADPLANAR"),
            "MEG0111 is grad; in .* it is mag",
        ),
        (layout.MEG / f"{layout.PREFIX}_meg.json", lambda t: "[1]\n", "holds list; wanted names"),
    ],
)
def test_ds000117__refuses_tables_that_do_not_fit(folder, file, change, message):
    edit(folder / file, change)
    with pytest.raises(InputError, match=message) as caught:
        ds000117.read(folder)
    assert file.name in str(caught.value)


def test_ds000117__refuses_runs_without_events_or_of_other_channels(folder):
    other = mne.io.read_raw_fif(folder / RECORDING, verbose="error").drop_channels(["EEG001"])
    other.save(folder / "x_meg.fif", verbose="error")
    (folder / "x_meg.fif").replace(folder / layout.MEG / f"{layout.PREFIX}_run-02_meg.fif")
    with pytest.raises(
        InputError, match=r"run-02_meg\.fif has other channels, or another rate, than .*run-01"
    ):
        ds000117.read(folder)
    (folder / EVENTS).unlink()
    with pytest.raises(InputError, match=r"run-01_events\.tsv does not exist"):
        ds000117.read(folder)


def test_ds000117__import_reads_one_run_after_another(raw, tmp_path, monkeypatch):
    monkeypatch.setattr("stores.layout.SHARD_BYTES", 2**15)
    monkeypatch.setattr("stores.layout.CHUNK_BYTES", 2**14)
    monkeypatch.setattr("stores.readers.trials.BLOCK_AT_MOST", 2**15)
    cube = ds000117.read(raw, kind="raw")["sub-01/raw/mag"]
    seen = []
    real = ds000117.opened
    monkeypatch.setattr(ds000117, "opened", lambda path: seen.append(path.name) or real(path))
    with stores.writing(tmp_path, "meg", cube, made_from={"x": 1}, **storage(cube)) as target:
        where = regions(target, cube)
        assert len(where) > 1
        fill({"meg": target}, [Block({"meg": one}) for one in where], lazy_source(cube, "meg"))
    assert len(seen) == int((cube.trial_sample >= 0).sum())
    back = sum(a > b for a, b in pairwise(seen))
    assert back < len(where)  # only a new block starts with an earlier run again
    again = stores.open_cube(tmp_path, "meg")
    np.testing.assert_array_equal(again.values, cube.values)
    assert again.trial_presentation.values.tolist() == cube.trial_presentation.values.tolist()


@pytest.mark.parametrize(("file", "count"), [(RECORDING, 60), (EVENTS, 60)])
def test_ds000117__malformed_ends_in_an_error_or_a_cube(folder, file, count):
    refused = survive(lambda: ds000117.read(folder, kind="raw"), folder / file, count=count, blamed=RUN)
    assert refused >= count // 5


def test_bids__side_files_are_inherited_from_the_nearest_that_fits(tmp_path):
    meg = tmp_path / "sub-01" / "meg"
    meg.mkdir(parents=True)
    run = meg / "sub-01_task-a_run-02_meg.fif"
    for one in (
        "sub-01/meg/sub-01_task-a_run-01_channels.tsv",
        "sub-01/meg/._sub-01_task-a_run-02_channels.tsv",
    ):
        (tmp_path / one).touch()
    assert inherited(run, tmp_path, "channels.tsv") is None
    wanted = ["task-a_channels.tsv", "sub-01/sub-01_channels.tsv", "sub-01/sub-01_task-a_channels.tsv"]
    wanted.append("sub-01/meg/sub-01_task-a_run-02_channels.tsv")
    for one in wanted:
        (tmp_path / one).touch()
        assert inherited(run, tmp_path, "channels.tsv") == tmp_path / one
    assert entities(run.name) == {"sub": "01", "task": "a", "run": "02", "suffix": "meg"}
