"""Simulated recordings in which it is known what was planted."""

import mne
import numpy as np

SFREQ = 250.0
STIMULI = {1: "face", 2: "house", 3: "tool"}
GAIN = {"face": 3.0, "house": 1.0, "tool": -2.0}
PEAK = 0.17
"""Seconds after the stimulus is seen at which the response peaks."""
SPACING = 1.5


def response(times, stimulus):
    """What a stimulus evokes: a Gaussian of 20 ms about PEAK."""
    return GAIN[stimulus] * np.exp(-((times - PEAK) ** 2) / (2 * 0.02**2))


def electrodes(count):
    """Positions on the upper half of a head of 9.5 cm, evenly spread, (count, 3)."""
    n = np.arange(count) + 0.5
    height, turn = n / count * 0.9 + 0.05, np.pi * (1 + 5**0.5) * n
    ring = np.sqrt(1 - height**2)
    return 0.095 * np.stack([ring * np.cos(turn), ring * np.sin(turn), height], axis=1)


def eeg(
    *,
    trials=24,
    channels=16,
    sfreq=SFREQ,
    seed=0,
    delay=0.0,
    heart=0.0,
    blinks=0.0,
    noise=1.0,
    lead=2.0,
    order=None,
):
    """EEG (16 electrodes, EOG, ECG, trigger) in uV: evoked responses, and artefacts of the given sizes.

    noise : standard deviation of what four other sources and each electrode add.
    order : trigger codes of the trials; else cycled through STIMULI.
    """
    rng = np.random.default_rng(seed)
    order = list(order) if order is not None else [1 + n % 3 for n in range(trials)]
    samples = int(sfreq * (lead + SPACING * (len(order) + 1)))
    times = np.arange(samples) / sfreq
    topography = np.linspace(-1, 1, channels)[:, None]
    brain, stim = np.zeros(samples), np.zeros(samples)
    onsets = lead + SPACING * np.arange(len(order))
    for onset, code in zip(onsets, order, strict=True):
        stim[round(onset * sfreq) : round(onset * sfreq) + 5] = code
        brain += response(times - onset - delay, STIMULI[code]) if code in STIMULI else 0
    beats = heartbeats(times, rng)
    lids = eyelids(times, rng)
    place = electrodes(channels)
    others = rng.normal(size=(channels, 4)) / 2 @ rng.laplace(0, 0.5**0.5, (4, samples))
    data = topography * brain + noise * (others + rng.normal(0, 0.2, (channels, samples)))
    data += (
        heart * np.cos(np.arange(channels) * 1.7)[:, None] * beats + blinks * np.exp(place[:, :1] * 30) * lids
    )
    eog = 100 * lids + rng.normal(0, 1, samples)
    ecg = 500 * beats + rng.normal(0, 5, samples)
    names = [f"E{n:02d}" for n in range(channels)]
    info = mne.create_info([*names, "EOG", "ECG", "STI"], sfreq, ["eeg"] * channels + ["eog", "ecg", "stim"])
    raw = mne.io.RawArray(np.vstack([data * 1e-6, eog * 1e-6, ecg * 1e-6, stim]), info, verbose="error")
    montage = mne.channels.make_dig_montage(dict(zip(names, place, strict=True)), coord_frame="head")
    return raw.set_montage(montage, verbose="error")


def heartbeats(times, rng):
    """R waves of 12 ms about every 0.85 s."""
    at = np.cumsum(rng.normal(0.85, 0.04, int(times[-1] / 0.8)))
    return np.exp(-((times[:, None] - at) ** 2) / (2 * 0.012**2)).sum(axis=1)


def eyelids(times, rng):
    """Blinks of some 0.2 s about every 3 s."""
    at = np.cumsum(rng.uniform(2, 4, int(times[-1] / 2)))
    return np.exp(-((times[:, None] - at) ** 2) / (2 * 0.08**2)).sum(axis=1)


def topography(channels=16):
    """How strongly each electrode of `eeg` carries the response."""
    return np.linspace(-1, 1, channels)


def helmet(places=102):
    """Info of an Elekta-like helmet: a magnetometer and two gradiometers at each place."""
    names, types, chs = [], [], []
    for n, at in enumerate(electrodes(places) / 0.095 * 0.12):
        outward = at / np.linalg.norm(at)
        right = np.cross([0.0, 0.0, 1.0], outward)
        right /= np.linalg.norm(right)
        turned = np.stack([right, np.cross(outward, right), outward])
        for k, (kind, coil) in enumerate((("mag", 3024), ("grad", 3012), ("grad", 3012))):
            axes = turned if k < 2 else np.stack([turned[1], -turned[0], turned[2]])
            names.append(f"MEG{n:03d}{k + 1}")
            types.append(kind)
            chs.append((coil, np.concatenate([at, axes.ravel()])))
    info = mne.create_info(names, SFREQ, types)
    with info._unlock():
        info["dev_head_t"] = mne.transforms.Transform("meg", "head", np.eye(4))
        for ch, (coil, loc) in zip(info["chs"], chs, strict=True):
            ch["coil_type"], ch["loc"] = coil, loc
            ch["coord_frame"] = 1
    return info
