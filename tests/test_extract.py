"""Extraction: right values, the same bits however it is run, and nothing made twice."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import distributed
import numpy as np
import pytest
import torch
from PIL import Image

import stores
from pipeline import cluster
from pipeline.extract import block_size, extract, units
from pipeline.extract_task import ActivationSource
from pipeline.fill import Block
from pipeline.models import ModelError, NetworkSpec, activations, build, find, network_spec
from pipeline.study import Run, Study, run_study
from pipeline.study.run import Silent
from stores.errors import IncompleteError, InputError, KeyMismatchError
from stores.images import image_cube
from stores.stimuli import ImageFolder, read_folder, read_images

NET = """
import torch
from torch import nn

class Net(nn.Sequential):
    def __init__(self):
        super().__init__()
        self.add_module("conv", nn.Conv2d(3, 6, 5, stride=2))
        self.add_module("relu", nn.ReLU(inplace=True))
        self.add_module("deep", nn.Conv2d(6, 40, 3))
        self.add_module("flat", nn.Flatten())
        self.add_module("head", nn.Linear(40 * 7 * 7, 11))

def build():
    return Net(), dict(resize=[21, 21], mean=[0.5] * 3, std=[0.25] * 3)
"""
LAYERS = ("conv", "relu", "head")
COUNT = 23


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> NetworkSpec:
    path = tmp_path_factory.mktemp("net") / "small.py"
    path.write_text(NET)
    return network_spec(f"python:{path}:build", untrained_seed=3)


def write_images(folder: Path, count: int = COUNT) -> Path:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(count):
        Image.fromarray(rng.integers(0, 256, (30, 34, 3), dtype=np.uint8)).save(folder / f"i{number:02d}.png")
    return folder


@pytest.fixture(scope="module")
def stimuli(tmp_path_factory: pytest.TempPathFactory) -> ImageFolder:
    return read_folder(write_images(tmp_path_factory.mktemp("stimuli") / "images"))


@pytest.fixture(scope="module")
def reference(stimuli: ImageFolder, spec: NetworkSpec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store that one undisturbed run makes in this process."""
    root = tmp_path_factory.mktemp("reference") / "store"
    assert extract(stimuli, spec, LAYERS, root, label="small", batch_size=4).tasks == 2
    return root


def values(root: Path, layer: str) -> np.ndarray:
    return np.asarray(stores.open_cube(root, f"activations/small/{layer}").values)


def same(one: Path, other: Path) -> bool:
    return all(np.array_equal(values(one, layer), values(other, layer)) for layer in LAYERS)


def test_extract__equals_one_image_at_a_time(
    stimuli: ImageFolder, spec: NetworkSpec, reference: Path
) -> None:
    network = build(spec)
    for index in (0, 3, 4, 22):
        pixels = torch.from_numpy(network.transform.pixels(stimuli.decode(index))[None].copy())
        found = activations(network, network.transform.values(pixels), LAYERS)
        for layer in LAYERS:
            got, want = values(reference, layer)[index, :, 0, 0], found[layer].numpy().ravel()
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_extract__copies_before_in_place_relu(reference: Path) -> None:
    conv, relu = values(reference, "conv"), values(reference, "relu")
    assert (conv < 0).mean() > 0.1
    assert np.array_equal(np.maximum(conv, 0), relu)


def test_extract__labels_units_and_stimuli(reference: Path, stimuli: ImageFolder) -> None:
    cube = stores.validate(stores.open_cube(reference, "activations/small/conv"))
    assert dict(cube.sizes) == {"stimulus": COUNT, "unit": 6 * 9 * 9, "time": 1, "repeat": 1}
    assert list(cube["stimulus"].values) == list(stimuli.ids)
    assert list(cube["file"].values) == [f"i{number:02d}.png" for number in range(COUNT)]
    assert cube["unit"].values[9 * 9 * 2 + 9 * 4 + 5] == "c2_r4_k5"
    unit = cube.sel(unit="c2_r4_k5")
    assert (int(unit["channel"]), int(unit["row"]), int(unit["col"])) == (2, 4, 5)
    assert (cube.attrs["network"], cube.attrs["layer"], cube.attrs["layer_type"]) == (
        "small",
        "conv",
        "Conv2d",
    )
    head = stores.open_cube(reference, "activations/small/head")
    assert list(head["unit"].values[:2]) == ["u00000", "u00001"]


def test_units__of_tokens_and_of_maps_with_channels_last() -> None:
    ids, places = units((3, 12))
    assert ids[13] == "t1_c01"
    assert (places["token"][13], places["channel"][13]) == (1, 1)
    ids, places = units((4, 4, 10))
    assert ids[4 * 10 + 7] == "r1_k0_c7"
    assert (places["row"][47], places["col"][47], places["channel"][47]) == (1, 0, 7)
    assert len(set(units((5, 3, 2))[0])) == 30
    assert units((2, 3, 4, 5)) == ([f"u{i:05d}" for i in range(120)], {})


@pytest.mark.parametrize("span", [slice(0, 23), slice(8, 12), slice(16, 23), slice(20, 23)])
def test_extract__bits_do_not_depend_on_blocks(
    stimuli: ImageFolder, spec: NetworkSpec, reference: Path, span: slice
) -> None:
    source = ActivationSource(stimuli, spec, build(spec).fingerprint, {n: n for n in LAYERS}, 4, "float32", 1)
    for layer, got in source(Block(dict.fromkeys(LAYERS, (span,)))):
        assert np.array_equal(got, values(reference, layer)[span])


@pytest.mark.parametrize("threads", [1, 3])
def test_extract__bits_do_not_depend_on_threads(
    stimuli: ImageFolder, spec: NetworkSpec, reference: Path, tmp_path: Path, threads: int
) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        extract(stimuli, spec, LAYERS, tmp_path, label="small", batch_size=4, threads=threads)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert same(tmp_path, reference)


@pytest.fixture(scope="module")
def mixed() -> Iterator[distributed.Client]:
    """Two workers in processes of their own; one of them says it has a GPU."""
    one = {"n_workers": 1, "threads_per_worker": 1, "memory_limit": "2 GB"}
    workers = {"cpu": one, "gpu": one | {"resources": {"GPU": 1}}}
    profile = {"kind": "local", "dashboard_address": "127.0.0.1:0", "workers": workers}
    config = cluster.ClusterConfig.model_validate({"profiles": {"local": profile}})
    with cluster.start(config, "local") as client:
        yield client


def test_extract__on_workers_gives_the_same_bits_on_the_one_with_a_gpu(
    stimuli: ImageFolder, spec: NetworkSpec, reference: Path, tmp_path: Path, mixed: distributed.Client
) -> None:
    with distributed.get_task_stream(client=mixed) as stream:
        made = extract(stimuli, spec, LAYERS, tmp_path, label="small", batch_size=4, client=mixed)
    assert made.tasks == 2
    assert same(tmp_path, reference)
    names = {address: info["name"] for address, info in mixed.scheduler_info(n_workers=-1)["workers"].items()}
    ran = [names[task["worker"]] for task in stream.data if task["key"].startswith("extract-small")]
    assert ran == ["gpu-0"] * 2


def test_extract__reuses_what_is_complete_and_resumes_what_is_not(
    stimuli: ImageFolder, spec: NetworkSpec, reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def killed(_: str, done: int, *__: int) -> None:
        if done == 1:
            raise Killed

    with pytest.raises(Killed):
        extract(stimuli, spec, LAYERS, tmp_path, label="small", batch_size=4, progress=killed)
    with pytest.raises(IncompleteError):
        stores.open_cube(tmp_path, "activations/small/conv")
    assert extract(stimuli, spec, LAYERS, tmp_path, label="small", batch_size=4).tasks == 1
    assert same(tmp_path, reference)
    assert extract(stimuli, spec, LAYERS, tmp_path, label="small", batch_size=4).tasks == 0
    # A further layer is made alone.
    seen: list[list[str]] = []
    original = ActivationSource.values
    monkeypatch.setattr(ActivationSource, "values", lambda *a: (seen.append(list(a[3])), original(*a))[1])
    extract(stimuli, spec, (*LAYERS, "deep"), tmp_path, label="small", batch_size=4)
    assert {name for names in seen for name in names} == {"deep"}


def test_extract__resumes_beside_layers_of_other_shards(
    stimuli: ImageFolder, spec: NetworkSpec, reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A killed run of one layer left shards of another length than the next run would choose."""
    import pipeline.extract as verb

    class Killed(BaseException):
        pass

    def killed(_: str, done: int, *__: int) -> None:
        if done == 1:
            raise Killed

    monkeypatch.setattr(verb, "BATCHES_AT_MOST", 1)
    with pytest.raises(Killed):
        extract(stimuli, spec, ["conv"], tmp_path, label="small", batch_size=4, progress=killed)
    monkeypatch.setattr(verb, "BATCHES_AT_MOST", 2)
    assert extract(stimuli, spec, LAYERS, tmp_path, label="small", batch_size=4).tasks == 3
    assert same(tmp_path, reference)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda stimuli, spec: (stimuli, replace(spec, untrained_seed=4), {}), "network.fingerprint"),
        (
            lambda stimuli, spec: (stimuli, replace(spec, override=(("divide", 254.0),)), {}),
            "transform.divide",
        ),
        (lambda stimuli, spec: (stimuli, replace(spec, precision="bfloat16"), {}), "precision"),
        (lambda stimuli, spec: (stimuli, spec, {"batch_size": 8}), "batch_size: 4 -> 8"),
        (lambda stimuli, spec: (stimuli, spec, {"dtype": "float16"}), "dtype"),
    ],
)
def test_extract__another_key_is_refused_and_told(
    stimuli: ImageFolder, spec: NetworkSpec, reference: Path, change: Callable[..., Any], told: str
) -> None:
    pictures, network, options = change(stimuli, spec)
    with pytest.raises(KeyMismatchError, match=told):
        extract(pictures, network, LAYERS, reference, **({"label": "small", "batch_size": 4} | options))
    assert (values(reference, "conv")).shape[0] == COUNT


def test_extract__follows_the_bytes_of_an_image(spec: NetworkSpec, tmp_path: Path) -> None:
    folder = write_images(tmp_path / "images", 5)
    extract(read_folder(folder), spec, ["head"], tmp_path / "store", label="small")
    (folder / "i02.png").write_bytes((folder / "i03.png").read_bytes())
    with pytest.raises(KeyMismatchError, match=r"stimuli\.sha256"):
        extract(read_folder(folder), spec, ["head"], tmp_path / "store", label="small")
    again = extract(read_folder(folder), spec, ["head"], tmp_path / "store", label="small", overwrite=True)
    assert again.tasks == 1
    head = values(tmp_path / "store", "head")
    assert np.array_equal(head[2], head[3])


def test_extract__refuses_an_image_that_changed_under_way(spec: NetworkSpec, tmp_path: Path) -> None:
    folder = read_folder(write_images(tmp_path / "images", 3))
    (tmp_path / "images" / "i01.png").write_bytes((tmp_path / "images" / "i02.png").read_bytes())
    with pytest.raises(InputError, match="has changed since"):
        extract(folder, spec, ["head"], tmp_path / "store", label="small")
    with pytest.raises(IncompleteError):
        stores.open_cube(tmp_path / "store", "activations/small/head")


def test_extract__of_a_cube_of_pixels_equals_files(
    stimuli: ImageFolder, spec: NetworkSpec, reference: Path, tmp_path: Path
) -> None:
    pixels = np.stack([stimuli.decode(index) for index in range(COUNT)])
    stores.save(
        tmp_path, "images/noise", image_cube(pixels, stimuli.ids, dataset="noise"), made_from={"n": 1}
    )
    extract(read_images(tmp_path, "images/noise"), spec, LAYERS, tmp_path, label="small", batch_size=4)
    assert same(tmp_path, reference)


def test_extract__records_what_was_skipped(spec: NetworkSpec, tmp_path: Path) -> None:
    folder = write_images(tmp_path / "images", 3)
    (folder / "bad.png").write_text("no image")
    extract(read_folder(folder, on_error="skip"), spec, ["head"], tmp_path / "store", label="small")
    cube = stores.open_cube(tmp_path / "store", "activations/small/head")
    assert cube.sizes["stimulus"] == 3
    assert cube.attrs["skipped"] == ["bad.png: is text, not an image (it begins b'no image')"]


def test_extract__unknown_layer_makes_nothing(
    stimuli: ImageFolder, spec: NetworkSpec, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="did you mean 'head'"):
        extract(stimuli, spec, ["conv", "haed"], tmp_path / "store")
    with pytest.raises(ValueError, match="no layers"):
        extract(stimuli, spec, [], tmp_path / "store")
    with pytest.raises(ValueError, match="wanted at least 1"):
        extract(stimuli, spec, ["conv"], tmp_path / "store", batch_size=0)
    assert not (tmp_path / "store").exists()


def test_extract__float16_overflow_is_told(stimuli: ImageFolder, spec: NetworkSpec, tmp_path: Path) -> None:
    half = extract(stimuli, spec, ["head"], tmp_path, label="half", dtype="float16")
    assert stores.open_cube(tmp_path, half.cubes["head"]).dtype == np.float16
    loud = replace(spec, override=(("divide", 1e-4),))
    with pytest.raises(ValueError, match="more than float16 holds; use dtype float32"):
        extract(stimuli, loud, ["conv"], tmp_path, label="loud", dtype="float16")


UNSTEADY = """
import torch
from torch import nn

class Drop(nn.Module):
    def forward(self, x):
        return nn.functional.dropout(x)

class Turn(nn.Module):
    def forward(self, x):
        return torch.fft.fft(x)

def batch():
    return nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2, track_running_stats=False)), dict(resize=[8, 8])

def drop():
    return nn.Sequential(nn.Conv2d(3, 2, 1), Drop()), dict(resize=[8, 8])

def turn():
    return nn.Sequential(nn.Conv2d(3, 2, 1), Turn()), dict(resize=[8, 8])
"""


@pytest.mark.parametrize(
    ("function", "told"),
    [
        ("batch", r"layers \['1'\] answer the same picture differently from pass to pass, or beside other"),
        ("drop", r"layers \['1'\] answer the same picture differently from pass to pass, or beside other"),
        ("turn", "layer '1' answers complex numbers"),
    ],
)
def test_extract__refuses_what_is_no_value_of_the_picture_alone(
    stimuli: ImageFolder, tmp_path: Path, function: str, told: str
) -> None:
    (tmp_path / "nets.py").write_text(UNSTEADY)
    loose = network_spec(f"python:{tmp_path}/nets.py:{function}")
    with pytest.raises(ModelError, match=told):
        extract(stimuli, loose, ["0", "1"], tmp_path / "store", label="small")
    assert not (tmp_path / "store").exists()
    assert extract(stimuli, loose, ["0"], tmp_path / "store", label="small").tasks == 1


def test_extract__names_the_images_that_are_too_small(
    stimuli: ImageFolder, spec: NetworkSpec, tmp_path: Path
) -> None:
    folder = write_images(tmp_path / "images", 3)
    Image.new("RGB", (40, 20)).save(folder / "low.png")
    Image.new("RGB", (20, 40)).save(folder / "thin.png")
    cropped = replace(spec, override=(("crop", (21, 21)), ("resize", None)))
    told = r"2 of 5 images are smaller than the centre crop 21 x 21 .*\n  - low \(20 x 40\)\n  - thin \(40 x 20\)"
    with pytest.raises(ModelError, match=told):
        extract(read_folder(folder), cropped, ["conv"], tmp_path / "store")
    assert not (tmp_path / "store").exists()
    extract(stimuli, cropped, ["conv"], tmp_path / "store")
    cube = image_cube(np.zeros((2, 20, 30, 3), np.uint8), ["a", "b"], dataset="low")
    stores.save(tmp_path / "store", "images/low", cube, made_from={"n": 1})
    with pytest.raises(ModelError, match=r"2 of 2 images .*\n  - a \(20 x 30\)\n  - b"):
        extract(read_images(tmp_path / "store", "images/low"), cropped, ["conv"], tmp_path / "store")


def test_extract__another_network_on_the_worker_is_refused(stimuli: ImageFolder, spec: NetworkSpec) -> None:
    source = ActivationSource(stimuli, spec, "0" * 64, {"c": "conv"}, 4, "float32", 1)
    with pytest.raises(ValueError, match="is another network on this worker"):
        list(source(Block({"c": (slice(0, 4),)})))


def test_extract__sends_little(stimuli: ImageFolder, spec: NetworkSpec) -> None:
    """A task carries names and hashes, never pixels or weights."""
    import pickle

    source = ActivationSource(stimuli, spec, "0" * 64, {"c": "conv"}, 4, "float32", 1)
    assert len(pickle.dumps(source)) < 1000 + 250 * COUNT


def test_extract__key_holds_no_path(stimuli: ImageFolder, spec: NetworkSpec, reference: Path) -> None:
    cube = stores.open_cube(reference, "activations/small/conv")
    told = json.dumps(cube.attrs["provenance"]["made_from"])
    assert stimuli.root not in told
    assert spec.name not in told


def test_block_size__is_whole_batches_within_the_budget(spec: NetworkSpec) -> None:
    found = find(build(spec), LAYERS)
    assert block_size(found, 1000, 16, "float32") == 64
    assert block_size(found, 40, 16, "float32") == 40
    huge = [
        replace(found[0], shape=(64, 224, 224))
    ]  # 12.8 MB per stimulus: one batch is more than the budget
    assert block_size(huge, 1000, 16, "float32") == 16


def test_study__says_what_its_folder_left_out(tmp_path: Path, spec: NetworkSpec) -> None:
    class Heard(Silent):
        lines: list[str] = []  # noqa: RUF012

        def said(self, text: str) -> None:
            self.lines.append(text)

    folder = write_images(tmp_path / "images", 3)
    (folder / "bad.png").write_bytes(b"")
    step = {"verb": "extract", "network": spec.name, "untrained": 3, "layers": ["conv"]}
    step |= {"folder": str(folder), "on_error": "skip"}
    study = Study.model_validate({"title": "t", "store": str(tmp_path / "store"), "steps": {"x": step}})
    run_study(Run(study, Heard()))
    assert Heard.lines == [f"1 of 4 images in {folder} are left out: bad.png is empty"]
