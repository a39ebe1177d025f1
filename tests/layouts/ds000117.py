"""Faces in MEG (ds000117), small: sample s of channel c in run r is 200000 r + 16384 c + s, in sss 800000 more.

Planted: a first sample that is not 0, electrodes that are none, types of channels whose units differ and that lie
mixed, side files that are inherited, button presses in the trigger channel and in a newer table, pictures of one
name in two folders, repeats that are ragged and cross runs, trials that do not fit, another system's companion.
"""

import json
from pathlib import Path

import mne
import numpy as np

RATE, SAMPLES, FIRST, DELAY = 1100.0, 7150, 5500, 38
NAMES = ["MEG0113", "EEG001", "MEG0111", "EEG061", "MEG0112", "EEG002", "STI101"]
KINDS = ["grad", "eeg", "mag", "eeg", "grad", "eeg", "stim"]
SCALE = {"grad": 1e-12, "mag": 1e-14, "eeg": 1e-7, "stim": 1.0}
PICKED = {"grad": [0, 4], "mag": [2], "eeg": [1, 5]}
BAD = "EEG002"
# (sample, trigger, picture); the first and last of run 1 do not fit into it.
EVENTS = {
    1: [
        (100, 17, "s009"), (1237, 5, "f001"), (2400, 6, "f001"), (3611, 13, "u002"),
        (4800, 17, "s001"), (5901, 15, "u002"), (6900, 19, "s009"),
    ],
    2: [(700, 17, "s009"), (1901, 5, "f003"), (3100, 7, "f001"), (4207, 18, "s009"), (5500, 13, "u001")],
}  # fmt: skip
SHOWN = {
    "meg/f001": [(1, 1237), (1, 2400), (2, 3100)],
    "meg/f003": [(2, 1901)],
    "meg/s001": [(1, 4800)],
    "meg/s009": [(2, 700), (2, 4207)],
    "meg/u001": [(2, 5500)],
    "meg/u002": [(1, 3611), (1, 5901)],
}
# The first press lasts from before the trigger at 1237 until after it.
BUTTONS = {1: [(1200, 4096), (3000, 256)], 2: [(2000, 4096)]}
CODES = {
    5: "IniFF",
    6: "ImmFF",
    7: "DelFF",
    13: "IniUF",
    14: "ImmUF",
    15: "DelUF",
    17: "IniSF",
    18: "ImmSF",
    19: "DelSF",
}
TYPES = {"f": "Famous", "u": "Unfamiliar", "s": "Scrambled"}
PREFIX = "sub-01_ses-meg_task-facerecognition"
MEG = Path("sub-01", "ses-meg", "meg")
SSS = Path("derivatives", "meg_derivatives")


def numbers(run, kind, sample, sss=False):
    """Whole numbers (channel of this kind, time) from 0.2 s before a picture is seen to 0.8 s after."""
    at = sample + DELAY - 220 + np.arange(1101)
    return 200000 * run + 16384 * np.array(PICKED[kind])[:, None] + at + 800000 * sss


def recording(run, sss=False):
    info = mne.create_info(NAMES, RATE, KINDS, verbose="error")
    for n, one in enumerate(info["chs"]):
        one["loc"][:3] = n / 100, n / 200, -n / 400
    scales = np.array([SCALE[one] for one in KINDS])
    values = 200000.0 * run + 16384 * np.arange(len(NAMES))[:, None] + np.arange(SAMPLES) + 800000 * sss
    values *= scales[:, None]
    values[-1] = 0
    for sample, trigger, _ in EVENTS[run]:
        values[-1, sample : sample + 30] += trigger
    for sample, button in BUTTONS[run]:
        values[-1, sample : sample + 100] += button
    return mne.io.RawArray(values, info, first_samp=FIRST, verbose="error")


def events(run, newer=False):
    """The table of a run as text, in the columns of either version."""
    if not newer:
        rows = [(s / RATE, 0, s, TYPES[name[0]], code, f"meg/{name}.bmp") for s, code, name in EVENTS[run]]
        return table(["onset", "duration", "onset_sample", "stim_type", "trigger", "stim_file"], rows)
    found = [(s, CODES[code], code, f"meg/{name}.bmp") for s, code, name in EVENTS[run]]
    found += [(s, "btnR" if code == 4096 else "btnL", code, "n/a") for s, code in BUTTONS[run]]
    rows = [(round(s / RATE, 4), 0.0, kind, code, s, name) for s, kind, code, name in sorted(found)]
    return table(["onset", "duration", "trial_type", "value", "sample", "stim_file"], rows)


def table(header, rows):
    return "".join("\t".join(map(str, row)) + "\n" for row in [header, *rows])


def channels():
    types = {"grad": "MEGGRADPLANAR", "mag": "MEGMAG", "eeg": "EEG", "stim": "TRIG"}
    rows = [
        (name, "HEOG" if name == "EEG061" else types[kind], "n/a", "n/a", "bad" if name == BAD else "good")
        for name, kind in zip(NAMES, KINDS, strict=True)
    ]
    return table(["name", "type", "units", "description", "status"], rows)


def write(folder: Path, newer=False) -> Path:
    """sub-01 with two runs, raw and MaxFiltered, and what lies around them."""
    meg, sss = folder / MEG, folder / SSS / MEG
    for one in (meg, sss, folder / "sub-01" / "ses-meg" / "beh", folder / "sub-01" / "ses-mri" / "func"):
        one.mkdir(parents=True, exist_ok=True)
    for run in EVENTS:
        name = f"{PREFIX}_run-{run:02d}"
        recording(run).save(meg / f"{name}_meg.fif", overwrite=True, verbose="error")
        recording(run, sss=True).save(sss / f"{name}_proc-sss_meg.fif", overwrite=True, verbose="error")
        (meg / f"{name}_events.tsv").write_text(events(run, newer))
        (meg / f"._{name}_events.tsv").write_bytes(b"\0\5\x16\7" * 100)
        (sss / f"{name}_proc-sss_meg.json").write_text(json.dumps({"trans": "run4", "st": 10}) + "\n")
        (
            folder
            / "sub-01"
            / "ses-mri"
            / "func"
            / f"{PREFIX.replace('meg', 'mri')}_run-{run:02d}_events.tsv"
        ).write_text(
            table(
                ["onset", "duration", "trial_type", "trigger", "stim_file"],
                [(1.0, 0, "IniFF", 5, "func/f001.bmp")],
            )
        )
    empty = "sub-emptyroom/ses-20090409/meg/sub-emptyroom_ses-20090409_task-noise_meg.fif"
    (folder / empty).parent.mkdir(parents=True, exist_ok=True)
    (folder / empty).write_bytes(b"")
    (meg / f"{PREFIX}_meg.json").write_text(json.dumps({"AssociatedEmptyRoom": empty}) + "\n")
    (meg / f"{PREFIX}_channels.tsv").write_text(channels())
    (meg / "sub-01_ses-meg_headshape.pos").write_text("0\n")
    (meg / "sub-01_ses-meg_coordsystem.json").write_text("{}\n")
    (folder / "sub-01" / "ses-meg" / "beh" / "sub-01_ses-meg_task-facerecognition_events.tsv").write_text(
        table(["stim_file", "button_press"], [("meg/f001.bmp", 3)])
    )
    (folder / SSS / "ct_sparse.fif").write_bytes(b"")
    (folder / SSS / "sss_cal.dat").write_bytes(b"")
    for one in ("meg", "func"):
        (folder / "stimuli" / one).mkdir(parents=True, exist_ok=True)
        for name in {name for rows in EVENTS.values() for _, _, name in rows}:
            (folder / "stimuli" / one / f"{name}.bmp").write_bytes(f"BM{one}/{name}".encode())
    return folder
