"""Pictures of every kind and format are read right, and what cannot be read is named."""

from __future__ import annotations

import os
import subprocess
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from PIL import Image

from cases import cases
from picture_files import KINDS, draw, noise, one, oriented, packed, put, transparent_palette
from refusals import refused
from zerosum import data
from zerosum.data.image_files import Bad, Header, decode, header, read

pytestmark = pytest.mark.usefixtures("own_cache")

# Pixels


@pytest.mark.parametrize("channels", [1, 3])
def test_what_has_the_size_keeps_its_bytes(channels: int, tmp_path: Path) -> None:
    pixels = noise(8, 12, channels)
    made = one(tmp_path, Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels))
    assert np.array_equal(made.permute(1, 2, 0).numpy(), pixels)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["png", "jpg", "webp", "tif"])
def test_exif_orientation_is_undone(orientation: int, form: str, tmp_path: Path) -> None:
    """The corners of the upright image, as the standard says where row 0 and column 0 lie."""
    upright = np.repeat(np.repeat(np.array([[0, 80], [160, 240]], dtype=np.uint8), 16, 0), 24, 1)
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright),
        7: upright[::-1, ::-1].T,
        8: np.rot90(upright, -1),
    }[orientation]
    saved = {"exif": oriented(orientation), **({"quality": 100} if form in ("jpg", "webp") else {})}
    image = Image.fromarray(np.ascontiguousarray(stored))
    made = one(tmp_path, image, f"x.{form}", save=saved, channels=1, size=None if form != "png" else (32, 48))
    assert made.shape == (1, 32, 48)
    corners = made[0, ::31, ::47].flatten().tolist()
    assert corners == pytest.approx([0, 80, 160, 240], abs=8)


@pytest.mark.parametrize("name", ["x.png", "x.tif"])
def test_sixteen_bits_are_scaled(name: str, tmp_path: Path) -> None:
    levels = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    made = one(tmp_path, Image.fromarray(levels), name)
    assert np.array_equal(made[0].numpy(), np.round(levels / 257).astype(np.uint8))


@pytest.mark.parametrize("white", [1.0, 255.0, 65535.0])
def test_floats_are_scaled_to_the_smallest_full_scale(white: float, tmp_path: Path) -> None:
    levels = np.linspace(0, white, 64, dtype=np.float32).reshape(8, 8)
    made = one(tmp_path, Image.fromarray(levels), "x.tif")
    assert np.array_equal(made[0].numpy(), np.round(levels * (255 / white)).astype(np.uint8))


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf"), 1e9])
def test_floats_of_no_known_scale_are_bad(value: float, tmp_path: Path) -> None:
    draw(tmp_path, 2)
    Image.fromarray(np.full((8, 8), value, dtype=np.float32)).save(tmp_path / "x.tif")
    [(path, cause)] = data.image_folder(tmp_path).skipped
    assert path == "x.tif" and "no known scale" in cause


def test_a_transparent_palette_is_laid_on_white_or_kept(tmp_path: Path) -> None:
    image, saved = transparent_palette(8, 8), {"transparency": 0}  # red rows are see-through, blue ones not
    flat = one(tmp_path / "flat", image, save=saved, channels=3)
    assert flat[:, 0, 0].tolist() == [255, 255, 255] and flat[:, 1, 0].tolist() == [0, 0, 255]
    kept = one(tmp_path / "kept", image, save=saved)
    assert kept[3, 0, 0] == 0 and kept[:, 1, 0].tolist() == [0, 0, 255, 255]


def test_half_transparency_is_mixed_with_white(tmp_path: Path) -> None:
    made = one(tmp_path, Image.new("RGBA", (8, 8), (200, 0, 100, 128)), channels=3)
    expected = [255 + (v - 255) * 128 / 255 for v in (200, 0, 100)]
    assert made[:, 3, 3].tolist() == pytest.approx(expected, abs=1)


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    made = one(tmp_path, Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "x.jpg", save={"quality": 100})
    assert made[:, 4, 4].tolist() == pytest.approx([255, 0, 0], abs=4)


def test_the_first_frame_of_a_gif(tmp_path: Path) -> None:
    frames = [Image.new("L", (8, 8), level) for level in (40, 200)]
    made = one(tmp_path, frames[0], "x.gif", save={"save_all": True, "append_images": frames[1:]})
    assert made.unique().tolist() == [40]


def test_crop_takes_the_middle_and_fit_adds_bars(tmp_path: Path) -> None:
    """Three squares side by side."""
    image = Image.fromarray(np.repeat(np.array([[50, 100, 150]], dtype=np.uint8), 30, 1).repeat(30, 0))
    crop = one(tmp_path / "crop", image, size=10)[0]
    assert crop[:, 2:8].unique().tolist() == [100]
    fit = one(tmp_path / "fit", image, size=12, fit="fit")[0]
    assert fit[:4].unique().tolist() == fit[8:].unique().tolist() == [0]
    assert fit[5, ::4].tolist() == pytest.approx([50, 100, 150], abs=12)


@pytest.mark.parametrize("form", ["png", "jpg"])
def test_reduction_is_a_mean(form: str, tmp_path: Path) -> None:
    """Stripes of one pixel become grey: no aliasing, whatever the factor."""
    stripes = np.zeros((512, 512), dtype=np.uint8)
    stripes[:, ::2] = 255
    made = one(tmp_path, Image.fromarray(stripes), f"x.{form}", size=16)
    assert made.float().sub(127.5).abs().max() < 8


# What is inferred


@pytest.mark.parametrize(
    ("sides", "expected"),
    [
        ([(28, 28)] * 3, (28, 28)),  # (width, height): all of one size
        ([(48, 32)] * 3, (32, 48)),
        ([(178, 218)] * 3, (64, 64)),  # too large to be taken as it is
        ([(30, 30)] * 3, (16, 16)),  # not a multiple of 4
        ([(64, 64), (65, 70), (200, 100)], (64, 64)),
        ([(9, 9), (64, 64), (65, 70)], (64, 64)),  # one small image does not decide
        ([(600, 600), (700, 900)], (64, 64)),
        ([(3, 3), (5, 5)], (8, 8)),
    ],
)
def test_size_is_inferred(sides: list[tuple[int, int]], expected: tuple[int, int], tmp_path: Path) -> None:
    for i, side in enumerate(sides):
        Image.new("L", side).save(tmp_path / f"{i}.png")
    assert data.image_folder(tmp_path).shape == (1, *expected)


@pytest.mark.parametrize(
    ("modes", "expected"),
    [
        (["L", "1", "I;16", "LA"], 1),
        (["L", "L", "RGB"], 3),
        (["RGBA", "RGBA", "RGB"], 4),
        (["RGBA", "RGB", "RGB"], 3),
        (["opaque", "opaque", "RGB"], 3),  # an alpha channel that hides nothing
        (["opaque", "RGBA", "RGBA"], 4),
    ],
)
def test_channels_are_inferred(modes: list[str], expected: int, tmp_path: Path) -> None:
    for i, mode in enumerate(modes):
        image = Image.new("RGBA", (8, 8), "red") if mode == "opaque" else Image.new(mode, (8, 8))
        image.save(tmp_path / f"{i}.png")
    assert data.image_folder(tmp_path).shape == (expected, 8, 8)


# Files that are not as they should be


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_cut_anywhere_is_named_unless_its_image_is_whole(kind: str, tmp_path: Path) -> None:
    suffix, save = KINDS[kind]
    save(tmp_path / f"whole.{suffix}", 12)
    content = (tmp_path / f"whole.{suffix}").read_bytes()
    put(tmp_path, {f"cut{i}.{suffix}": (content[: len(content) * i // 8], "") for i in range(8)})
    source = data.image_folder(tmp_path, "all", bad=1.0)
    assert {cause.split(":")[0] for _, cause in source.skipped} == {"empty", "truncated"}
    assert len(source) + len(source.skipped) == 9 and len(source.skipped) > 4
    assert len(source.pixels[:].unique(dim=0)) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_do_no_harm(kind: str, tmp_path: Path) -> None:
    suffix, save = KINDS[kind]
    save(tmp_path / f"whole.{suffix}", 12)
    content = np.fromfile(tmp_path / f"whole.{suffix}", dtype=np.uint8)
    for i in range(20):
        damaged = content.copy()
        places = np.random.default_rng(i).integers(len(content) if i % 2 else 100, size=1 + i)
        damaged[places] = noise(1 + i, seed=i)
        damaged.tofile(tmp_path / f"hit{i}.{suffix}")
    source = data.image_folder(tmp_path, "all", size=16, bad=1.0)
    assert len(source) + len(source.skipped) == 21
    known = {"truncated", "broken", "not an image", "decompression bomb"}
    assert {cause.split(":")[0] for _, cause in source.skipped} <= known


def test_links_are_followed_and_loops_end(tmp_path: Path) -> None:
    folder, outside = draw(tmp_path / "in", 3, prefix="b/"), draw(tmp_path / "out", 2)
    (folder / "a").symlink_to(folder / "b")  # known by its own name
    (folder / "b" / "up").symlink_to(folder)
    (folder / "self").symlink_to("self")
    (folder / "out").symlink_to(outside)
    (folder / "b" / "copy.png").symlink_to(folder / "b" / "000.png")
    os.mkfifo(folder / "pipe.jpg")  # opening it would wait for ever
    source = data.image_folder(folder, "all")
    assert len(source) == 6 and source.class_names == ("b", "out")
    assert dict(source.skipped)["pipe.jpg"] == "not a file" and "self" in dict(source.skipped)


def test_a_name_in_any_bytes(tmp_path: Path) -> None:
    draw(tmp_path, 1)
    for name in (b"\xff\xfe.png", b"new\nline.png", "ü \x1b[31m.png".encode()):
        (tmp_path / os.fsdecode(name)).write_bytes(b"")
    source = data.image_folder(tmp_path, bad=0.9)
    assert len(source.skipped) == 3 and "3 empty" in source.notes[1]
    assert all(note.isprintable() for note in source.notes)


def test_too_many_bad_files_are_refused_in_one_line(tmp_path: Path) -> None:
    draw(tmp_path, 2)
    put(tmp_path, {f"{i}.jpg": (b"", "") for i in range(3)} | {f"{i}.txt": (b"?", "") for i in range(9)})
    with refused("60%", "bad=0.5", "3 empty", "0.jpg"):
        data.image_folder(tmp_path)
    assert len(data.image_folder(tmp_path, bad=0.6)) == 2  # notes do not count


@pytest.mark.parametrize("files", [{}, {"a.jpg": b""}, {"notes.txt": b"?"}, {"cut.bmp": b"BM"}])
def test_a_folder_without_images(files: dict[str, bytes], tmp_path: Path) -> None:
    put(tmp_path, {name: (content, "") for name, content in files.items()})
    for _ in range(2):
        with refused(tmp_path, *files):
            data.image_folder(tmp_path, bad=1.0)


def test_all_images_break_when_they_are_decoded(tmp_path: Path) -> None:
    put(tmp_path, {"cut.png": (packed(Image.fromarray(noise(64, 64, 3)), "PNG")[:3000], "")})
    with refused(tmp_path, "1 of 1", "truncated", "cut.png"):
        data.image_folder(tmp_path)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"size": 0}, ["size"]),
        ({"size": (8, -1)}, ["size"]),
        ({"size": 10**9}, ["megapixels"]),
        ({"size": "8"}, ["size"]),
        ({"channels": 5}, ["channels", 5]),
        ({"fit": "stretch"}, ["fit", "stretch"]),
        ({"split": "half"}, ["half", "train", "all"]),
        ({"bad": 1.5}, ["bad"]),
        ({"low": 1.0}, ["low", "high"]),
    ],
)
def test_wrong_arguments_are_refused(options: dict[str, object], named: list[object], tmp_path: Path) -> None:
    with refused(*named):
        data.image_folder(draw(tmp_path, 1), **options)  # type: ignore[arg-type]


def test_no_such_folder(tmp_path: Path) -> None:
    with refused(by=FileNotFoundError):
        data.image_folder(tmp_path / "missing")


# Families


CAN_SAVE = {
    "PNG": ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"],
    "TIFF": ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "F"],
    "BMP": ["1", "L", "P", "RGB"],
    "GIF": ["1", "L", "P", "RGB"],
    "PPM": ["1", "L", "RGB"],
    "WEBP": ["RGB", "RGBA"],
    "JPEG": ["L", "RGB", "CMYK"],
    "JPEG2000": ["L", "LA", "RGB", "RGBA"],
}
KINDS_OF_FILES = [(form, mode) for form, modes in CAN_SAVE.items() for mode in modes]
SIDES = some.integers(1, 70)


def plain(mode: str, size: tuple[int, int], level: int) -> Image.Image:
    """A picture all of one grey, 0 to 255, in any mode."""
    if mode == "I;16":
        return Image.fromarray(np.full(size[::-1], level * 257, dtype=np.uint16))
    if mode == "F":
        return Image.fromarray(np.full(size[::-1], level / 255, dtype=np.float32))
    grey = Image.new("L", size, level)
    return (grey.convert("RGB") if mode == "CMYK" else grey).convert(mode)


@given(some.sampled_from(KINDS_OF_FILES), SIDES, SIDES, SIDES, some.integers(0, 255), some.integers(1, 4))
@cases(150)
def test_a_grey_is_that_grey_in_any_mode_format_size_and_channels(
    kind: tuple[str, str], width: int, height: int, side: int, level: int, channels: int
) -> None:
    form, mode = kind
    level = 255 * (level > 127) if mode == "1" else level
    content = packed(plain(mode, (width, height), level), form)
    head = read(header, content)
    assert isinstance(head, Header) and (head.width, head.height) == (width, height)
    pixels = read(partial(decode, shape=(channels, side, side), fit="crop"), content)
    assert isinstance(pixels, bytes)
    values = np.frombuffer(pixels, dtype=np.uint8).reshape(channels, side, side).astype(int)
    alpha = channels in (2, 4)
    assert not alpha or (values[-1] >= 250).all()
    assert (
        abs(values[: channels - alpha] - level) <= (6 if form in ("JPEG", "JPEG2000", "WEBP") else 1)
    ).all()


@given(some.sampled_from(KINDS_OF_FILES), some.data())
@cases(150)
def test_damage_of_any_kind_is_a_cause_or_a_picture(
    kind: tuple[str, str], draw_from: some.DataObject
) -> None:
    form, mode = kind
    content = bytearray(packed(plain(mode, (23, 17), 255), form))
    for _ in range(draw_from.draw(some.integers(1, 8))):
        place = draw_from.draw(some.integers(0, len(content) - 1))
        content[place] = draw_from.draw(some.integers(0, 255))
    cut = bytes(content[: draw_from.draw(some.integers(0, len(content)))])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for damaged in (bytes(content), cut):
            result = read(partial(decode, shape=(3, 9, 8), fit="fit"), damaged)
            assert (isinstance(result, Bad) and result.cause) or len(result) == 3 * 9 * 8


@pytest.mark.parametrize("form", ["EPS", "PDF", "ICO", "PCX", "TGA", "SGI", "DDS", "MSP", "XBM"])
@pytest.mark.parametrize("name", ["x.png", "x.jpg", "x.eps"])
def test_other_formats_are_not_opened_whatever_they_are_called(
    form: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For some of them Pillow starts other programs, such as Ghostscript."""
    monkeypatch.setattr(subprocess, "Popen", None)
    monkeypatch.setattr(os, "system", None)
    image = Image.new("1" if form in ("MSP", "XBM") else "RGB", (16, 16))
    draw(tmp_path, 3)
    (tmp_path / name).write_bytes(packed(image, form))
    source = data.image_folder(tmp_path, bad=1.0)
    assert len(source) == 3 and [path for path, _ in source.skipped] == [name]
