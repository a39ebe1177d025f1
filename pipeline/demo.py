"""The demo: pictures, a network, two simulated subjects with planted facts, and whether they are found."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import numpy as np
import xarray as xr
import yaml
from PIL import Image

from pipeline import cluster
from pipeline.models import network_spec
from pipeline.study import Listener, Run, read_study, run_study
from pipeline.terminal import Terminal, console
from stores import StoreError, catalog, open_cube, save
from stores.decode import Pixels, UndecodableError, decode
from stores.dims import CANDIDATE, TIME
from stores.simulate import CATEGORIES, keyed
from stores.simulate_brains import layer_gains, simulate_subjects
from stores.simulate_images import draw
from stores.stimuli import SUFFIXES

SEED: Final = 0
PER_CATEGORY, SIDE, SHOWN_CATEGORIES = 10, 128, 6
NETWORK: Final = "squeezenet1_0-caffe"
SMALL: Final = {"resize": [112, 112], "crop": 99}
"""The network sees the pictures smaller than usual, so that the demo is quick."""
LAYERS: Final = ("conv1", "fire3", "fire5", "fire7", "fire9")
PLANTED: Final = {"V1": "conv1", "V2": "fire3", "V4": "fire5", "LO": "fire7", "IT": "fire9"}
"""Region -> the layer whose geometry its simulated voxels carry."""
LATER: Final = ("report.html", "dask.html", "activations", "fmri", "meg", "rdm", "rsa")
"""What the demo writes after its study."""
NOTICE: Final = (
    "The brain data on this page are simulated: each region and each time window was made from a chosen layer "
    "of the network, plus noise, to show that the analysis finds again what was planted."
)


def run_demo(folder: Path, config: cluster.ClusterConfig, profile: str | None, terminal: Terminal) -> bool:
    """Make everything below `folder`, print which planted facts came back, and whether all did."""
    if folder.exists() and not folder.is_dir():
        raise StoreError(f"{folder} is a file; the demo writes into a folder (--folder), which it makes")
    console.print("Simulated data: pictures are drawn, brains are made from a network's layers plus noise.")
    study = read_study(prepared(folder))
    with cluster.start(config, profile) as client:
        if link := cluster.dashboard_link(client):
            console.print(f"dashboard: {link}")
        with cluster.performance_report(client, folder / "dask.html", wanted=lambda: terminal.made_any):
            first = study.model_copy(update={"steps": {"network": study.steps["network"]}})
            run_study(Run(first, terminal, client))
            _plant(study.store, terminal)
            run = Run(study, terminal, client, notice=NOTICE, findings=_sentences)
            (page,) = run_study(run)
    facts = _facts({name: open_cube(study.store, name) for name in run.results()})
    console.print("\nPlanted in the simulated brains, and found again:")
    for fact, found in facts.items():
        console.print(f"  {'yes' if found else 'NO '}  {fact}")
    console.print(f"\n{sum(facts.values())} of {len(facts)} planted facts recovered\nreport: {page}")
    return all(facts.values())


def prepared(folder: Path) -> Path:
    """Write the pictures and the study, and return its file.

    Raises StoreError where that, or what follows, would replace or use what the demo did not write.
    """
    images, file = folder / "images", folder / "study.yaml"
    text, pictures = _study(folder), _drawn()
    if theirs := [*_foreign(folder, text), *_foreign_pictures(images, pictures)]:
        more = f" and {len(theirs) - 1} more" if len(theirs) > 1 else ""
        raise StoreError(
            f"{theirs[0]}{more} was not written by this demo, which would replace or use it; give the demo a "
            "folder of its own (--folder)"
        )
    images.mkdir(parents=True, exist_ok=True)
    for name, pixels in pictures.items():
        # By rename: a killed demo leaves no half a picture, which the next one would take for somebody's.
        Image.fromarray(pixels).save(part := images / f".{name}")
        part.replace(images / name)
    (part := folder / ".study.yaml").write_text(text, encoding="utf-8")
    part.replace(file)
    return file


def _foreign(folder: Path, text: str) -> Iterator[Path]:
    """A study that is not the demo's, the paths in it aside; all else that the demo writes comes after it."""
    file = folder / "study.yaml"
    if not file.exists():
        yield from (folder / name for name in LATER if (folder / name).exists())
    elif _without_paths(file.read_text(encoding="utf-8", errors="replace")) != _without_paths(text):
        yield file


def _without_paths(study: str) -> list[str]:
    return [line for line in study.splitlines() if not line.lstrip().startswith(("store:", "folder:"))]


def _foreign_pictures(folder: Path, drawn: Mapping[str, Pixels]) -> Iterator[Path]:
    """What would be taken for a picture of the demo, or be replaced by one."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        stimulus = path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
        if stimulus and not (path.name in drawn and _shows(path, drawn[path.name])):
            yield path


def _shows(path: Path, pixels: Pixels) -> bool:
    try:
        return np.array_equal(decode(path.read_bytes()), pixels)
    except UndecodableError:
        return False


def _drawn() -> dict[str, Pixels]:
    """Pixels of each picture, by the name of its file."""
    return {
        f"{category}_{n + 1:02d}.png": draw(category, SIDE, keyed(SEED, "picture", category, str(n)))
        for category in CATEGORIES[:SHOWN_CATEGORIES]
        for n in range(PER_CATEGORY)
    }


def _study(folder: Path) -> str:
    """A study that can also be run by itself: `neurocube run demo/study.yaml`."""
    twin = network_spec(NETWORK, untrained_seed=SEED).label
    rsa = {"verb": "rsa", "candidates": [f"activations/{twin}/*"], "method": "spearman"}
    tree = {
        "title": "Demo: a network's layers in simulated brains",
        "about": (
            "Which layer of a small network resembles each region of two simulated subjects, and when does each "
            "layer show in their simulated MEG? The network is SqueezeNet with random weights."
        ),
        "store": str(folder),
        "steps": {
            "network": {
                "verb": "extract",
                "network": NETWORK,
                "untrained": SEED,
                "transform": SMALL,
                "folder": str(folder / "images"),
                "layers": list(LAYERS),
            },
            "regions": {**rsa, "reference": "fmri/*", "by": "region"},
            "time": {**rsa, "reference": "meg/*"},
            "report": {
                "verb": "report",
                "file": "report.html",
                "results": ["rsa/*", "rdm/regions/V1", "rdm/regions/IT"],
            },
        },
    }
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)


def _plant(root: str, listener: Listener) -> None:
    """Store the simulated subjects, made from the activations that were just extracted."""
    twin = network_spec(NETWORK, untrained_seed=SEED).label
    features = {layer: open_cube(root, f"activations/{twin}/{layer}") for layer in LAYERS}
    keys = {layer: cube.attrs["provenance"]["content_key"] for layer, cube in features.items()}
    loaded = {layer: cube.load(scheduler="synchronous") for layer, cube in features.items()}
    listener.step("brains", "simulate")
    table = catalog(root)
    there = set(table.index[table["complete"]])
    for name, cube in simulate_subjects(loaded, PLANTED, seed=SEED).items():
        made_from = {"step": "simulate/1", "cube": name, "seed": SEED, "planted": PLANTED, "layers": keys}
        save(root, name, cube, made_from=made_from)
        listener.made(name, reused=name in there)


def _facts(results: Mapping[str, xr.DataArray]) -> dict[str, bool]:
    """Each planted fact in words, and whether the results say so."""
    facts = {}
    for region, layer in PLANTED.items():
        score = results[f"rsa/regions/{region}"]["subject_score"].isel({TIME: 0})
        best = str(score["layer"].values[int(np.argmax(score.values))])
        facts[f"region {region} was made from {layer}; {best} resembles it most"] = best == layer
    time = results["rsa/time"]
    leaders = _leaders(time)
    for number, layer in enumerate(LAYERS):
        planted = _planted_peak(time, number)
        leader = leaders.get(planted, "no layer")
        facts[f"{layer} was shown at {planted * 1000:.0f} ms of MEG; {leader} leads there"] = leader == layer
    order = list(dict.fromkeys(leaders[at] for at in sorted(leaders)))
    facts[f"layers lead one after the other: {', '.join(order)}"] = order == list(LAYERS)
    return facts


def _leaders(result: xr.DataArray) -> dict[float, str]:
    """The layer that resembles the sensors most, at each time (s) at which one reaches the lower ceiling."""
    score = result["subject_score"].transpose(CANDIDATE, TIME).values
    clear = (score.max(axis=0) >= 0.9 * result["ceiling_lower"].values) & (score.max(axis=0) > 0.5)
    return {
        float(time): str(result["layer"].values[int(np.argmax(score[:, n]))])
        for n, time in enumerate(result[TIME].values)
        if clear[n]
    }


def _planted_peak(result: xr.DataArray, number: int) -> float:
    times = result[TIME].values
    return float(times[int(np.argmax(layer_gains(len(LAYERS), times)[number]))])


def _sentences(results: Mapping[str, xr.DataArray]) -> list[str]:
    facts = _facts(results)
    missed = [f"Not recovered: {fact}." for fact, found in facts.items() if not found]
    return [f"{sum(facts.values())} of {len(facts)} planted facts were recovered.", *missed]
