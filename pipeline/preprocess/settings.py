"""What can be chosen when recordings are cleaned and cut, as data: plain values that a content key can hash."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal

Kind = Literal["mag", "grad", "eeg"]
"""What a cube's channels are: magnetometers (T), planar gradiometers (T/m) or electrodes (V). Never mixed."""

BANDS: Final[Mapping[str, tuple[float, float]]] = MappingProxyType(
    {
        "theta": (4.0, 8.0),
        "alpha": (8.0, 12.0),
        "beta": (12.0, 30.0),
        "gamma": (30.0, 55.0),
        "high-gamma": (55.0, 90.0),
    }
)
"""Frequency bands in Hz."""


@dataclass(frozen=True)
class Maxwell:
    """Signal space separation of an Elekta or MEGIN recording (`mne.preprocessing.maxwell_filter`).

    st_duration : seconds of the temporal extension (tSSS); None for plain SSS.
    calibration, cross_talk : files of the site, such as `sss_cal.dat` and `ct_sparse.fif`; "" for none.
    destination : FIF file whose head position is taken on, or a place (x, y, z) in metres; "" for its own.
    """

    st_duration: float | None = 10.0
    origin: Literal["auto"] | tuple[float, float, float] = "auto"
    calibration: str = ""
    cross_talk: str = ""
    destination: str | tuple[float, float, float] = ""


@dataclass(frozen=True)
class BadChannels:
    """Which channels are bad and what becomes of them.

    named : known to be bad in every run; `Run.bads` adds those of one.
    find : "deviation": a channel is flat, or the logarithm of its spread lies `limit` robust standard
    deviations from the median channel of its kind, see `pipeline.kernels.channels.deviation`; "maxwell": it
    differs from what SSS makes of the others (`find_bad_channels_maxwell`); "none".
    then : "interpolate" from the neighbours, which needs positions; "missing": NaN in the cube.
    """

    named: tuple[str, ...] = ()
    find: Literal["none", "deviation", "maxwell"] = "none"
    limit: float = 7.0
    then: Literal["interpolate", "missing"] = "interpolate"


@dataclass(frozen=True)
class Filter:
    """Edges in Hz; None leaves that side open.  notch : line noise and its harmonics.

    method : "fir" (firwin, Hamming, zero phase) or "iir" (Butterworth of order 4, zero phase).
    eog_l_freq : high-pass of the EOG channels alone, which makes blinks easier to find.
    """

    l_freq: float | None = None
    h_freq: float | None = None
    notch: tuple[float, ...] = ()
    method: Literal["fir", "iir"] = "fir"
    eog_l_freq: float | None = None


@dataclass(frozen=True)
class Ica:
    """Independent components that follow the heart or the eyes are removed.

    n_components : how many, or the fraction of variance that they explain.
    l_freq : high-pass of the copy that is fitted, against drifts; None where the data have one already.
    decim : every how many samples are fitted.  reject : kind -> peak-to-peak of 2 s that are left out of it.
    ecg_at_most, eog_at_most : 0 looks for none. ecg_threshold : of cross-trial phase statistics, between 0 and
    1. eog_threshold : of a component's correlation with an EOG channel: its z score among all components, or, if
    below 1, the correlation itself, for decompositions so small that no z score is high.
    eog_channels : what follows the eyes where there is no EOG channel, such as frontal electrodes.
    pooled : one decomposition for all runs of a subject rather than one for each.
    """

    n_components: int | float = 0.999
    l_freq: float | None = 1.0
    decim: int = 1
    reject: Mapping[str, float] = field(default_factory=dict)
    ecg_at_most: int = 3
    eog_at_most: int = 3
    ecg_threshold: float = 0.3
    eog_threshold: float = 3.0
    eog_channels: tuple[str, ...] = ()
    pooled: bool = False
    seed: int = 0


@dataclass(frozen=True)
class CleanSettings:
    """What `clean` does, in this order; None leaves a step out.

    channel_types : channel -> what it really is, such as {"EEG061": "eog"}.
    reference : "average" re-references EEG to the mean of its electrodes, at the end.
    """

    channel_types: Mapping[str, str] = field(default_factory=dict)
    bads: BadChannels = BadChannels()
    maxwell: Maxwell | None = None
    filter: Filter | None = None
    ica: Ica | None = None
    reference: Literal["", "average"] = ""


@dataclass(frozen=True)
class EpochSettings:
    """How trials are cut out; times in seconds from the onset of the stimulus.

    delay : from the trigger until the stimulus is seen.  baseline : stretch whose mean is subtracted, or None.
    reject, flat : kind -> largest and smallest peak-to-peak of a good trial, in SI units (V, T, T/m); within
    `reject_window` if given. "auto" instead of a number: `pipeline.kernels.rejection.threshold`.
    decim : keep every how many samples, which needs a low-pass at a third of the new rate or below.
    resample : or resample to this rate, in Hz.
    band : name in `BANDS`: the trials are of the envelope of this band, taken of the signed recording.
    """

    tmin: float = -0.2
    tmax: float = 0.8
    baseline: tuple[float, float] | None = (-0.2, 0.0)
    delay: float = 0.0
    reject: Mapping[str, float | Literal["auto"]] = field(default_factory=dict)
    flat: Mapping[str, float] = field(default_factory=dict)
    reject_window: tuple[float, float] | None = None
    decim: int = 1
    resample: float | None = None
    band: str = ""


@dataclass(frozen=True)
class Preset:
    """Settings that belong together.  kinds : the cubes it makes."""

    clean: CleanSettings
    epoch: EpochSettings
    kinds: tuple[Kind, ...]
    codes: tuple[int, ...] = ()


FACES_MEG: Final = Preset(
    clean=CleanSettings(
        channel_types={"EEG061": "eog", "EEG062": "eog", "EEG063": "ecg", "EEG064": "misc"},
        maxwell=Maxwell(st_duration=10.0),
        filter=Filter(h_freq=90.0, eog_l_freq=1.0),
        ica=Ica(
            n_components=0.999,
            l_freq=None,
            decim=11,
            reject={"grad": 4000e-13, "mag": 4e-12},
            ecg_threshold=0.8,
            pooled=True,
        ),
        reference="average",
    ),
    epoch=EpochSettings(
        tmin=-0.2, tmax=0.8, baseline=(-0.2, 0.0), delay=0.0345, reject={"mag": "auto", "grad": "auto"}
    ),
    kinds=("mag", "grad", "eeg"),
    codes=(5, 6, 7, 13, 14, 15, 17, 18, 19),
)
"""Sensor preprocessing of the face recognition data of Wakeman and Henson (2015), ds000117: 306 MEG channels and
70 electrodes at 1100 Hz, six runs. Parameters of the MFRS study of networks and MEG, but second presentations
are kept, as repeats. `codes` are the triggers of all presentations. The site's files, head positions and the
bad channels of a run are to be added."""
