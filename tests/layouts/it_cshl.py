"""L2_str with ragged repeats, silent and one-spike trials; a train tells its unit, clip and repeat."""

from pathlib import Path

import numpy as np

from tests.layouts.matlab73 import Writer

NAME = "x_fixshortvid1_coco_session.mat"
# Repeats per unit and clip: 0 is a clip never shown to that unit.
REPEATS = ((3, 2, 4, 1), (1, 1, 1, 1), (2, 0, 3, 5))
CLIPS = ["walk_01", "face_02", "ball_03", "tree_04"]


def train(unit, clip, repeat):
    """Spike times: one early spike, as many in the bin of 0.1 s as the places add up to; some are empty."""
    if (unit, clip, repeat) in {(0, 0, 0), (1, 1, 0), (2, 3, 4)}:
        return np.empty(0)
    if (unit, clip, repeat) == (0, 3, 0):
        return np.array([0.1])
    late = 0.1 + 0.0001 * np.arange(1 + 9 * unit + 2 * clip + repeat)
    return np.concatenate([[-0.05], late, [0.3]])


def nest():
    return [
        [[train(u, c, r) for r in range(count)] for c, count in enumerate(counts)]
        for u, counts in enumerate(REPEATS)
    ]


def write(folder: Path, column: bool = True, struct_array: bool = False, trains=None, names=True) -> Path:
    """One session in `folder`."""
    with Writer(folder / NAME) as mat:
        group = mat.file.create_group("L2_str")
        group.attrs["MATLAB_class"] = np.bytes_("struct")
        mat.cell(group, "spikes", trains or nest(), column, marked=not struct_array)
        if struct_array:
            mat.cell(
                group, "neuron_id", [np.array(11.0), np.array(12.0), np.array(14.0)], False, marked=False
            )
            return folder
        if names:
            mat.cell(group, "itemnames", CLIPS, column)
            mat.array(group, "neuron_id", np.array([11.0, 12.0, 14.0]))
        mat.array(group, "itempos", np.arange(8.0).reshape(4, 2))
        mat.cell(group, "fields", ["a", "b"], column)
    return folder
