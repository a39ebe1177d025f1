"""FreeSurfer reconstructions of brains whose hemispheres are balls beside each other in a round skull."""

from pathlib import Path

import mne
import numpy as np
from mne.surface import _get_ico_surface

RADIUS_MM = 34.0
CENTRE_MM = 36.0
SKULL_MM = 90.0


def write(subjects_dir: Path, name: str, *, size: float = 1.0, grade: int = 3, parts: int = 4) -> Path:
    """The folder of `name`: surf, bem and label as `recon-all` and `watershed` leave them.

    size : of the hemispheres, a brain's own. parts : labels of aparc_sub in a hemisphere, beside "unknown".
    """
    folder = subjects_dir / name
    for one in ("surf", "bem", "label"):
        (folder / one).mkdir(parents=True, exist_ok=True)
    ball = _get_ico_surface(grade)
    rr, tris = ball["rr"] / np.linalg.norm(ball["rr"], axis=1, keepdims=True), ball["tris"]
    for hemi, side in (("lh", -1), ("rh", 1)):
        white = rr * RADIUS_MM * size + [side * CENTRE_MM * size, 0, 0]
        for kind, places in (("white", white), ("sphere", rr * 100), ("sphere.reg", rr * 100)):
            mne.write_surface(folder / "surf" / f"{hemi}.{kind}", places, tris, overwrite=True)
    skull = _get_ico_surface(2)
    inner = skull["rr"] / np.linalg.norm(skull["rr"], axis=1, keepdims=True) * SKULL_MM
    mne.write_surface(folder / "bem" / "inner_skull.surf", inner, skull["tris"], overwrite=True)
    mne.write_labels_to_annot(
        labels(name, rr, parts), name, "aparc_sub", subjects_dir=subjects_dir, overwrite=True, verbose="error"
    )
    return folder


def labels(name: str, rr: np.ndarray, parts: int) -> list[mne.Label]:
    """Wedges around the z axis, and "unknown" at its lower end."""
    angle = (np.arctan2(rr[:, 1], rr[:, 0]) + np.pi) / (2 * np.pi)
    wedge = np.minimum((angle * parts).astype(int), parts - 1)
    colour = iter(np.linspace(0.1, 0.9, 2 * parts + 2))
    found = []
    for hemi in ("lh", "rh"):
        bottom = rr[:, 2] < -0.7
        named = [("unknown", bottom)] + [(f"wedge_{n + 1}", (wedge == n) & ~bottom) for n in range(parts)]
        for label, where in named:
            one = mne.Label(np.flatnonzero(where), hemi=hemi, name=f"{label}-{hemi}", subject=name)
            one.color = (next(colour), 0.2 if hemi == "lh" else 0.7, 0.5, 1.0)
            found.append(one)
    return found
