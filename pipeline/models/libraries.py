"""Networks of torchvision, timm and transformers; each is imported when one of its networks is asked for."""

import importlib
import json
import math
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import torch
from torch import nn

from pipeline.models.errors import ModelError, in_words, unknown
from pipeline.models.transform import INTERPOLATIONS, Transform

INSTALL: Final = "pip install 'neurocube[zoo]'"
PLAIN: Final = (
    *("Beit", "Bit", "Blip", "ChineseCLIP", "CLIP", "DINOv3ViT", "DPT", "DeiT", "Flava", "MobileNetV1"),
    *("MobileNetV2", "MobileViT", "OwlViT", "Pvt", "Segformer", "Siglip", "ViT"),
)
"""Image processors of transformers that resize, crop, rescale and normalise as a Transform does, and no more."""
FURTHER: Final = ("crop_pct", "do_pad", "include_top", "keep_aspect_ratio", "rescale_offset")
"""Fields by which an image processor does what no Transform does."""
_declared: list[torch.library.Library] = []
"""Operators declared below live as long as their library object does."""


def imported(library: str) -> ModuleType:
    """An optional library. Raises ModelError where it is not installed."""
    try:
        if library.partition(".")[0] in ("timm", "torchvision", "transformers"):
            _import_torchvision()
        return importlib.import_module(library)
    except ImportError as error:
        raise ModelError(f"this network needs {library}: {INSTALL} ({error})") from error


def _import_torchvision() -> None:
    """Import torchvision, also where its compiled operators do not load (a CUDA build beside a CPU torch).

    Its Python code then refuses to start because the detection operators it annotates do not exist. Declared
    without a body they let everything else work; calling one still fails, with torch's own message.
    """
    if "torchvision" in sys.modules:
        return
    try:
        importlib.import_module("torchvision")
    except ModuleNotFoundError:
        return  # timm and transformers say themselves what they miss
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        for half in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[half]
        library = torch.library.Library("torchvision", "FRAGMENT")
        _declared.append(library)
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        importlib.import_module("torchvision")


# ---------------------------------------------------------------- torchvision


def torchvision(identifier: str, pretrained: bool) -> nn.Module:
    """A network of `torchvision.models`, with its default weights or without any."""
    weights = _torchvision_weights(identifier)
    models = imported("torchvision.models")
    if pretrained and weights is None:
        raise ModelError(f"torchvision has no weights of its own for {identifier!r}; give a weights file")
    module: nn.Module = models.get_model(identifier, weights=weights if pretrained else None)
    if hasattr(module, "transform_input"):
        # googlenet and inception_v3 re-scale their input inside; torchvision sets it only with its own
        # weights, and a file of these same weights needs it as well.
        setattr(module, "transform_input", True)  # noqa: B010 (torch types every attribute as a module)
    return module


def _torchvision_weights(identifier: str) -> Any:
    known = torchvision_names()
    if identifier not in known:
        raise unknown("torchvision network", identifier, known)
    return imported("torchvision.models").get_model_weights(identifier).DEFAULT


def torchvision_names() -> list[str]:
    """Networks of `torchvision.models`: classifiers."""
    models = imported("torchvision.models")
    return list(models.list_models(module=models))


def torchvision_transform(identifier: str, module: nn.Module) -> Transform:  # noqa: ARG001
    """What torchvision declares beside the default weights of this network."""
    weights = _torchvision_weights(identifier)
    if weights is None:
        raise ModelError(
            f"torchvision declares no transform for {identifier!r}; give one (resize, crop, mean, std)"
        )
    preset = weights.transforms()
    resize, crop = _sides(preset.resize_size), _sides(preset.crop_size)
    return Transform(resize, crop, preset.interpolation.value, mean=tuple(preset.mean), std=tuple(preset.std))


def torchvision_cached(identifier: str) -> bool:
    """Whether the default weights lie in torch's hub folder."""
    weights = _torchvision_weights(identifier)
    return weights is not None and _in_hub(weights.url)


def _in_hub(url: str | None) -> bool:
    return bool(url) and (Path(torch.hub.get_dir()) / "checkpoints" / str(url).rpartition("/")[2]).is_file()


def _sides(sizes: Iterable[int]) -> int | tuple[int, int]:
    sides = tuple(sizes)
    return sides[0] if len(sides) == 1 else (sides[0], sides[1])


# ----------------------------------------------------------------------- timm


def timm(identifier: str, pretrained: bool) -> nn.Module:
    """A network of `timm.create_model`, with its default weights or without any."""
    library = imported("timm")
    if not library.is_model(identifier):
        raise unknown("timm network", identifier, timm_names())
    module: nn.Module = library.create_model(identifier, pretrained=pretrained)
    return module


def timm_names() -> list[str]:
    """Networks that timm builds."""
    return list(imported("timm").list_models())


def timm_transform(identifier: str, module: nn.Module) -> Transform:
    """What timm's evaluation transform does for this network, from its data configuration."""
    config = imported("timm.data").resolve_model_data_config(module)
    height, width = config["input_size"][1:]
    mode = config["crop_mode"]
    sides = (math.floor(height / config["crop_pct"]), math.floor(width / config["crop_pct"]))
    resize = sides[0] if mode == "center" and height == width else sides
    if mode != "squash" and isinstance(resize, tuple):
        raise ModelError(
            f"timm prepares images for {identifier!r} by {mode!r}, which is not offered; give a transform"
        )
    return Transform(resize, (height, width), config["interpolation"], mean=config["mean"], std=config["std"])


def timm_cached(identifier: str) -> bool:
    """Whether the default weights lie in torch's hub folder or in the Hugging Face cache."""
    config = imported("timm").get_pretrained_cfg(identifier)
    if config is None:
        return False
    return _in_hub(config.url) or any(
        _in_hugging_face(config.hf_hub_id, file) for file in ("model.safetensors", "pytorch_model.bin")
    )


def _in_hugging_face(repository: str | None, file: str) -> bool:
    if not repository:
        return False
    return isinstance(imported("huggingface_hub").try_to_load_from_cache(repository, file), str)


# --------------------------------------------------------------- transformers


def transformers(identifier: str, pretrained: bool) -> nn.Module:
    """`AutoModel` of a local folder or of the cache; with `pretrained`, of the Hugging Face hub as well.

    A folder without weights in it gives the architecture alone, as an untrained twin needs.
    """
    library = imported("transformers")
    if pretrained:
        module: nn.Module = library.AutoModel.from_pretrained(identifier)
    elif Path(identifier).is_dir() or _in_hugging_face(identifier, "config.json"):
        try:
            config = library.AutoConfig.from_pretrained(identifier, local_files_only=True)
            module = library.AutoModel.from_config(config)
        except (OSError, ValueError, KeyError) as error:  # what a foreign config.json is told by
            raise ModelError(
                f"transformers builds no network from {identifier}: {in_words(error)}"
            ) from error
    else:
        raise ModelError(
            f"no configuration of {identifier!r} on this machine; give a local directory, or "
            "`weights: pretrained` to fetch it from the Hugging Face hub"
        )
    # Of an image-text pair the image half is meant: the other one takes words.
    vision: nn.Module = getattr(module, "vision_model", module)
    return vision


def transformers_transform(identifier: str, module: nn.Module) -> Transform:  # noqa: ARG001
    """What the image processor beside the weights declares."""
    library = imported("transformers")
    try:
        config = library.AutoImageProcessor.from_pretrained(identifier, local_files_only=True).to_dict()
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{identifier!r} declares no image processor; give a transform ({in_words(error)})"
        ) from error
    return from_processor(config)


def from_processor(config: Mapping[str, Any]) -> Transform:
    """The Transform an image processor of transformers declares, as its `to_dict` tells.

    Raises ModelError where its kind is not in PLAIN, or where one of FURTHER is set.
    """
    kind = str(config.get("image_processor_type"))
    if re.sub("ImageProcessor(Fast|Pil)?$", "", kind) not in PLAIN:
        raise ModelError(f"what {kind} does to images is not offered; give a transform")
    if further := [f"{name} {config[name]}" for name in FURTHER if config.get(name)]:
        raise ModelError(f"{kind} with {', '.join(further)} is not offered; give a transform")
    resize = _processor_size(config.get("size")) if config.get("do_resize") else None
    crop = _processor_size(config.get("crop_size")) if config.get("do_center_crop") else None
    normal = config.get("do_normalize")  # absent where the kind has no such step
    # The processor multiplies by 1/255 in float32; dividing by 255 differs from it in the last bit at most.
    divide = 1 / float(config.get("rescale_factor", 1 / 255)) if config.get("do_rescale") else 1.0
    return Transform(
        resize,
        crop if crop is None or isinstance(crop, tuple) else (crop, crop),
        next(name for name, member in INTERPOLATIONS.items() if member == int(config.get("resample", 2))),
        "BGR" if config.get("do_flip_channel_order") else "RGB",
        round(divide, 6),
        mean=tuple(config["image_mean"]) if normal else (),
        std=tuple(config["image_std"]) if normal else (),
        half="down",
    )


def _processor_size(size: Any) -> int | tuple[int, int] | None:
    if size is None or isinstance(size, int):
        return size
    if "shortest_edge" in size and len({key for key, value in size.items() if value}) == 1:
        return int(size["shortest_edge"])
    if "height" in size and "width" in size:
        return int(size["height"]), int(size["width"])
    raise ModelError(
        f"an image processor that resizes to {json.dumps(size)} is not offered; give a transform"
    )


def transformers_cached(identifier: str) -> bool:
    """Whether the weights lie in the local folder `identifier`, or in the Hugging Face cache."""
    return any(
        (Path(identifier) / file).is_file() or _in_hugging_face(identifier, file)
        for file in ("model.safetensors", "pytorch_model.bin")
    )
