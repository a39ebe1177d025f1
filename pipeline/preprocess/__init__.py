"""From recordings to cubes: cleaning, epochs, band envelopes and noise normalisation of MEG and EEG.

MNE does the work on signals; here are labels, laziness and errors.
"""

from pipeline.preprocess.anatomy import FACES_SOURCES, SourceFiles, SourceSettings, forward_of, source_space
from pipeline.preprocess.bands import band_envelopes
from pipeline.preprocess.cubes import count_dropped, epochs_cube
from pipeline.preprocess.epochs import Epoched, band_envelope, cut_epochs
from pipeline.preprocess.ica import fit_ica
from pipeline.preprocess.inverse import inverse_operator, noise_covariance, operator_of
from pipeline.preprocess.labels import UnitMap, label_map, morph_map, read_labels
from pipeline.preprocess.raw import Cleaned, clean, find_bads
from pipeline.preprocess.run_tasks import Run
from pipeline.preprocess.runs import Preprocessed, preprocess_runs
from pipeline.preprocess.settings import (
    BANDS,
    FACES_MEG,
    BadChannels,
    CleanSettings,
    EpochSettings,
    Filter,
    Ica,
    Maxwell,
    Preset,
)
from pipeline.preprocess.source_cubes import sources, store_sources
from pipeline.preprocess.spikes import presented, psth, rates, rebin
from pipeline.preprocess.storing import store_runs
from pipeline.preprocess.trials import Onsets, Trials, Triggers, find_trials, onsets
from pipeline.preprocess.whitening import whiten, whitener

__all__ = [
    "BANDS",
    "FACES_MEG",
    "FACES_SOURCES",
    "BadChannels",
    "CleanSettings",
    "Cleaned",
    "EpochSettings",
    "Epoched",
    "Filter",
    "Ica",
    "Maxwell",
    "Onsets",
    "Preprocessed",
    "Preset",
    "Run",
    "SourceFiles",
    "SourceSettings",
    "Trials",
    "Triggers",
    "UnitMap",
    "band_envelope",
    "band_envelopes",
    "clean",
    "count_dropped",
    "cut_epochs",
    "epochs_cube",
    "find_bads",
    "find_trials",
    "fit_ica",
    "forward_of",
    "inverse_operator",
    "label_map",
    "morph_map",
    "noise_covariance",
    "onsets",
    "operator_of",
    "preprocess_runs",
    "presented",
    "psth",
    "rates",
    "read_labels",
    "rebin",
    "source_space",
    "sources",
    "store_runs",
    "store_sources",
    "whiten",
    "whitener",
]
