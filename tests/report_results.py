"""Results as a study might have them, small and seeded: what the report's tests show."""

import numpy as np
import xarray as xr

from stores.dims import CANDIDATE, PAIR, STIMULUS_A, STIMULUS_B, SUBJECT, TIME
from stores.validate import validate

LAYERS = ["conv1", *(f"fire{n}" for n in range(2, 10)), "logits"]
NETWORKS = ("squeezenet1_0", "squeezenet1_0-untrained-0")
KINDS = ("human body", "human face", "animal body", "animal face", "fruit", "artificial object")
MADE = {
    "content_key": "9f2c" * 16,
    "made_from": {
        "step": "rsa",
        "parameters": {"method": "spearman", "metric": "correlation"},
        "sources": [
            {"file": "92_Brain_RDMs.mat", "bytes": 391_822, "sha256": "ab" * 32},
            {"file": "squeezenet.npz", "bytes": 4_941_033, "sha256": "cd" * 32},
        ],
    },
    "versions": {"python": "3.11.7", "numpy": "2.4.6", "dask": "2026.8.0"},
}


def stimuli(n: int = 92) -> list[str]:
    return [f"stimulus-{at:02d}" for at in range(n)]


def categories(n: int = 92) -> dict[str, str]:
    return {one: KINDS[at % len(KINDS)] for at, one in enumerate(stimuli(n))}


def rdm(n: int = 92, times: tuple[float, ...] = (0.0,), subjects: int = 0) -> xr.DataArray:
    rng = np.random.default_rng([7, n])
    kind = np.array([at % len(KINDS) for at in range(n)])
    first, second = np.triu_indices(n, 1)
    apart = 0.55 + 0.3 * (kind[first] != kind[second]) + 0.25 * ((kind[first] < 4) != (kind[second] < 4))
    shape = (subjects or 1, len(times), len(first))
    values = (apart + rng.normal(0, 0.12, shape)).astype("float32")
    ids = np.array(stimuli(n), dtype=object)
    coords = {TIME: np.array(times), STIMULUS_A: (PAIR, ids[first]), STIMULUS_B: (PAIR, ids[second])}
    attrs = {"metric": "correlation", "quantity": "dissimilarity", "units": "a.u.", "provenance": MADE}
    if not subjects:
        made = xr.DataArray(values[0], dims=(TIME, PAIR), coords=coords, name="rdm/human-it")
        return validate(made.assign_attrs(attrs, modality="rdm"))
    coords[SUBJECT] = np.array([f"subject-{at + 1}" for at in range(subjects)], dtype=object)
    made = xr.DataArray(values, dims=(SUBJECT, TIME, PAIR), coords=coords, name="rdms/human-it")
    return validate(made.assign_attrs(attrs, modality="rdm_stack"))


def candidates(
    networks: tuple[str, ...] = NETWORKS, layers: list[str] = LAYERS, n: int = 12, times: int = 1
) -> xr.DataArray:
    names = [(network, layer) for network in networks for layer in layers]
    stack = rdm(n, tuple(np.arange(times) / 10), subjects=len(names)).rename({SUBJECT: CANDIDATE})
    scale = np.geomspace(1e-9, 1, len(names)).astype("float32")  # as layers differ in Euclidean distances
    made = (stack * scale[:, None, None]).assign_coords(
        {
            CANDIDATE: np.array(["/".join(name) for name in names], dtype=object),
            "network": (CANDIDATE, np.array([network for network, _ in names], dtype=object)),
            "layer": (CANDIDATE, np.array([layer for _, layer in names], dtype=object)),
        }
    )
    return validate(made.assign_attrs(stack.attrs, modality="rdm_candidates").rename("rdm/it/candidates"))


def rsa(
    networks: tuple[str, ...] = NETWORKS,
    layers: list[str] = LAYERS,
    times: tuple[float, ...] = (0.0,),
    name: str = "rsa/human-it",
    subjects: bool = True,
) -> xr.DataArray:
    rng = np.random.default_rng([11, len(times)])
    depth = np.tile(np.linspace(0, 1, len(layers)), len(networks))
    network = np.repeat(np.array(networks, dtype=object), len(layers))
    trained = np.array(["untrained" not in one for one in network])
    height = np.where(trained, 0.06 + 0.26 * depth**1.5 - 0.1 * (depth > 0.95), 0.05 + 0.02 * depth)
    time = np.array(times)
    course = np.exp(-((time[None, :] - 0.09 - 0.08 * depth[:, None]) ** 2) / 0.004) if len(times) > 1 else 1.0
    values = height[:, None] * course + rng.normal(0, 0.006, (len(depth), len(times)))
    nothing = np.full_like(values, np.nan)
    layer = np.array(layers * len(networks), dtype=object)
    ceiling = (
        np.where((time > 0.03) | (len(time) == 1), 1.0, 0.12) if subjects else np.full(len(time), np.nan)
    )
    result = xr.DataArray(
        values.astype("float64"),
        dims=(CANDIDATE, TIME),
        coords={
            CANDIDATE: np.array([f"{a}/{b}" for a, b in zip(network, layer, strict=True)], dtype=object),
            TIME: time,
            "network": (CANDIDATE, network),
            "layer": (CANDIDATE, layer),
            "subject_score": ((CANDIDATE, TIME), 0.8 * values if subjects else nothing),
            "sem": ((CANDIDATE, TIME), np.full_like(values, 0.018) if subjects else nothing),
            "ceiling_lower": (TIME, 0.31 * ceiling),
            "ceiling_upper": (TIME, 0.44 * ceiling),
        },
        attrs={
            "modality": "rsa",
            "quantity": "similarity of RDMs",
            "units": "a.u.",
            "method": "spearman",
            "metric": "correlation",
            "reference": name.removeprefix("rsa/"),
            "provenance": MADE,
        },
        name=name,
    )
    return validate(result)


def ceiling() -> xr.DataArray:
    attrs = {"modality": "noise_ceiling", "quantity": "score", "units": "a.u.", "method": "corr"}
    bounds = np.array(["lower", "upper"], dtype=object)
    made = xr.DataArray(
        [[0.31], [0.44]], dims=("bound", TIME), coords={"bound": bounds, TIME: [0.0]}, name="ceiling"
    )
    return validate(made.assign_attrs(attrs))
