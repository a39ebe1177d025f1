"""An NWB 2 file as hdmf writes it: 5 units, trials of named images, an IndexSeries, epochs without stimuli.

How many spikes a bin has tells its unit, image, repeat and bin. Unit 1 is silent; unit 3 was not recorded in the
first half; some spikes lie on an edge of a bin, some between trials. Trials are not in order of onset; one has no
image, another no onset. Electrode rows are not electrode ids; a unit has two electrodes, another none.
"""

from pathlib import Path

import h5py
import numpy as np

UNITS, IDS = 5, [11, 4, 7, 30, 2]
BINS = 7
EDGES = np.round(-0.05 + 0.05 * np.arange(BINS + 1), 9)
IMAGES = ["dog_01b.jpg", "sets\\cat.png", "bat1.png"]
REPEATS = [3, 1, 4]
OBSERVED = 6.1
"""When the recording of unit 3 begins: between the start of a trial's first bin and its onset."""
ELECTRODE_IDS = [100, 101, 105]
OF_UNIT = [[0], [2, 1], [], [1], [2]]
LOCATIONS = ["V4", "IT", "IT"]


def count(unit, image, repeat, step):
    return 0 if unit == 1 else (unit * 7 + image * 5 + repeat * 3 + step * 2) % 5


def schedule():
    """(image, repeat, onset) in the order of the file."""
    shown = [(i, r) for i, n in enumerate(REPEATS) for r in range(n)]
    order = np.random.default_rng(1).permutation(len(shown))
    onsets = dict(zip(order.tolist(), (2.125 + np.arange(len(shown))).tolist(), strict=True))
    by_image = {
        i: sorted(onsets[n] for n, one in enumerate(shown) if one[0] == i) for i in range(len(IMAGES))
    }
    return [(i, r, by_image[i][r]) for i, r in reversed(shown)]


def spikes(unit):
    """Of a bin with n spikes one is at its first edge; between trials there is one every second."""
    found = [onset + 0.7 for _, _, onset in schedule()] if unit != 1 else []
    for image, repeat, onset in schedule():
        for step in range(BINS):
            n = count(unit, image, repeat, step)
            found += [onset + EDGES[step] + 0.05 * k / 8 for k in range(n)]
    return np.sort(found)


def text(where, name, values, **attrs):
    found = where.create_dataset(name, data=values, dtype=h5py.string_dtype())
    found.attrs.update(attrs)


def table(file, name, kind, columns, ragged=None):
    """A DynamicTable: lists of str are text; `ragged` are lists of rows, with an index beside."""
    group = file.create_group(name)
    rows = len(next(iter(columns.values())))
    group.attrs.update({"neurodata_type": kind, "description": "x", "colnames": [*columns, *(ragged or {})]})
    group["id"] = np.arange(rows)
    for column, values in columns.items():
        if column == "id":
            group["id"][...] = values
        elif isinstance(values, list) and isinstance(values[0], str):
            text(group, column, values, neurodata_type="VectorData")
        else:
            group[column] = values
    for column, values in (ragged or {}).items():
        flat = [np.asarray(one) for one in values]
        group[column] = np.concatenate(flat)
        ends = np.cumsum([len(one) for one in flat])
        group[f"{column}_index"] = ends.astype(np.min_scalar_type(ends[-1]))  # the smallest that holds it
        group[f"{column}_index"].attrs["target"] = group[column].ref
    return group


def write(folder: Path) -> Path:
    with h5py.File(folder / "sub-01_ses-2.nwb", "w") as file:
        file.attrs.update({"nwb_version": "2.7.0", "neurodata_type": "NWBFile", "namespace": "core"})
        text(file, "identifier", "x")
        text(file, "general/subject/subject_id", "Nilson")
        electrodes = {
            "id": ELECTRODE_IDS,
            "location": LOCATIONS,
            "x": np.array([1.0, 3, 5]),
            "y": np.array([0.5] * 3),
        }
        table(file, "general/extracellular_ephys/electrodes", "DynamicTable", electrodes)
        observed = [[[0.0, 99.0]]] * 3 + [[[0.0, 0.5], [OBSERVED, 99.0]]] + [[[0.0, 50.0], [50.0, 99.0]]]
        units = table(
            file,
            "units",
            "Units",
            {
                "id": IDS,
                "quality": ["good", "mua"] * 2 + ["good"],
                "session": ["a"] * 5,
                "snr": np.arange(5) / 4,
            },
            {
                "spike_times": [spikes(unit) for unit in range(UNITS)],
                "electrodes": [np.array(one, np.int64) for one in OF_UNIT],
                "obs_intervals": observed,
            },
        )
        units["waveform_mean"] = np.zeros((UNITS, 4))
        units["depth"] = np.array([0, 1, 1, 0, 0], np.uint8)
        text(units, "depth_elements", ["deep", "superficial"])
        shown = schedule()
        table(
            file,
            "intervals/trials",
            "TimeIntervals",
            {
                "start_time": np.array([onset for _, _, onset in shown] + [20.0, np.nan]),
                "stop_time": np.array([onset + 0.3 for _, _, onset in shown] + [20.3, np.nan]),
                "stimulus_name": ["images"] * (len(shown) + 2),
                "image_name": [IMAGES[i] for i, _, _ in shown] + ["", IMAGES[0]],
                "size": np.array([10 * i for i, _, _ in shown] + [0, 0]),
                "correct": np.array([r % 2 == 0 for _, r, _ in shown] + [False] * 2),
                "block": [f"b{r % 2}" for _, r, _ in shown] + ["b9"] * 2,
            },
        )
        table(
            file,
            "intervals/epochs",
            "TimeIntervals",
            {"start_time": np.array([0.0]), "stop_time": np.array([30.0])},
        )
        frames = table(
            file,
            "intervals/scenes_presentations",
            "TimeIntervals",
            {"start_time": np.array([2.5, 3.5, 4.5]), "frame": np.array([7.0, -1.0, 7.0])},
            {"tags": [[b"a"], [b"a", b"b"], [b"b"]]},
        )
        text(frames, "stimulus_name", ["natural_scenes"] * 3)
        images = file.create_group("stimulus/templates/pictures")
        for name in ("zebra", "ant"):
            images[name] = np.zeros((2, 2), np.uint8)
        images["order_of_images"] = np.array([images[n].ref for n in ("zebra", "ant")], h5py.ref_dtype)
        series = file.create_group("stimulus/presentation/flashes")
        series.attrs["neurodata_type"] = "IndexSeries"
        series["data"] = np.array([1, 0, 1], np.uint32)
        series["timestamps"] = np.array([2.625, 5.625, 7.625])
        series["indexed_images"] = h5py.SoftLink("/stimulus/templates/pictures")
    return folder
