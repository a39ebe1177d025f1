"""Settings of source reconstruction, and a person's files to a forward solution. MNE-Python underneath."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import mne

from stores.errors import InputError

Method = Literal["MNE", "dSPM", "sLORETA", "LCMV"]
Orientation = Literal["vector", "normal"]


@dataclass(frozen=True)
class SourceSettings:
    """What decides an inverse operator, in MNE-Python's words; the defaults are those of `FACES_SOURCES`.

    spacing : of the source space. ico, conductivity (S/m) : of the boundary elements; one value is one layer.
    mindist : mm that sources keep from the inner skull. method : "MNE", "dSPM", "sLORETA" or "LCMV".
    orientation : "vector" (three signed components) or "normal" (one, along the cortex's normal).
    loose : share of variance across the normal; 1 is free, which volumes need. depth : exponent, or None.
    snr : lambda^2 is 1 / snr^2. reg, weight_norm : of LCMV.
    reduce_rank : of LCMV; spherical heads need it, in which a third of the orientations is silent to MEG.
    morph_to, morph_grade : whose cortex, and grade of its icosahedron. parcellation : name of its annotation.
    """

    spacing: str = "oct6"
    ico: int | None = 4
    conductivity: tuple[float, ...] = (0.3,)
    mindist: float = 5.0
    method: Method = "MNE"
    orientation: Orientation = "vector"
    loose: float = 0.2
    depth: float | None = 0.8
    snr: float = 3.0
    reg: float = 0.05
    weight_norm: str | None = "unit-noise-gain-invariant"
    reduce_rank: bool = False
    morph_to: str = "fsaverage"
    morph_grade: int = 5
    parcellation: str = "aparc_sub"

    @property
    def lambda2(self) -> float:
        """The penalty of the minimum norm."""
        return 1.0 / self.snr**2


FACES_SOURCES: Final = SourceSettings()
"""The study of faces in ds000117: oct6, one layer of .3 S/m, minimum norm at SNR 3, 448 regions of aparc_sub.

Its noise covariance is what `noise_covariance` makes unless told otherwise: shrunk, three folds, until onset."""


@dataclass(frozen=True)
class SourceFiles:
    """The files of one person.

    subject : as the person's cubes say it. info : any FIF file of the measurement: raw, epochs or evoked.
    src, bem : source space and BEM solution; where not given they are made from the FreeSurfer reconstruction
    `subjects_dir`/`anatomy`. anatomy : the name of that folder where it is not `subject`.
    data_cov : for LCMV.
    """

    subject: str
    info: Path
    trans: Path
    noise_cov: Path | None = None
    data_cov: Path | None = None
    src: Path | None = None
    bem: Path | None = None
    subjects_dir: Path | None = None
    anatomy: str = ""

    @property
    def folder(self) -> str:
        """The name of the FreeSurfer reconstruction."""
        return self.anatomy or self.subject


def forward_of(
    files: SourceFiles,
    info: mne.Info,
    settings: SourceSettings = FACES_SOURCES,
    *,
    src: mne.SourceSpaces | None = None,
) -> mne.Forward:
    """The forward solution of the MEG sensors of `info`, or of the EEG electrodes where there are no others.

    src : the source space; where not given, that of `files`. Raises InputError for files that are missing or are
    something else.
    """
    src = src or source_space(files, settings)
    bem = conductor(files, settings)
    with told(files.trans, "as a transform from head to MRI coordinates"):
        trans = mne.read_trans(files.trans)
    meg = len(mne.pick_types(info, meg=True, exclude=())) > 0
    with told(files.trans, f"for the forward solution of {files.subject}"):
        return mne.make_forward_solution(
            info, trans, src, bem, meg=meg, eeg=not meg, mindist=settings.mindist, verbose="error"
        )


def source_space(files: SourceFiles, settings: SourceSettings = FACES_SOURCES) -> mne.SourceSpaces:
    """The source space in the file, or made on the white surface of the reconstruction."""
    if files.src is not None:
        with told(files.src, "as a source space"):
            return mne.read_source_spaces(files.src, verbose="error")
    folder = _reconstruction(files, "src")
    with told(folder, "as a FreeSurfer reconstruction"):
        return mne.setup_source_space(
            files.folder,
            spacing=settings.spacing,
            subjects_dir=files.subjects_dir,
            add_dist=False,
            verbose="error",
        )


def conductor(files: SourceFiles, settings: SourceSettings = FACES_SOURCES) -> mne.bem.ConductorModel:
    """The BEM solution in the file, or made from the surfaces in the reconstruction's `bem` folder."""
    if files.bem is not None:
        with told(files.bem, "as a BEM solution"):
            return mne.read_bem_solution(files.bem, verbose="error")
    folder = _reconstruction(files, "bem")
    with told(folder, "for its skull surfaces (bem/inner_skull.surf)"):
        model = mne.make_bem_model(
            files.folder,
            ico=settings.ico,
            conductivity=settings.conductivity,
            subjects_dir=files.subjects_dir,
            verbose="error",
        )
        return mne.make_bem_solution(model, verbose="error")


@contextmanager
def told(path: Path, wanted: str) -> Iterator[None]:
    """Whatever MNE raises on missing or broken files becomes an InputError that names the file."""
    try:
        if not path.exists():
            raise InputError(f"{path} does not exist; it was wanted {wanted}")
        yield
    except InputError:
        raise
    except Exception as error:  # MNE raises nearly anything on broken bytes
        raise InputError(
            f"{path} cannot be used {wanted} ({type(error).__name__}: {str(error)[:300]})"
        ) from error


def read_info(path: Path) -> mne.Info:
    """The measurement info of any FIF file."""
    with told(path, "as a FIF file with measurement info"):
        return mne.io.read_info(path, verbose="error")


def read_cov(path: Path) -> mne.Covariance:
    """A covariance file."""
    with told(path, "as a covariance"):
        return mne.read_cov(path, verbose="error")


def _reconstruction(files: SourceFiles, lacking: str) -> Path:
    if files.subjects_dir is None:
        raise InputError(
            f"{files.subject} has neither the file `{lacking}` nor a `subjects_dir` with its FreeSurfer "
            "reconstruction; give one of them"
        )
    return files.subjects_dir / files.folder


def plain(value: Any) -> Any:
    """Settings as plain JSON."""
    return list(value) if isinstance(value, tuple) else value
