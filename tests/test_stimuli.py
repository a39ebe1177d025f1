"""Folders of images and cubes of pixels as stimuli: what is read, what is refused, and how it is told."""

import io
import os
import pickle
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import stores
from stores.decode import UndecodableError, decode
from stores.errors import InputError, SchemaError
from stores.images import image_cube
from stores.stimuli import ImageFolder, image_paths, read_folder, read_images


def noise(height: int = 6, width: int = 9, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def fill(folder: Path, *names: str) -> Path:
    for seed, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise(seed=seed)).save(folder / name)
    return folder


def png_that_claims(width: int, height: int) -> bytes:
    """A PNG whose header tells a size its data does not have."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 16)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def test_folder__ids_are_sorted_stems_whatever_the_order_of_files(tmp_path: Path) -> None:
    folder = read_folder(fill(tmp_path, "b10.png", "b9.bmp", "a.PNG", "é.png"))
    assert folder.ids == ("a", "b10", "b9", "é")
    assert folder.coords()["file"] == ("a.PNG", "b10.png", "b9.bmp", "é.png")
    assert np.array_equal(folder.decode(1), noise(seed=0))
    assert folder.files[1].size == (6, 9)
    pictures = folder.pictures(1, 3)
    assert [np.array_equal(picture(), noise(seed=seed)) for seed, picture in enumerate(pictures)] == [
        True,
        True,
    ]


def test_folder__named_from_home_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, "images/a.png")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert read_folder("~/images").root == str(tmp_path / "images")
    assert image_paths(Path("~/images")) == ["a.png"]


def test_folder__ignores_what_is_no_image(tmp_path: Path) -> None:
    fill(tmp_path, "a.png", "below/b.png")
    (tmp_path / "._a.png").write_bytes(b"\0\5\26\7")
    (tmp_path / ".DS_Store").write_bytes(b"\0")
    (tmp_path / "labels.csv").write_text("a,1\n")
    assert read_folder(tmp_path).ids == ("a",)
    assert read_folder(tmp_path, recursive=True).ids == ("a", "b")


def test_folder__accents_written_in_two_ways_are_one_id(tmp_path: Path) -> None:
    fill(tmp_path, "caf\u0065\u0301.png")
    assert read_folder(tmp_path).ids == ("caf\u00e9",)
    fill(tmp_path, "caf\u00e9.png")
    with pytest.raises(InputError, match="come from more than one file"):
        read_folder(tmp_path)


def test_folder__digest_follows_bytes_and_names_not_places(tmp_path: Path) -> None:
    one, two = fill(tmp_path / "one", "a.png", "b.png"), fill(tmp_path / "two", "a.png", "b.png")
    assert read_folder(one).digest == read_folder(two).digest
    (two / "b.png").rename(two / "c.png")
    assert read_folder(one).digest != read_folder(two).digest
    (two / "c.png").rename(two / "b.png")
    data = bytearray((two / "b.png").read_bytes())
    (two / "b.png").write_bytes(saved(Image.fromarray(noise(seed=5))))
    assert read_folder(one).digest != read_folder(two).digest
    (two / "b.png").write_bytes(bytes(data))
    assert read_folder(one).digest == read_folder(two).digest


def test_folder__is_picklable_and_refuses_a_changed_file(tmp_path: Path) -> None:
    folder: ImageFolder = pickle.loads(pickle.dumps(read_folder(fill(tmp_path, "a.png", "b.png"))))
    assert np.array_equal(folder.decode(0), noise(seed=0))
    (tmp_path / "a.png").write_bytes(saved(Image.fromarray(noise(seed=7))))
    with pytest.raises(InputError, match="has changed since"):
        folder.decode(0)
    (tmp_path / "b.png").unlink()
    with pytest.raises(InputError, match="cannot be read any more"):
        folder.decode(1)


def bad_folder(folder: Path) -> Path:
    fill(folder, "good.png", "fine.jpg")
    (folder / "text.png").write_text("I am no image, I am a sentence.\n")
    (folder / "empty.png").write_bytes(b"")
    whole = saved(Image.fromarray(noise(200, 200)))
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    photo = saved(Image.fromarray(noise(200, 200)), "JPEG")
    (folder / "cut.jpg.jpg").write_bytes(photo[: len(photo) // 2])
    (folder / "bomb.png").write_bytes(png_that_claims(20000, 20000))
    (folder / "big.png").write_bytes(png_that_claims(11000, 11000))
    (folder / "nothing.png").write_bytes(png_that_claims(0, 10))
    (folder / "random.png").write_bytes(np.random.default_rng(0).bytes(300))
    return folder


BAD = ("text.png", "empty.png", "cut.png", "cut.jpg.jpg", "bomb.png", "big.png", "nothing.png", "random.png")


def test_folder__lists_all_bad_files_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_folder(bad_folder(tmp_path))
    said = str(caught.value)
    assert said.startswith("8 of 10 images")
    assert all(f"- {name} " in said for name in BAD), said
    assert "text.png is text, not an image" in said
    assert "empty.png is empty" in said
    assert "bomb.png is too large" in said
    assert "big.png is too large" in said
    assert "on_error: skip" in said


def test_folder__skips_and_records_when_told_to(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # a caller who does not turn warnings into errors gets the same
        folder = read_folder(bad_folder(tmp_path), on_error="skip")
    assert folder.ids == ("fine", "good")
    assert sorted(name for name, _ in folder.skipped) == sorted(BAD)
    assert all(reason for _, reason in folder.skipped)
    assert folder.digest == read_folder(fill(tmp_path / "clean", "good.png", "fine.jpg")).digest


def test_folder__names_what_is_no_file(tmp_path: Path) -> None:
    folder = fill(tmp_path, "good.png", "folder.png/below.png")
    (folder / "lost.png").symlink_to("nowhere/lost.png")
    os.mkfifo(folder / "pipe.png")
    with pytest.raises(InputError, match=r"3 of 4 images") as caught:
        read_folder(folder)
    assert "lost.png is a link to nowhere/lost.png, which is not there" in str(caught.value)
    assert "folder.png is a folder, not a file" in str(caught.value)
    assert "pipe.png is a device or pipe, not a file" in str(caught.value)
    assert read_folder(folder, on_error="skip").ids == ("good",)
    assert read_folder(folder, on_error="skip", recursive=True).ids == ("below", "good")


def test_folder__says_what_it_skipped_in_one_line(tmp_path: Path) -> None:
    (fill(tmp_path, "a.png", "b.png") / "bad.png").write_bytes(b"")
    said = read_folder(tmp_path, on_error="skip").losses
    assert said == f"1 of 3 images in {tmp_path} are left out: bad.png is empty"
    (tmp_path / "bad.png").unlink()
    assert read_folder(tmp_path, on_error="skip").losses == ""


def test_folder__named_from_here_is_found_from_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, "pictures/a.png")
    monkeypatch.chdir(tmp_path)
    folder = read_folder("pictures")
    monkeypatch.chdir("/")
    assert np.array_equal(folder.decode(0), noise(seed=0))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda p: p / "nowhere", "is not a folder"),
        (lambda p: fill(p, "a.png") / "a.png", "it is a file"),
        (lambda p: p, "no images in"),
        (lambda p: fill(p, "below/a.png"), r"\(0 other files\); its folders are not looked into"),
        (lambda p: fill(p, "a.png", "a.jpg"), r"'a': a\.jpg, a\.png"),
    ],
)
def test_folder__refuses(tmp_path: Path, make: object, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_folder(make(tmp_path))


def test_folder__refuses_all_bad_even_when_skipping_and_unknown_choices(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no")
    with pytest.raises(InputError, match="1 of 1 images"):
        read_folder(tmp_path, on_error="skip")
    with pytest.raises(InputError, match="choose 'raise' or 'skip'"):
        read_folder(tmp_path, on_error="ignore")


def test_decode__applies_exif_orientation() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: shown upright, the picture is the stored one turned clockwise
    image = Image.fromarray(noise(8, 20))
    assert np.array_equal(decode(saved(image, exif=exif)), np.rot90(noise(8, 20), -1))


def test_decode__modes_become_rgb() -> None:
    grey = noise()[:, :, 0]
    thrice = np.repeat(grey[:, :, None], 3, 2)
    assert np.array_equal(decode(saved(Image.fromarray(grey))), thrice)
    wide = Image.fromarray(grey.astype(np.uint16) * 257)
    assert np.array_equal(decode(saved(wide)), thrice)
    palette = Image.fromarray(noise()).quantize(16)
    assert np.array_equal(decode(saved(palette)), np.array(palette.convert("RGB")))
    cmyk = Image.fromarray(noise()).convert("CMYK")
    assert np.array_equal(decode(saved(cmyk, "TIFF")), np.array(cmyk.convert("RGB")))
    bits = Image.fromarray(grey > 99)
    assert np.array_equal(decode(saved(bits)), np.where(grey > 99, 255, 0)[:, :, None].repeat(3, 2))
    real = Image.fromarray(grey.astype(np.float32) / 255)
    with pytest.raises(UndecodableError, match="mode 'F'"):
        decode(saved(real, "TIFF"))


def test_decode__transparent_shows_mid_grey() -> None:
    pixels = np.dstack([noise(2, 3), np.array([[255, 0, 255], [0, 255, 0]], np.uint8)])
    got = decode(saved(Image.fromarray(pixels)))
    shown = pixels[..., 3] == 255
    assert np.array_equal(got[shown], pixels[..., :3][shown])
    assert (got[~shown] == 128).all()


def test_decode__takes_the_first_frame_of_an_animation() -> None:
    frames = [Image.fromarray(np.full((5, 5, 3), level, np.uint8)) for level in (40, 200)]
    data = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert (decode(data) == 40).all()


def test_images__of_a_cube_are_stimuli_like_files(tmp_path: Path) -> None:
    fill(tmp_path / "files", *(f"p{i}.png" for i in range(5)))
    folder = read_folder(tmp_path / "files")
    pixels = np.stack([folder.decode(i) for i in range(5)])
    cube = image_cube(pixels, folder.ids, dataset="noise", coords={"category": list("aabbb")})
    stores.save(tmp_path / "store", "images/noise", cube, made_from={"seed": 0})
    images = pickle.loads(pickle.dumps(read_images(tmp_path / "store", "images/noise")))
    assert images.ids == folder.ids
    assert images.coords() == {"category": tuple("aabbb")}
    assert np.array_equal(images.decode(3), pixels[3])
    assert [
        np.array_equal(p(), want) for p, want in zip(images.pictures(1, 4), pixels[1:4], strict=True)
    ] == [True] * 3


def test_images__digest_follows_pixels(tmp_path: Path) -> None:
    pixels, digests = np.stack([noise(seed=i) for i in range(3)]), []
    for number, change in enumerate((0, 0, 1)):
        changed = pixels.copy()
        changed[1, 2, 3, 0] ^= change
        stores.save(
            tmp_path,
            f"images/{number}",
            image_cube(changed, list("abc"), dataset="x"),
            made_from={"n": number},
        )
        digests.append(read_images(tmp_path, f"images/{number}").digest)
    assert digests[0] == digests[1] != digests[2]


def test_images__refuses_other_cubes(tmp_path: Path) -> None:
    rgba = np.zeros((2, 3, 4, 4), np.uint8)
    stores.save(tmp_path, "images/rgba", image_cube(rgba, ["a", "b"], dataset="x"), made_from={})
    with pytest.raises(SchemaError, match="has 4 channels"):
        read_images(tmp_path, "images/rgba")
    grey = np.arange(24, dtype=np.uint8).reshape(2, 3, 4, 1)
    stores.save(tmp_path, "images/grey", image_cube(grey, ["a", "b"], dataset="x"), made_from={})
    assert np.array_equal(read_images(tmp_path, "images/grey").decode(1), grey[1].repeat(3, 2))
