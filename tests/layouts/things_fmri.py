"""THINGS-fMRI as tables and as volumes, small: voxel v in trial t is 1000 v + t.

Planted: pickles (junk bytes here) as axis0 and block0_items, an axis1 that is not the voxel ids, two headers
with a line feed, regions that overlap, "LO1 (prf)", ceilings of 0, trials shuffled in the table, catch trials and
a wrong folder name in the volumes, five scattered folders.
"""

from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
import pandas as pd

from tests.layouts.things_stimuli import WRONG_FOLDER

SHAPE = (5, 4, 4)
MASK = np.random.default_rng(5).permutation(80).reshape(SHAPE) < 40
VOXELS, SESSIONS, RUNS, TRAIN, TEST = 40, 2, 2, 8, 2
VOXEL_IDS = np.arange(VOXELS) * 3 + 1
CONCEPTS = ("air_conditioner", "camera_lens", "coat_rack", "hot-air_balloon")
TEST_STEMS = ("coat_rack_13s", "zebra_14s", "bat1_13s", "t-shirt_13n")
ROIS = (
    *("V1", "V2", "V3", "hV4", "VO1", "VO2", "LO1 (prf)", "LO2 (prf)", "TO1", "TO2", "V3b", "V3a"),
    *(f"{side}{roi}" for roi in ("EBA", "FFA", "OFA", "STS", "PPA", "RSC", "TOS", "LOC") for side in "lr"),
    *("IT", "glasser-V1", "glasser-p9-\n46v", "glasser-a9-\n46v"),
    *(f"glasser-{n:03d}" for n in range(177)),
)


def trials():
    """(session, run, trial_type, stem) as presented: every test image once in each session."""
    train = iter(f"{concept}_{n:02d}s" for n in range(1, 13) for concept in CONCEPTS)
    found = []
    for session in range(1, SESSIONS + 1):
        for run in range(1, RUNS + 1):
            part = [("train", next(train)) for _ in range(TRAIN)]
            part[3:3] = [("test", stem) for stem in TEST_STEMS[(run - 1) * TEST : run * TEST]]
            found += [(session, run, *one) for one in part]
    return found


def value(voxel, trial):
    return 1000.0 * voxel + trial


def responses(path: Path):
    shape = (VOXELS, len(trials()))
    with h5py.File(path, "w") as file:
        group = file.create_group("ResponseData")
        group.attrs["pandas_type"] = np.bytes_("frame")
        junk = h5py.vlen_dtype(np.uint8)
        for name in ("axis0", "block0_items", "block1_items"):
            made = group.create_dataset(name, (1,), dtype=junk)
            made[0] = np.frombuffer(b"\x80\x04cos\nsystem\n(S'exit 1'\ntR.", np.uint8)
            made.attrs["PSEUDOATOM"] = np.bytes_("object")
        group["axis1"] = np.arange(VOXELS)
        group["block0_values"] = value(*np.indices(shape))
        group["block1_values"] = VOXEL_IDS[:, None]


def stimuli(path: Path):
    rows = [
        (kind, session, run, 1, n, f"{stem}.jpg", stem.rsplit("_", 1)[0])
        for n, (session, run, kind, stem) in enumerate(trials())
    ]
    names = ["trial_type", "session", "run", "subject_id", "trial_id", "stimulus", "concept"]
    order = np.random.default_rng(1).permutation(len(rows))
    pd.DataFrame(rows, columns=names).iloc[order].to_csv(path, index=False)


def voxels(path: Path):
    x, y, z = np.nonzero(MASK)
    v = np.arange(VOXELS)
    found = {"voxel_id": VOXEL_IDS, "subject_id": 1, "voxel_x": x, "voxel_y": y, "voxel_z": z}
    found |= {"nc_singletrial": v * 0.5, "nc_testset": v * 2.0}
    found |= {"splithalf_uncorrected": v / 100, "splithalf_corrected": v / 50}
    found |= {"prf-eccentricity": v / 4, "prf-polarangle": v * 9.0, "prf-rsquared": v / 40, "prf-size": v / 8}
    for n, roi in enumerate(ROIS):
        found[roi] = (v % (n + 2) == 0).astype(int)
    pd.DataFrame(found).to_csv(path, index=False)


def write(folder: Path, subjects=("sub-01",)) -> Path:
    """The table distribution."""
    for subject in subjects:
        responses(folder / f"{subject}_ResponseData.h5")
        stimuli(folder / f"{subject}_StimulusMetadata.csv")
        voxels(folder / f"{subject}_VoxelMetadata.csv")
    return folder


def volume_trials():
    """(session, run) -> file names of its trials, a catch trial among them."""
    found = {}
    for session, run, _, stem in trials():
        concept = stem.rsplit("_", 1)[0]
        names = found.setdefault((session, run), [])
        names.append(f"{WRONG_FOLDER.get(concept, concept)}/{stem}.jpg")
        if len(names) == 5:
            names.append("catch008.jpg")
    return found


def volume_value(session, run, trial):
    """One volume: 1000 times the place in C order, then session, run and trial."""
    return 1000.0 * np.arange(80).reshape(SHAPE) + 100 * session + 20 * run + trial


def write_volumes(folder: Path, subject="sub-01", mask=True) -> Path:
    """The volume distribution."""
    for (session, run), names in volume_trials().items():
        here = folder / "scalematched" / subject / f"ses-things{session:02d}"
        here.mkdir(parents=True, exist_ok=True)
        stem = here / f"{subject}_ses-things{session:02d}_run-{run:02d}"
        values = np.stack([volume_value(session, run, n) for n in range(len(names))], axis=-1)
        nib.Nifti1Image(values, np.eye(4)).to_filename(f"{stem}_betas.nii.gz")
        table = pd.DataFrame({"image_filename": names})
        table.to_csv(f"{stem}_conditions.tsv", sep="\t")
    if mask:
        (folder / "brainmasks").mkdir(exist_ok=True)
        image = nib.Nifti1Image(MASK.astype(np.uint8), np.eye(4))
        image.to_filename(folder / "brainmasks" / f"{subject}_space-T1w_brainmask.nii.gz")
    return folder


def map_value(kind):
    """A map on the grid, every voxel another value."""
    return (np.arange(80).reshape(SHAPE) + {"angle": 0, "eccen": 100, "sigma": 200}.get(kind, 300)) / 4


def areas():
    """Codes 0 to 12."""
    return (np.arange(80).reshape(SHAPE) % 13).astype(np.float32)


def write_maps(folder: Path, subject="sub-01") -> Path:
    """Noise ceilings, parcels (no right FFA) and receptive fields, as the small zips unpack."""
    places = {f"noise_ceilings/{subject}_nc_n-{n}": map_value("nc") + n for n in (1, 12)}
    for kind, name in (("face", "lFFA"), ("face", "lOFA"), ("body", "rEBA")):
        inside = (np.arange(80).reshape(SHAPE) % len(kind + name) == 0).astype(np.uint8)
        places[f"rois/category_localizer/{subject}/{kind}_parcels/{subject}_{name}"] = inside
    places |= {
        f"rois/prf/{subject}/resampled_{kind}": map_value(kind) for kind in ("angle", "eccen", "sigma")
    }
    places[f"rois/prf/{subject}/resampled_varea"] = areas()
    for name, values in places.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        nib.Nifti1Image(values, np.eye(4)).to_filename(folder / f"{name}.nii.gz")
    return folder
