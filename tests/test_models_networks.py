"""What every network must do, in one class; each source of networks supplies only a way to name one."""

import json
import os
import pickle
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.models import ModelError, Network, NetworkSpec, activations, build, layers, load, network_spec
from pipeline.models import network as network_module
from tests.shared import shared

OWN_FILE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.relu = nn.ReLU(inplace=True)
        self.fold = Fold()
        self.head = nn.Linear(4, 5)
    def forward(self, x):
        x = self.relu(self.conv(x))
        x, _ = self.fold(x)
        return self.head(self.relu(x - 0.1))

class Fold(nn.Module):
    def forward(self, x):
        return x.mean((2, 3)), None

def build():
    return Net(), dict(resize=[12, 12], mean=[0.5] * 3, std=[0.5] * 3)

def undeclared():
    return Net()

def wrong():
    return "a net"
"""


@pytest.fixture(scope="session")
def own_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("nets") / "nets.py"
    path.write_text(OWN_FILE)
    return path


@pytest.fixture(scope="session")
def vit_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny transformer as its library would save it."""
    from pipeline.models.libraries import imported

    folder, library = tmp_path_factory.mktemp("hub") / "tiny-vit", imported("transformers")
    config = library.ViTConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        image_size=32,
        patch_size=8,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        library.ViTModel(config).save_pretrained(folder)
    processor = {
        "image_processor_type": "ViTImageProcessor",
        "size": {"height": 32, "width": 32},
        "do_resize": True,
        "resample": 2,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


class NetworkTests:
    """The conformance of one source of networks."""

    @pytest.fixture
    def spec(self) -> NetworkSpec:
        raise NotImplementedError

    @pytest.fixture
    def network(self, spec: NetworkSpec) -> Network:
        return build(spec)

    @pytest.fixture
    def batch(self, network: Network) -> torch.Tensor:
        transform = network.transform
        shape = (3, transform.channels, *transform.size)
        return torch.from_numpy(np.random.default_rng(0).standard_normal(shape).astype(np.float32))

    def test_is_in_eval_mode_and_float32(self, network: Network) -> None:
        assert not any(module.training for module in network.module.modules())
        assert not any(p.requires_grad or p.dtype != torch.float32 for p in network.module.parameters())

    def test_lists_layers_that_can_all_be_tapped_in_one_pass(
        self, network: Network, batch: torch.Tensor
    ) -> None:
        listed = layers(network)
        names = [layer.name for layer in listed]
        assert len(set(names)) == len(names) >= 4
        values = activations(network, batch, names)
        assert list(values) == names
        for layer in listed:
            assert values[layer.name].shape == (3, *layer.shape), layer.name
            assert values[layer.name].dtype == torch.float32

    def test_one_tap_equals_the_same_among_many(self, network: Network, batch: torch.Tensor) -> None:
        names = [layer.name for layer in layers(network)]
        together = activations(network, batch, names)
        for name in (names[0], names[len(names) // 2], names[-1]):
            assert torch.equal(activations(network, batch, [name])[name], together[name])

    def test_spec_is_small_and_rebuilds_the_same_network(self, network: Network, spec: NetworkSpec) -> None:
        sent = pickle.dumps(spec)
        assert len(sent) < 2000
        network_module._built.cache_clear()
        again = build(pickle.loads(sent))
        assert again is not network
        assert again.fingerprint == network.fingerprint
        assert build(spec) is again

    def test_fingerprint_follows_weights_and_transform(self, network: Network, spec: NetworkSpec) -> None:
        transform = network.transform
        override = {"divide": transform.divide + 1}
        other = load(spec.name, weights=spec.weights, untrained_seed=spec.untrained_seed, transform=override)
        assert other.fingerprint != network.fingerprint
        assert other.transform.divide == transform.divide + 1

    def test_untrained_twin_follows_its_seed_alone(self, network: Network, spec: NetworkSpec) -> None:
        before = torch.random.get_rng_state()
        one, other = load(spec.name, untrained_seed=1), load(spec.name, untrained_seed=2)
        assert torch.equal(torch.random.get_rng_state(), before)
        network_module._built.cache_clear()
        torch.rand(7)
        assert load(spec.name, untrained_seed=1).fingerprint == one.fingerprint
        assert len({one.fingerprint, other.fingerprint, network.fingerprint}) == 3
        assert [layer.name for layer in layers(one)] == [layer.name for layer in layers(network)]

    def test_unknown_layer_offers_near_matches(self, network: Network, batch: torch.Tensor) -> None:
        name = layers(network)[1].name
        with pytest.raises(ModelError, match="unknown layer") as caught:
            activations(network, batch, [name + "x"])
        assert repr(name) in str(caught.value)

    def test_threads_share_one_network(self, network: Network, batch: torch.Tensor) -> None:
        names = [layer.name for layer in layers(network)]
        want, got = activations(network, batch, names), {}

        def work(number: int) -> None:
            wanted = names[number::4]
            got[number] = (wanted, activations(network, batch, wanted))

        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        _ = [thread.start() for thread in threads], [thread.join() for thread in threads]
        for wanted, values in got.values():
            assert all(torch.equal(values[name], want[name]) for name in wanted)
        assert len(got) == 4


class TestSqueezeNet(NetworkTests):
    @pytest.fixture
    def spec(self) -> NetworkSpec:
        weights = shared("data/squeezenet-imagenet/squeezenet_v1_0_weights.npz")
        return network_spec("squeezenet1_0-caffe", weights=weights)


class TestTorchvision(NetworkTests):
    @pytest.fixture
    def spec(self) -> NetworkSpec:
        return network_spec("torchvision:alexnet", untrained_seed=0)


class TestTimm(NetworkTests):
    @pytest.fixture
    def spec(self) -> NetworkSpec:
        return network_spec("timm:resnet10t", untrained_seed=0)


class TestTransformers(NetworkTests):
    @pytest.fixture
    def spec(self, vit_folder: Path) -> NetworkSpec:
        return network_spec(f"transformers:{vit_folder}")


class TestPythonFile(NetworkTests):
    @pytest.fixture
    def spec(self, own_file: Path) -> NetworkSpec:
        return network_spec(f"python:{own_file}:build")


def test_alexnet__conv1_is_before_relu_and_pools_shrink() -> None:
    network = load("torchvision:alexnet", untrained_seed=0)
    found = {layer.name: layer for layer in layers(network)}
    assert found["features.0"].shape == (64, 55, 55)
    batch = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    values = activations(network, batch, ["features.0", "features.1", "features.2"])
    conv, relu = values["features.0"], values["features.1"]
    assert network.module.features[1].inplace  # the ReLU that would overwrite what the convolution gave
    assert (conv < 0).any()
    assert torch.equal(relu, conv.clamp(min=0))
    with torch.inference_mode():
        assert torch.equal(conv, nn.functional.conv2d(batch, *network.module.features[0].parameters(), 4, 2))


def test_resnet__batch_norm_differs_from_its_in_place_relu() -> None:
    network = load("torchvision:resnet18", untrained_seed=0, transform={"resize": 64, "crop": 64})
    values = activations(network, torch.ones(2, 3, 64, 64), ["bn1", "relu"])
    assert (values["bn1"] < 0).any()
    assert torch.equal(values["relu"], values["bn1"].clamp(min=0))
    assert not torch.equal(values["relu"], values["bn1"])


def test_taps__of_a_module_that_runs_several_times() -> None:
    network = load("torchvision:resnet18", untrained_seed=0, transform={"resize": 64, "crop": 64})
    names = [layer.name for layer in layers(network)]
    assert "layer1.0.relu" not in names
    assert names.index("layer1.0.relu@1") < names.index("layer1.0.conv2") < names.index("layer1.0.relu@2")
    values = activations(
        network, torch.ones(2, 3, 64, 64), ["layer1.0.relu@1", "layer1.0.relu@2", "layer1.0"]
    )
    assert torch.equal(values["layer1.0.relu@2"], values["layer1.0"])
    assert not torch.equal(values["layer1.0.relu@1"], values["layer1.0.relu@2"])
    with pytest.raises(
        ModelError, match=r"runs 2 times; name one of \['layer1.0.relu@1', 'layer1.0.relu@2'\]"
    ):
        activations(network, torch.ones(2, 3, 64, 64), ["layer1.0.relu"])
    with pytest.raises(ModelError, match="named twice"):
        activations(network, torch.ones(2, 3, 64, 64), ["bn1", "bn1"])


def test_taps__of_answers_that_are_no_tensor(own_file: Path, vit_folder: Path) -> None:
    mine = load(f"python:{own_file}:build")
    assert {layer.name: layer.shape for layer in layers(mine)}["fold"] == (4,)
    vit = load(f"transformers:{vit_folder}")
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        want = vit.module(x).last_hidden_state
    # Not to the bit: here torch may use several threads, and `activations` one.
    torch.testing.assert_close(activations(vit, x, ["output"])["output"], want)
    assert want.shape == (2, 17, 16)


def test_taps__stop_after_the_last_one(own_file: Path) -> None:
    network = load(f"python:{own_file}:build", untrained_seed=9)
    layers(network)  # finds them by one whole pass, once
    ran = []
    handle = network.module.head.register_forward_hook(lambda *_: ran.append(1))
    try:
        activations(network, torch.zeros(2, 3, 12, 12), ["conv"])
        assert ran == []
        activations(network, torch.zeros(2, 3, 12, 12), ["conv", "output"])
        assert ran == [1]
    finally:
        handle.remove()


def test_layers__leave_out_what_is_not_one_row_per_stimulus() -> None:
    network = load("timm:swin_tiny_patch4_window7_224", untrained_seed=0)
    listed = {layer.name: layer.shape for layer in layers(network)}
    assert listed["layers.0.blocks.0"] == (56, 56, 96)
    assert "layers.0.blocks.0.attn.qkv" not in listed  # its rows are windows, 64 per image


def test_squeezenet__knows_human_it() -> None:
    """Spearman of the 1 - r RDM with the mean RDM of human IT: fire9 .2995; its untrained twin below .08."""
    from scipy.io import loadmat
    from scipy.stats import spearmanr

    weights = shared("data/squeezenet-imagenet/squeezenet_v1_0_weights.npz")
    data = loadmat(shared("data/rsa92-kriegeskorte2008/Kriegeskorte_Neuron2008_supplementalData.mat"))
    images = [entry["image"] for entry in data["stimuli_92objs"][0]]
    human = data["RDMs_mIT_hIT_fig1"][0, 1]["RDM"].ravel()

    def score(network: Network) -> float:
        pixels = torch.from_numpy(np.stack([network.transform.pixels(image) for image in images]))
        batches = network.transform.values(pixels).split(23)
        values = torch.cat([activations(network, batch, ["fire9"])["fire9"] for batch in batches])
        rdm = 1 - np.corrcoef(values.reshape(len(images), -1).numpy())
        return float(spearmanr(rdm[np.triu_indices(len(images), 1)], human).statistic)

    assert score(load("squeezenet1_0-caffe", weights=weights)) == pytest.approx(0.2995, abs=5e-4)
    assert score(load("squeezenet1_0-caffe", untrained_seed=0)) < 0.08


def test_weights__of_every_kind_are_the_same_network(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    state = load("squeezenet1_0-caffe", untrained_seed=4).module.state_dict()
    np.savez(tmp_path / "w.npz", **{name: value.numpy() for name, value in state.items()})
    save_file(state, tmp_path / "w.safetensors")
    torch.save(state, tmp_path / "w.pt")
    torch.save(
        {"state_dict": {f"module.{k}": v for k, v in state.items()}, "epoch": 3}, tmp_path / "wrapped.pt"
    )
    want = load("squeezenet1_0-caffe", untrained_seed=4).fingerprint
    for file in ("w.npz", "w.safetensors", "w.pt"):
        assert load("squeezenet1_0-caffe", weights=tmp_path / file).fingerprint == want, file
    torch.save({"a": 1}, tmp_path / "bad.pt")
    with pytest.raises(ModelError, match="holds a dict"):
        load("squeezenet1_0-caffe", weights=tmp_path / "bad.pt")
    assert load("squeezenet1_0-caffe", weights=tmp_path / "wrapped.pt").fingerprint == want


def test_weights__that_do_not_fit_are_all_listed(tmp_path: Path) -> None:
    state = {
        k: v.numpy() for k, v in load("squeezenet1_0-caffe", untrained_seed=0).module.state_dict().items()
    }
    state["conv1.weight"] = state["conv1.weight"][:, :1]
    state["extra.bias"] = state.pop("fire2.squeeze.bias")
    np.savez(tmp_path / "w.npz", **state)
    with pytest.raises(ModelError) as caught:
        load("squeezenet1_0-caffe", weights=tmp_path / "w.npz")
    said = str(caught.value)
    assert "1 missing: fire2.squeeze.bias" in said
    assert "1 not part of the network: extra.bias" in said
    assert "1 of another shape: conv1.weight is (96, 1, 7, 7), wanted (96, 3, 7, 7)" in said


def test_weights__never_run_code(tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "canary",))

    torch.save({"conv1.weight": Payload()}, tmp_path / "w.pt")
    np.savez(tmp_path / "w.npz", a=np.array([Payload()], object))
    for file in ("w.pt", "w.npz"):
        with pytest.raises(ModelError, match="cannot read weights file"):
            load("squeezenet1_0-caffe", weights=tmp_path / file)
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("file", ["w.npz", "w.pt", "w.safetensors"])
def test_weights__damaged_are_told(tmp_path: Path, file: str) -> None:
    (tmp_path / file).write_bytes(b"no weights at all")
    with pytest.raises(ModelError, match=f"cannot read weights file .*{file}"):
        load("squeezenet1_0-caffe", weights=tmp_path / file)


def test_weights__changed_after_the_spec_are_refused(tmp_path: Path) -> None:
    state = load("squeezenet1_0-caffe", untrained_seed=0).module.state_dict()
    path = tmp_path / "w.npz"
    np.savez(path, **{name: value.numpy() for name, value in state.items()})
    spec = network_spec("squeezenet1_0-caffe", weights=path)
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(ModelError, match="has changed"):
        build(spec)
    path.unlink()
    with pytest.raises(ModelError, match="not on this machine"):
        build(spec)


@pytest.fixture
def own_folder(tmp_path: Path, own_file: Path, vit_folder: Path) -> Path:
    """A folder with a network of one's own, weights for it, and a folder of transformers."""
    torch.save(load(f"python:{own_file}:build", untrained_seed=6).module.state_dict(), tmp_path / "w.pt")
    shutil.copy(own_file, tmp_path)
    shutil.copytree(vit_folder, tmp_path / "vit")
    return tmp_path


def test_spec__named_from_here_builds_elsewhere(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(own_folder)
    specs = [network_spec("python:nets.py:build", weights="w.pt"), network_spec("transformers:vit")]
    monkeypatch.chdir("/")
    assert [build(spec).spec.label for spec in specs] == ["nets-build", "vit"]


def test_spec__named_from_home_is_found(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(own_folder))
    mine = network_spec("python:~/nets.py:build", weights="~/w.pt")
    assert (mine.name, mine.weights) == (f"python:{own_folder}/nets.py:build", str(own_folder / "w.pt"))
    assert network_spec("transformers:~/vit").name == f"transformers:{own_folder}/vit"
    assert build(mine).spec is mine


def test_python_file__edited_within_a_second_is_another_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    path, found = tmp_path / "nets.py", []
    for factor in "23":
        path.write_text(
            f"from torch import nn\nclass Net(nn.Module):\n    def forward(self, x): return x * {factor}\n"
            "def build(): return Net(), dict(resize=[2, 2])\n"
        )
        os.utime(path, (1e9, 1e9))
        network = load(f"python:{path}:build")
        answer = activations(network, torch.ones(1, 3, 2, 2), ["output"])["output"]
        found.append((network.fingerprint, float(answer.max())))
    assert [value for _, value in found] == [2, 3]
    assert found[0][0] != found[1][0]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("torchvision:alexnt", "did you mean 'alexnet'"),
        ("timm:resnet5o", "did you mean .*'resnet50"),
        ("squeezenet1_0-cafe", "did you mean 'squeezenet1_0-caffe'"),
        ("torchvison:alexnet", r"did you mean 'torchvision:alexnet'\? A network is named"),
        ("AlexNet", r"did you mean 'torchvision:alexnet'\? A network is named torchvision:\.\.\., "),
        ("alexnt", r"did you mean 'torchvision:alexnet'\?"),
        ("resnet50", r"did you mean 'torchvision:resnet50' or 'timm:resnet50'\?"),
        ("torchvision:", r"'torchvision:'\. A network is named .*, python:\.\.\. or squeezenet1_0-caffe\.$"),
        (":alexnet", r"did you mean 'torchvision:alexnet'\?"),
        ("foo", r"'foo'\. A network is named"),
        ("python:nowhere.py:build", "no file nowhere.py"),
        ("python:nowhere", "names no function"),
        ("transformers:no/such-model", "no configuration of 'no/such-model' on this machine"),
    ],
)
def test_load__unknown_network_is_told(name: str, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        load(name, untrained_seed=0)


def test_load__of_a_python_file_refuses(own_file: Path) -> None:
    with pytest.raises(ModelError, match="did you mean 'build'"):
        load(f"python:{own_file}:bild")
    with pytest.raises(ModelError, match="declares no transform"):
        load(f"python:{own_file}:undeclared")
    with pytest.raises(ModelError, match="returned str"):
        load(f"python:{own_file}:wrong")
    given = load(f"python:{own_file}:undeclared", transform={"resize": (9, 9)})
    assert given.transform.size == (9, 9)


def test_load__downloads_nothing_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    for name in ("torchvision:alexnet", "timm:resnet10t", "squeezenet1_0-caffe"):
        with pytest.raises(ModelError, match="nothing is downloaded unasked"):
            load(name)


def test_load__pretrained_without_a_connection_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from urllib.error import URLError

    def refuse(*_: object, **__: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    with pytest.raises(ModelError, match=r"could not fetch its weights .*no route to host"):
        load("torchvision:squeezenet1_1", weights="pretrained")


def test_load__takes_weights_from_the_local_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import hashlib

    from pipeline.models.libraries import imported

    state = load("torchvision:squeezenet1_1", untrained_seed=3).module.state_dict()
    weights = imported("torchvision.models").get_model_weights("squeezenet1_1").DEFAULT
    (tmp_path / "checkpoints").mkdir()
    file = tmp_path / "checkpoints" / weights.url.rpartition("/")[2]
    torch.save(state, file)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    assert len(hashlib.sha256(file.read_bytes()).hexdigest()) == 64
    cached = load("torchvision:squeezenet1_1")
    assert cached.fingerprint == load("torchvision:squeezenet1_1", untrained_seed=3).fingerprint


def test_load__refuses_contradictions(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not both"):
        network_spec("squeezenet1_0-caffe", weights=tmp_path / "w.npz", untrained_seed=0)
    with pytest.raises(ModelError, match="did you mean 'bfloat16'"):
        network_spec("squeezenet1_0-caffe", untrained_seed=0, precision="bfloat1")
    with pytest.raises(ModelError, match="no weights file"):
        network_spec("squeezenet1_0-caffe", weights=tmp_path / "w.npz")


def test_precision__bfloat16_is_near_and_not_equal() -> None:
    exact, fast = (
        load("squeezenet1_0-caffe", untrained_seed=0, precision=p) for p in ("float32", "bfloat16")
    )
    batch = torch.randn(2, 3, 227, 227, generator=torch.Generator().manual_seed(0)) * 60
    want, got = (activations(network, batch, ["fire4"])["fire4"] for network in (exact, fast))
    assert not torch.equal(got, want)
    assert (got - want).norm() / want.norm() < 0.02
    assert fast.fingerprint == exact.fingerprint  # the weights are the same; the key tells the precision


def test_memory__a_batch_too_large_names_its_size(own_file: Path) -> None:
    network = load(f"python:{own_file}:build", untrained_seed=8)
    layers(network)

    def exhausted(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    handle = network.module.head.register_forward_pre_hook(exhausted)
    try:
        with pytest.raises(ModelError, match=r"a batch of 6 does not fit .* set batch_size to 3"):
            activations(network, torch.zeros(6, 3, 12, 12), ["conv", "head"])
    finally:
        handle.remove()


def test_models__import_no_network_library() -> None:
    libraries = ("torchvision", "timm", "transformers")
    code = f"import sys, pipeline.models; print([m for m in {libraries} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
