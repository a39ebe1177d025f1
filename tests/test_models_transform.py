"""Transforms: equal to torchvision's own, refused where they make no sense."""

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.models import ModelError, Transform, load
from pipeline.models.libraries import PLAIN, from_processor, imported

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def picture(height: int = 131, width: int = 200) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)


def applied(transform: Transform, image: np.ndarray) -> torch.Tensor:
    return transform.values(torch.from_numpy(transform.pixels(image)[None].copy()))[0]


@pytest.mark.parametrize("size", [(131, 200), (200, 131), (97, 97), (64, 301)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "nearest", "lanczos"])
@pytest.mark.parametrize("resize", [64, (70, 90)])
def test_transform__equals_torchvision(size: tuple[int, int], interpolation: str, resize: object) -> None:
    tv = imported("torchvision.transforms")
    mode = {"bilinear": 2, "bicubic": 3, "nearest": 0, "lanczos": 1}[interpolation]
    modes = {member.value: member for member in tv.InterpolationMode}
    steps = [
        tv.Resize(resize, modes[interpolation]),
        tv.CenterCrop(57),
        tv.ToTensor(),
        tv.Normalize(MEAN, STD),
    ]
    image = picture(*size)
    want = tv.Compose(steps)(Image.fromarray(image))
    got = applied(Transform(resize, 57, interpolation, mean=MEAN, std=STD), image)
    assert mode in range(6)
    assert got.shape == want.shape == (3, 57, 57)
    assert torch.equal(got, want)


def test_transform__of_torchvision_network_equals_its_preset() -> None:
    network = load("torchvision:resnet18", untrained_seed=0)
    weights = imported("torchvision.models").get_model_weights("resnet18").DEFAULT
    image = picture(300, 411)
    assert torch.equal(applied(network.transform, image), weights.transforms()(Image.fromarray(image)))


@pytest.mark.parametrize("name", ["resnet10t", "vit_tiny_patch16_224", "mobilenetv3_small_050"])
def test_transform__of_timm_network_equals_timm(name: str) -> None:
    network = load(f"timm:{name}", untrained_seed=0)
    data = imported("timm.data")
    theirs = data.create_transform(**data.resolve_model_data_config(network.module), is_training=False)
    image = picture(300, 411)
    assert torch.equal(applied(network.transform, image), theirs(Image.fromarray(image)))


@pytest.mark.parametrize(
    "options",
    [
        {"size": {"height": 40, "width": 50}, "resample": 3},
        {"size": {"shortest_edge": 60}, "do_center_crop": True, "crop_size": {"height": 48, "width": 48}},
        {"size": {"height": 40, "width": 40}, "do_normalize": False},
    ],
)
def test_transform__of_image_processor_equals_transformers(options: dict[str, object]) -> None:
    library = imported("transformers")
    kind = library.CLIPImageProcessorPil if "do_center_crop" in options else library.ViTImageProcessorPil
    processor = kind(**{"do_convert_rgb": False, **options})
    image = picture()
    want = processor(Image.fromarray(image), return_tensors="pt")["pixel_values"][0]
    got = applied(from_processor(processor.to_dict()), image)
    torch.testing.assert_close(got, want, atol=2e-6, rtol=0)


@pytest.mark.parametrize("kind", PLAIN)
@pytest.mark.parametrize("size", [(300, 420), (421, 300)])
def test_transform__of_every_plain_image_processor_equals_transformers(
    kind: str, size: tuple[int, int]
) -> None:
    library = imported("transformers")
    pillow = getattr(library, f"{kind}ImageProcessorPil", None)
    # By itself MobileViT crops more than it resizes to, which adds a black margin.
    options = {"size": {"shortest_edge": 288}} if kind == "MobileViT" else {}
    processor = (pillow or getattr(library, f"{kind}ImageProcessor"))(**options)
    image = picture(*size)
    want = processor(Image.fromarray(image), return_tensors="pt")["pixel_values"][0]
    got = applied(from_processor(processor.to_dict()), image)
    # Without Pillow, a picture resized by torchvision may be one grey level off.
    torch.testing.assert_close(got, want, atol=2e-6 if pillow else 1 / 255 / min(STD), rtol=0)


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        ("Levit", {}, "what LevitImageProcessor does to images is not offered; give a transform"),
        ("PoolFormer", {}, "what PoolFormerImageProcessor does"),
        ("EfficientNet", {}, "what EfficientNetImageProcessor does"),
        ("ConvNext", {"size": {"height": 224, "width": 224}}, "what ConvNextImageProcessor does"),
        ("DPT", {"keep_aspect_ratio": True}, "DPTImageProcessor with keep_aspect_ratio True is not offered"),
        ("ViT", {"do_pad": True}, "ViTImageProcessor with do_pad True is not offered; give a transform"),
    ],
)
def test_transform__of_an_image_processor_that_does_more_is_refused(
    kind: str, options: dict[str, object], said: str
) -> None:
    processor = getattr(imported("transformers"), f"{kind}ImageProcessor")(**options)
    with pytest.raises(ModelError, match=said):
        from_processor(processor.to_dict())


def test_transform__orders_channels() -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    image[..., 0], image[..., 2] = 10, 30
    bgr = applied(Transform((4, 4), colour="BGR", divide=1.0, mean=(1.0, 2.0, 3.0)), image)
    assert bgr[:, 0, 0].tolist() == [29.0, -2.0, 7.0]
    grey = np.full((4, 4, 3), 50, np.uint8)
    assert applied(Transform((4, 4), colour="L", divide=1.0), grey).shape == (1, 4, 4)
    assert applied(Transform((4, 4), colour="LLL", divide=1.0), grey)[:, 1, 1].tolist() == [50.0] * 3


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"resize": 64}, "different sizes"),
        ({"resize": 64, "crop": 65}, "larger than resize"),
        ({"resize": 0, "crop": 10}, "positive int"),
        ({"crop": 10, "mean": (0.5,)}, "1 values for the 3 channels"),
        ({"crop": 10, "std": (1.0, 0.0, 1.0)}, "must not be 0"),
        ({"crop": 10, "interpolation": "bilinar"}, "did you mean 'bilinear'"),
        ({"crop": 10, "colour": "GBR"}, "did you mean"),
        (
            {"crop": 10, "mean": 0.5, "divide": "255"},
            "mean is 0.5, wanted a list of numbers; divide is '255'",
        ),
        ({"crop": 10, "interpolation": 2}, "interpolation is 2, wanted a word"),
        (
            {"resize": [[1, 2], [3, 4]], "crop": {"a": 1}},
            r"resize is \(\[1, 2\], .*; crop is {'a': 1}, wanted",
        ),
        ({"crop": 10, "men": (0, 0, 0)}, "did you mean 'mean'"),
    ],
)
def test_transform__refuses(fields: dict[str, object], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        Transform.of(fields)


def test_transform__tells_which_images_fit() -> None:
    assert not Transform(None, 25).fits((20, 30))
    assert Transform(None, 25).fits((25, 30))
    assert Transform(25, 25).fits((3, 90))


def test_transform__refuses_image_smaller_than_crop() -> None:
    with pytest.raises(ModelError, match="20 x 30 pixels is smaller than the centre crop 25 x 25"):
        Transform(None, 25).pixels(picture(20, 30))
