"""The two MATLAB files of the 92-image set: every value tells its own place."""

from pathlib import Path

import numpy as np
import scipy.io

from stores.readers.kriegeskorte2008 import BRAIN_FILE, CATEGORY, PICTURES_FILE

PAIRS = 92 * 91 // 2
PEOPLE = [(person, session) for person in ("BE", "KO", "SN", "TI") for session in (1, 2)]


def struct(shape, **fields):
    """A MATLAB struct array; each field is a flat list of one value per element."""
    records = np.empty(shape, dtype=[(name, object) for name in fields])
    for name, values in fields.items():
        for at, value in zip(np.ndindex(shape), values, strict=True):
            records[name][at] = value
    return records


def picture(n):
    """Image n (from 0): its number on the ground, its row and column in the other channels."""
    row, col = np.indices((175, 175), dtype=np.uint8)
    return np.stack([np.full_like(row, n), row, col], axis=-1)


def square(entry):
    """RDM of one session: dissimilarity of images a < b is unlike that of any other pair and session."""
    rdm = np.zeros((92, 92), np.float32)
    rdm[np.triu_indices(92, 1)] = (np.arange(PAIRS) + 0.1 * entry) / PAIRS
    return rdm + rdm.T


def write(folder: Path) -> Path:
    """Both files, as published, in `folder`."""
    stimuli = struct(
        (1, 92),
        category=list(CATEGORY),
        human=[np.uint8(one.startswith("human")) for one in CATEGORY],
        face=[np.uint8(one.endswith("face")) for one in CATEGORY],
        animal=[np.uint8("inanimate" not in one) for one in CATEGORY],
        natural=[np.uint8("artificial" not in one) for one in CATEGORY],
        image=[picture(n) for n in range(92)],
    )
    figure = struct(
        (1, 2),
        name=["mIT_674neurons", "hITvisStim_316vx"],
        color=[np.zeros((1, 3), np.uint8)] * 2,
        RDM=[np.arange(PAIRS)[None] / PAIRS, np.zeros((1, PAIRS))],
    )
    scipy.io.savemat(
        folder / PICTURES_FILE, {"stimuli_92objs": stimuli, "RDMs_mIT_hIT_fig1": figure}, do_compression=True
    )
    brains = struct(
        (1, 4, 2),
        RDM=[square(n) for n in range(8)],
        name=[f"hIT | {person} | Session: {session}" for person, session in PEOPLE],
        color=[np.zeros((1, 3))] * 8,
    )
    scipy.io.savemat(folder / BRAIN_FILE, {"RDMs": brains}, do_compression=True)
    return folder
