"""The names of every axis, spelled once."""

from typing import Final

STIMULUS: Final = "stimulus"
UNIT: Final = "unit"
TIME: Final = "time"
REPEAT: Final = "repeat"

CUBE: Final = (STIMULUS, UNIT, TIME, REPEAT)
"""The dims of every cube, in this order; each is present even where its size is 1."""

PAIR: Final = "pair"
"""Pairs of stimuli in `numpy.triu_indices(k=1)` order: the condensed axis of an RDM."""
STIMULUS_A: Final = "stimulus_a"
STIMULUS_B: Final = "stimulus_b"
SUBJECT: Final = "subject"
"""One measured RDM or score per subject (or per session of a subject)."""
CANDIDATE: Final = "candidate"
"""What is compared with the brain: one layer of one network."""
ORIENTATION: Final = "orientation"
"""The signed components of a source: x, y, z, or the normal alone."""
CHANNEL: Final = "channel"
"""Sensors by name: an axis of what maps sensors to sources, a coordinate elsewhere."""

VALUES: Final = "values"
"""The variable that holds a cube's numbers inside its Zarr group."""
