"""What every cube and every result must look like, as data: read by the check, the docs and the tests."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from stores.dims import (
    CANDIDATE,
    CHANNEL,
    CUBE,
    ORIENTATION,
    PAIR,
    REPEAT,
    STIMULUS,
    STIMULUS_A,
    STIMULUS_B,
    SUBJECT,
    TIME,
    UNIT,
)

SCHEMA_VERSION: Final = 1


@dataclass(frozen=True)
class Spec:
    """The shape of one modality or result kind.

    dims : the exact dims, in order.            kinds : allowed NumPy dtype kinds, a string such as "fiu".
    units : allowed `attrs["units"]`; empty allows any text that is not empty.
    coords : required coordinates and the dims each lies on; `optional` likewise, checked where present.
    attrs : attributes that must be there, beside `modality`, `quantity` and `units`.
    index : dims that carry unique string ids.  timeless : the time axis is the single value 0.0.
    """

    name: str
    doc: str
    kinds: str
    dims: tuple[str, ...] = CUBE
    units: tuple[str, ...] = ()
    coords: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    optional: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    attrs: tuple[str, ...] = ()
    index: tuple[str, ...] = (STIMULUS, UNIT)
    timeless: bool = False


_specs: dict[str, Spec] = {}
SPECS: Final[Mapping[str, Spec]] = MappingProxyType(_specs)
"""Every registered spec by name; a cube names its own in `attrs["modality"]`."""

_STIMULUS_COORDS: Final = dict.fromkeys(("concept", "category", "split", "file"), (STIMULUS,))
_PLACE: Final = dict.fromkeys(("region", "hemisphere", "x", "y", "z"), (UNIT,))
_RUNS: Final = {"run": (REPEAT,), "session": (REPEAT,)}
_BRAIN: Final = ("dataset", "subject")


def register(spec: Spec) -> Spec:
    """Add `spec` to `SPECS`; a second one of the same name is refused."""
    if spec.name in _specs:
        raise ValueError(f"a spec named {spec.name!r} is registered already")
    _specs[spec.name] = spec
    return spec


FMRI: Final = register(
    Spec(
        "fmri",
        "One response amplitude per voxel or vertex and presentation: GLM betas, percent signal change or z.",
        kinds="f",
        units=("percent signal change", "z", "a.u."),
        optional=_STIMULUS_COORDS | _PLACE | _RUNS,
        attrs=_BRAIN,
        timeless=True,
    )
)
MEG: Final = register(
    Spec(
        "meg_epochs",
        "Baseline-corrected magnetic field per sensor; time runs from stimulus onset.",
        kinds="f",
        units=("T", "T/m", "z", "a.u."),
        coords={"channel": (UNIT,)},
        optional=_STIMULUS_COORDS | _PLACE | _RUNS | {"channel_type": (UNIT,)},
        attrs=_BRAIN,
    )
)
EEG: Final = register(
    Spec(
        "eeg_epochs",
        "Scalp potential per electrode; time runs from stimulus onset.",
        kinds="f",
        units=("V", "uV", "z", "a.u."),
        coords={"channel": (UNIT,)},
        optional=_STIMULUS_COORDS | _PLACE | _RUNS | {"channel_type": (UNIT,)},
        attrs=_BRAIN,
    )
)
SOURCES: Final = register(
    Spec(
        "meg_sources",
        "Source amplitude per label or vertex of an inverse solution; time runs from stimulus onset.",
        kinds="f",
        units=("A m", "dSPM", "sLORETA", "z", "a.u."),
        coords={"region": (UNIT,)},
        optional=_STIMULUS_COORDS | _PLACE | _RUNS | {"vertex": (UNIT,), "band": (UNIT,)},
        attrs=_BRAIN,
    )
)
SPIKES: Final = register(
    Spec(
        "spikes",
        "Spike count (or rate) per neuron and time bin; 0 means silent, NaN means not presented.",
        kinds="fiu",
        units=("spikes", "spikes/s"),
        optional=_STIMULUS_COORDS | _PLACE | _RUNS | {"channel": (UNIT,), "reliability": (UNIT,)},
        attrs=_BRAIN,
    )
)
MUA: Final = register(
    Spec(
        "mua",
        "Multi-unit activity per electrode, averaged over a response window or along time.",
        kinds="f",
        units=("uV", "z", "a.u."),
        optional=_STIMULUS_COORDS
        | _PLACE
        | _RUNS
        | {"array": (UNIT,), "channel": (UNIT,), "reliability": (UNIT,)},
        attrs=_BRAIN,
    )
)
ACTIVATIONS: Final = register(
    Spec(
        "activations",
        "What one layer of a network answers to each stimulus; row and col are places on its map.",
        kinds="f",
        units=("a.u.",),
        optional=_STIMULUS_COORDS | dict.fromkeys(("channel", "row", "col", "token"), (UNIT,)),
        attrs=("network", "layer"),
        timeless=True,
    )
)
IMAGES: Final = register(
    Spec(
        "images",
        "The stimuli themselves: one 8-bit sRGB value per pixel and channel, rows first, channel fastest.",
        kinds="u",
        units=("sRGB level",),
        coords=dict.fromkeys(("row", "col", "channel"), (UNIT,)),
        optional=_STIMULUS_COORDS,
        attrs=("dataset", "height", "width", "channels"),
        timeless=True,
    )
)
BEHAVIOUR: Final = register(
    Spec(
        "behaviour",
        "Scores of people for each stimulus: memorability, ratings, choices; one unit per measure.",
        kinds="f",
        optional=_STIMULUS_COORDS | _RUNS,
        attrs=("dataset",),
        timeless=True,
    )
)

RDM: Final = register(
    Spec(
        "rdm",
        "Dissimilarity of every pair of stimuli, condensed in `numpy.triu_indices(k=1)` order.",
        kinds="f",
        dims=(TIME, PAIR),
        coords={STIMULUS_A: (PAIR,), STIMULUS_B: (PAIR,)},
        attrs=("metric",),
        index=(),
    )
)
RDM_STACK: Final = register(
    Spec(
        "rdm_stack",
        "RDMs of several subjects over the same stimuli.",
        kinds="f",
        dims=(SUBJECT, TIME, PAIR),
        coords={STIMULUS_A: (PAIR,), STIMULUS_B: (PAIR,)},
        optional={"session": (SUBJECT,)},
        attrs=("metric",),
        index=(SUBJECT,),
    )
)
RDM_CANDIDATES: Final = register(
    Spec(
        "rdm_candidates",
        "RDMs of several candidates over the same stimuli: layers of networks, in their order.",
        kinds="f",
        dims=(CANDIDATE, TIME, PAIR),
        coords={
            STIMULUS_A: (PAIR,),
            STIMULUS_B: (PAIR,),
            "network": (CANDIDATE,),
            "layer": (CANDIDATE,),
        },
        attrs=("metric",),
        index=(CANDIDATE,),
    )
)
RSA: Final = register(
    Spec(
        "rsa",
        "Similarity of candidate RDMs to measured ones, per time point. `score` compares with the mean of the "
        "measured RDMs; `subject_score` is the mean over subjects, which the ceilings bound.",
        kinds="f",
        dims=(CANDIDATE, TIME),
        coords={
            "network": (CANDIDATE,),
            "layer": (CANDIDATE,),
            "subject_score": (CANDIDATE, TIME),
            "sem": (CANDIDATE, TIME),
            "ceiling_lower": (TIME,),
            "ceiling_upper": (TIME,),
        },
        attrs=("method", "metric", "reference"),
        index=(CANDIDATE,),
    )
)
CEILING: Final = register(
    Spec(
        "noise_ceiling",
        "Lower (leave one subject out) and upper (all subjects) bound on the score any model can reach.",
        kinds="f",
        dims=("bound", TIME),
        attrs=("method",),
        index=("bound",),
    )
)
UNIT_SCORES: Final = register(
    Spec(
        "unit_scores",
        "One number per unit and time point: reliability, a noise ceiling, an encoding score.",
        kinds="f",
        dims=(UNIT, TIME),
        optional=_PLACE,
        attrs=("measure",),
        index=(UNIT,),
    )
)
SCORES: Final = register(
    Spec(
        "scores",
        "Cross-validated scores of one decoder per fold and time point.",
        kinds="f",
        dims=("fold", TIME),
        attrs=("scoring", "estimator"),
        index=(),
    )
)
WEIGHTS: Final = register(
    Spec(
        "weights",
        "Linear weights from features to units.",
        kinds="f",
        dims=("feature", UNIT, TIME),
        attrs=("estimator",),
        index=("feature", UNIT),
    )
)
OPERATOR: Final = register(
    Spec(
        "source_operator",
        "Weights of sensors, in T, T/m or V, to signed sources: an inverse solution of one person.",
        kinds="f",
        dims=(UNIT, ORIENTATION, CHANNEL),
        units=SOURCES.units,
        coords={"vertex": (UNIT,), "channel_type": (CHANNEL,)},
        optional=_PLACE,
        attrs=("method", "subject", "frame"),
        index=(UNIT, ORIENTATION, CHANNEL),
    )
)
RESULTS: Final = tuple(
    spec.name
    for spec in (RDM, RDM_STACK, RDM_CANDIDATES, RSA, CEILING, UNIT_SCORES, SCORES, WEIGHTS, OPERATOR)
)
MODALITIES: Final = tuple(name for name in _specs if name not in RESULTS)
