"""Three neurons in raster format, ragged repeats; a trial's spikes tell its unit, stimulus and repeat."""

from pathlib import Path

import numpy as np
import scipy.io

OBJECTS, POSITIONS, ONSET, LENGTH = ("car", "face"), ("lower", "upper"), 101, 300
NAMES = [f"bp100{n}spk_01A_raster_data.mat" for n in (1, 2, 3)]
STIMULI = [f"{one}_{place}" for one in OBJECTS for place in POSITIONS]


def repeats(unit, stimulus):
    return 2 + (unit + stimulus) % 3


def spikes(unit, stimulus, repeat):
    """Columns (from 1) with spikes: the onset, and as many of the next ones as the places add up to."""
    silent = (unit + stimulus + repeat) % 4 == 3
    return [] if silent else [1, ONSET, *range(ONSET + 50, ONSET + 50 + unit + 3 * stimulus), LENGTH]


def trials(unit, seed=5):
    """(stimulus, repeat) in the shuffled order of the file."""
    found = [(s, r) for r in range(4) for s in range(4) if r < repeats(unit, s)]
    order = np.random.default_rng(seed + unit).permutation(len(found))
    shuffled = [found[n][0] for n in order]
    return [(s, shuffled[:n].count(s)) for n, s in enumerate(shuffled)]


def cell(values):
    found = np.empty((1, len(values)), object)
    found[0] = values
    return found


def write(folder: Path, **changes) -> Path:
    """The files in `folder`; `changes` replace variables of the second."""
    for unit, name in enumerate(NAMES):
        shown = trials(unit)
        raster = np.zeros((len(shown), LENGTH), np.uint8)
        for row, (stimulus, repeat) in enumerate(shown):
            raster[row, [column - 1 for column in spikes(unit, stimulus, repeat)]] = 1
        found = {
            "raster_data": raster,
            "raster_labels": {
                "stimulus_ID": cell([STIMULI[s].split("_")[0] for s, _ in shown]),
                "stimulus_position": cell([STIMULI[s].split("_")[1] for s, _ in shown]),
                "combined_ID_position": cell([STIMULI[s] for s, _ in shown]),
                "correct": cell(["yes" if n % 2 else "no" for n in range(len(shown))]),
            },
            "raster_site_info": {
                "session_ID": 1001.0 + unit,
                "recording_channel": 1.0 + unit,
                "unit": "A",
                "alignment_event_time": float(ONSET),
            },
        }
        scipy.io.savemat(folder / name, found | (changes if unit == 1 else {}), do_compression=True)
    return folder
