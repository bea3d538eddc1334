"""Folders of images: every kind is read right, every bad file is named, and a cache is whole or not there."""

from __future__ import annotations

import io
import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from zerosum import data
from zerosum.data import images as module
from zerosum.data.source import order


def noise(*shape: int, seed: int = 0, top: int = 256) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, top, shape, dtype=np.uint8 if top <= 256 else np.uint16)


def smooth(height: int, width: int, channels: int, seed: int = 0) -> Image.Image:
    """Colours that vary slowly: what compresses with little loss."""
    coarse = noise(4, 4, channels, seed=seed)
    bands = [Image.fromarray(coarse[:, :, i]).resize((width, height)) for i in range(channels)]
    return Image.merge({1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[channels], bands)


def oriented(n: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = n
    return exif


def transparent_palette(height: int = 40, width: int = 40) -> Image.Image:
    image = Image.new("P", (width, height))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putdata([i // width % 2 for i in range(height * width)])
    return image


Kind = tuple[str, Callable[[Path, int], None]]

KINDS: dict[str, Kind] = {
    "jpeg": ("jpg", lambda p, i: smooth(64 + i, 90, 3, i).save(p)),
    "grey_jpeg": ("jpeg", lambda p, i: smooth(70, 64 + i, 1, i).save(p)),
    "cmyk": ("jpg", lambda p, i: smooth(64, 64, 3, i).convert("CMYK").save(p)),
    "exif": ("jpg", lambda p, i: smooth(64, 80, 3, i).save(p, exif=oriented(1 + i % 8))),
    "png": ("png", lambda p, i: smooth(65, 65, 3, i).save(p)),
    "rgba": ("png", lambda p, i: smooth(64, 64, 4, i).save(p)),
    "grey_alpha": ("png", lambda p, i: smooth(64, 64, 2, i).save(p)),
    "grey16": ("png", lambda p, i: Image.fromarray(noise(64, 64, seed=i, top=65536)).save(p)),
    "bilevel": ("png", lambda p, i: smooth(64, 64, 1, i).convert("1").save(p)),
    "palette": ("png", lambda p, i: smooth(64, 64, 3, i).convert("P").save(p)),
    "palette_alpha": ("png", lambda p, i: transparent_palette(64, 64 + i).save(p, transparency=i % 2)),
    "webp": ("webp", lambda p, i: smooth(100, 64, 3, i).save(p)),
    "bmp": ("bmp", lambda p, i: smooth(64, 64 + i, 3, i).save(p)),
    "tiff": ("tiff", lambda p, i: smooth(64, 64, 3, i).save(p, compression="tiff_lzw")),
    "tiff16": ("tif", lambda p, i: Image.fromarray(noise(64, 64, seed=i, top=65536)).save(p)),
    "gif": (
        "gif",
        lambda p, i: smooth(64, 64, 3, i).save(p, save_all=True, append_images=[smooth(64, 64, 3, 99)]),
    ),
    "wrong_name": ("png", lambda p, i: smooth(64, 64, 3, i).save(p, format="JPEG")),
    "tall": ("png", lambda p, i: smooth(700, 2 + i, 3, i).save(p)),
    "tiny": ("png", lambda p, i: smooth(1 + i, 1, 3, i).save(p)),
    "large": ("jpg", lambda p, i: smooth(600, 800, 3, i).save(p)),
}


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def bomb(side: int = 60_000) -> bytes:
    """A PNG of a hundred bytes that says it has 3.6 gigapixels."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def packed(image: Image.Image, form: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form)
    return buffer.getvalue()


def bad_png() -> bytes:
    """A PNG whose pixels were damaged: their checksum does not fit."""
    body = bytearray(packed(Image.fromarray(noise(64, 64, 3)), "PNG"))
    body[200:300] = bytes(100)
    return bytes(body)


def bad_files() -> dict[str, tuple[bytes | None, str]]:
    """The name of each bad file, what it holds (None: a link to nothing), and its cause."""
    jpeg, png = packed(smooth(64, 64, 3), "JPEG"), packed(Image.fromarray(noise(64, 64, 3)), "PNG")
    return {
        **{f"empty{i}.jpg": (b"", "empty") for i in range(3)},
        **{f"cut{i}.jpg": (jpeg[: len(jpeg) * i // 4], "truncated") for i in (2, 3)},
        **{f"cut{i}.png": (png[: len(png) * i // 4], "truncated") for i in (1, 2, 3)},
        "cut.bmp": (packed(smooth(64, 64, 3), "BMP")[:5000], "truncated"),
        "header.png": (png[:16] + bytes(17) + png[33:], "broken"),
        "header.jpg": (jpeg[:12], "truncated"),
        "damaged.png": (bad_png(), "broken"),
        "page.jpg": (b"<html>404 Not Found</html>", "not an image"),
        "zeros.png": (bytes(1000), "not an image"),
        "notes.txt": (b"holiday, 2003", "not an image"),
        "Thumbs.db": (b"\xd0\xcf\x11\xe0" + bytes(500), "not an image"),
        "a/labels.json": (b"{}", "not an image"),
        "bomb.png": (bomb(), "decompression bomb"),
        "a/bomb.png": (bomb(13_000), "decompression bomb"),
        "gone.jpg": (None, "broken link"),
    }


def put(folder: Path, files: dict[str, tuple[bytes | None, str]]) -> None:
    for name, (content, _) in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to("nowhere") if content is None else path.write_bytes(content)


def draw(folder: Path, n: int, side: int = 8, prefix: str = "") -> Path:
    """n PNG images of one grey level each: 0, 1, ..."""
    for i in range(n):
        path = folder / f"{prefix}{i:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (side, side), i % 256).save(path)
    return folder


def one(folder: Path, image: Image.Image, name: str = "x.png", **options: object) -> torch.Tensor:
    """How the only image of a folder is shown."""
    folder.mkdir(exist_ok=True)
    saved = options.pop("save", {})
    image.save(folder / name, **saved)
    source = data.image_folder(folder, cache=folder / "cache", **options)
    return source.pixels[0]


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 images of all kinds, at several depths, and 20 bad files."""
    folder = tmp_path_factory.mktemp("zoo")
    for name, (suffix, save) in KINDS.items():
        for i in range(15):
            path = folder / ("", "a/", "b/c/d/")[i % 3] / f"{name}{i}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            save(path, i)
    put(folder, bad_files())
    (folder / ".hidden").write_text("not looked at")
    return folder


def test_every_kind_is_read_and_every_bad_file_is_named(
    zoo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = bad_files()
    assert len(bad) == 20 and len({cause for _, cause in bad.values()}) >= 6
    source = data.image_folder(zoo, split="all", cache=tmp_path)
    assert len(source) == 300 and source.shape == (3, 64, 64) and source.classes == 0
    assert {path: cause.split(":")[0] for path, cause in source.report} == {n: c for n, (_, c) in bad.items()}
    said = capsys.readouterr().err
    assert "20 of 320 files skipped" in said and "300 images of 3 x 64 x 64" in said
    [line] = [line for line in said.splitlines() if "skipped" in line]
    for cause, count in Counter(cause for _, cause in bad.values()).items():
        assert f"{count} {cause} (" in line
    assert all(name in line for name in bad)
    [listed] = tmp_path.rglob("skipped.txt")
    assert str(listed) in line
    assert [row.split("\t")[0] for row in listed.read_text().splitlines()] == sorted(bad)


def test_the_fingerprint_is_that_of_the_examples_and_their_order(tmp_path: Path) -> None:
    folder, n = tmp_path / "folder", 12
    for i in range(n):
        (folder / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise(8, 8, seed=i)).save(folder / "ab"[i % 2] / f"{i}.png")

    def fingerprint(**options: Any) -> str:
        whole = [
            data.image_folder(folder, split, cache=tmp_path / "cache", **options) for split in ("all", "test")
        ]
        assert whole[0].fingerprint == whole[1].fingerprint != ""
        return whole[0].fingerprint

    first = fingerprint()
    os.utime(folder / "a" / "0.png", (0, 0))
    (folder / "notes.txt").write_text("no image")
    assert fingerprint(flip=True, seed=5, low=0.0) == first, "neither dates nor other files count"
    seen = [first, fingerprint(size=16)]
    for change in (
        lambda: (folder / "a" / "0.png").rename(folder / "a" / "1.png"),  # another order
        lambda: (folder / "a" / "2.png").rename(folder / "b" / "2.png"),  # another label
        lambda: Image.fromarray(noise(8, 8, seed=n)).save(folder / "a" / "1.png"),
        lambda: Image.fromarray(noise(8, 8, seed=n)).save(folder / "a" / "x.png"),
        lambda: (folder / "b").rename(folder / "c"),
        lambda: (folder / "a" / "x.png").unlink(),
    ):
        change()
        seen.append(fingerprint())
    assert len({*seen}) == len(seen)


@pytest.mark.parametrize("bad", [0, 1])
def test_quietly_only_bad_files_are_told_of(
    bad: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for i in range(4):
        Image.new("L", (8, 8), 60 * i).save(folder / f"{i}.png")
    for i in range(bad):
        (folder / f"bad{i}.png").write_bytes(b"")
    for terminal in (False, True):
        monkeypatch.setattr(sys.stderr, "isatty", lambda terminal=terminal: terminal)
        module._say.cache_clear()
        with module.quietly():
            data.image_folder(folder, cache=tmp_path / f"cache{terminal}")
        said = capsys.readouterr()
        assert said.out == "" and said.err.count("\n") == bad
        assert not bad or "1 of 5 files skipped: 1 empty (bad0.png)" in said.err
    data.image_folder(folder, cache=tmp_path / "loud")
    assert "4 images of 1 x 8 x 8" in capsys.readouterr().err, "loud again"


def test_cached_and_fresh_are_the_same_and_no_file_is_opened_again(
    zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = data.image_folder(zoo, size=16, cache=tmp_path)
    monkeypatch.setattr(module, "_make", None)
    again = data.image_folder(zoo, size=16, cache=tmp_path)
    assert torch.equal(first.pixels, again.pixels) and first.report == again.report
    assert all(torch.equal(first.batch(s, 7)[0], again.batch(s, 7)[0]) for s in range(3))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("fit", ["crop", "fit"])
def test_every_kind_takes_every_form(channels: int, fit: str, tmp_path: Path) -> None:
    for name, (suffix, save) in KINDS.items():
        save(tmp_path / f"{name}.{suffix}", 3)
    source = data.image_folder(tmp_path, "all", size=(12, 20), channels=channels, fit=fit)  # type: ignore[arg-type]
    assert source.shape == (channels, 12, 20) and len(source) == len(KINDS) and source.report == ()
    x, y = source.batch(0, 5)
    assert x.shape == (5, channels, 12, 20) and x.dtype == torch.float32 and y is None
    assert x.min() >= -1 and x.max() <= 1


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("XDG_CACHE_HOME", str(home))
    return home


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
    [(path, cause)] = data.image_folder(tmp_path).report
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
        ([(178, 218)] * 3, (128, 128)),  # too large to be taken as it is
        ([(30, 30)] * 3, (16, 16)),  # not a multiple of 4
        ([(64, 64), (65, 70), (200, 100)], (64, 64)),
        ([(9, 9), (64, 64), (65, 70)], (64, 64)),  # one small image does not decide
        ([(600, 600), (700, 900)], (128, 128)),
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


# Labels and splits


def test_sub_folders_are_classes(tmp_path: Path) -> None:
    for level, name in enumerate(["cat", "ant", "bee"]):
        (tmp_path / name / "deep").mkdir(parents=True)
        for i in range(6):
            Image.new("L", (8, 8), level).save(tmp_path / name / ("", "deep")[i % 2] / f"{i}.png")
    source = data.image_folder(tmp_path, "all")
    assert source.class_names == ("ant", "bee", "cat") and source.classes == 3
    x, y = source.batch(0, 18)
    assert y is not None and y.dtype == torch.int64 and Counter(y.tolist()) == {0: 6, 1: 6, 2: 6}
    levels = source.codec.decode(x)[:, 0, 0].tolist()
    assert [source.class_names[label] for label in y.tolist()] == [("cat", "ant", "bee")[v] for v in levels]


@pytest.mark.parametrize("beside", ["x.png", "only/x.png"])
def test_no_labels_without_two_sub_folders_that_hold_all(beside: str, tmp_path: Path) -> None:
    draw(tmp_path, 3, prefix="only/")
    draw(tmp_path, 1, prefix=beside)
    source = data.image_folder(tmp_path)
    assert source.classes == 0 and source.labels is None


def test_a_folder_of_bad_files_is_no_class(tmp_path: Path) -> None:
    for name in "ab":
        draw(tmp_path, 3, prefix=f"{name}/")
    put(tmp_path, {"c/x.jpg": (b"", "empty"), "notes.txt": (b"?", "not an image")})
    assert data.image_folder(tmp_path).class_names == ("a", "b")


@pytest.mark.parametrize("n", [10, 11, 50, 300])
def test_the_splits_are_disjoint_complete_and_stay(n: int, tmp_path: Path) -> None:
    draw(tmp_path, n, prefix="a/").joinpath("b").mkdir()
    Image.new("L", (8, 8), 255).save(tmp_path / "b" / "x.png")

    def held(split: str) -> Counter[int]:
        source = data.image_folder(tmp_path, split)
        assert source.split_name == split and source.classes == 2
        return Counter(source.pixels[:, 0, 0, 0].tolist())

    before, test = held("test"), held("test").total()
    assert held("train") + before == held("all") and 1 <= test <= max(3, 0.2 * n)
    draw(tmp_path, n + 5, prefix="a/")
    assert before.keys() <= held("test").keys() or n < 50


def test_fewer_than_ten_images_are_not_split(tmp_path: Path) -> None:
    draw(tmp_path, 9)
    assert len(data.image_folder(tmp_path)) == 9
    with pytest.raises(ValueError, match="no split 'test', only train, all"):
        data.image_folder(tmp_path, "test")


@pytest.mark.parametrize("held", [["test"], ["valid"], ["val"], ["Test", "val"]])
def test_folders_that_are_splits(held: list[str], tmp_path: Path) -> None:
    for n, part in enumerate(["train", *held], start=2):
        for name in "ab":
            draw(tmp_path, n, prefix=f"{part}/{name}/")
    draw(tmp_path, 1, prefix="other/")
    lengths = {split: len(data.image_folder(tmp_path, split)) for split in ("train", "test", "all")}
    assert lengths == {"train": 4, "test": 6, "all": 10 + 8 * (len(held) - 1)}
    source = data.image_folder(tmp_path)
    assert source.class_names == ("a", "b") and source.report == (("other/000.png", "outside of the splits"),)
    if len(held) > 1:
        assert len(data.image_folder(tmp_path, "valid")) == 8


# Batches


def test_batches_follow_the_order_of_all_sources(tmp_path: Path) -> None:
    source = data.image_folder(draw(tmp_path, 30), "all", seed=5, low=0.0)
    x, _ = source.batch(3, 7)
    assert torch.equal(x, source.codec.encode(source.pixels[order(30, 5, 3, 7)]))
    assert isinstance(source, data.Source) and isinstance(source, data.Images)


def test_flips_are_even_odds_and_follow_from_seed_and_step(tmp_path: Path) -> None:
    half = np.zeros((8, 8), dtype=np.uint8)
    half[:, :4] = 255
    for i in range(10):
        Image.fromarray(half).save(tmp_path / f"{i}.png")
    plain, flipped = data.image_folder(tmp_path), data.image_folder(tmp_path, flip=True)
    x = flipped.batch(4, 400)[0]
    mirrored = x[:, 0, 0, 0] < 0
    assert 140 < int(mirrored.sum()) < 260
    assert torch.equal(torch.where(mirrored[:, None, None, None], x.flip(3), x), plain.batch(4, 400)[0])
    flipped.batch(5, 400)
    assert torch.equal(x, data.image_folder(tmp_path, flip=True).batch(4, 400)[0])
    assert not torch.equal(x, flipped.batch(5, 400)[0])
    assert not torch.equal(x, data.image_folder(tmp_path, flip=True, seed=1).batch(4, 400)[0])


def test_a_batch_touches_its_own_rows_only(tmp_path: Path) -> None:
    """A cache of 8 GB, which only seems to be on the disk: two batches are read in little memory."""
    source = data.image_folder(draw(tmp_path, 12), cache=tmp_path / "cache")
    [index] = (tmp_path / "cache").rglob("index.json")
    body = index.read_text().split("\n", 1)[1]
    n = 1 << 27
    body = body.replace("[12, 1, 8, 8]", f"[{n}, 1, 8, 8]").replace('"all": [0, 12]', f'"all": [0, {n}]')
    index.write_text(f"{module._digest(body)}\n{body}")
    os.truncate(index.with_name("pixels.bin"), n * 64)
    cached = module._read(index.parent)
    assert cached is not None and source.report == ()

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    before = resident()
    rows = torch.arange(0, n, n // 100)
    assert cached.pixels.index_select(0, rows).shape == (len(rows), 1, 8, 8)
    assert resident() - before < 1 << 28


# Files that are not as they should be


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_cut_anywhere_is_named_unless_its_image_is_whole(kind: str, tmp_path: Path) -> None:
    suffix, save = KINDS[kind]
    save(tmp_path / f"whole.{suffix}", 12)
    content = (tmp_path / f"whole.{suffix}").read_bytes()
    put(tmp_path, {f"cut{i}.{suffix}": (content[: len(content) * i // 8], "") for i in range(8)})
    source = data.image_folder(tmp_path, "all", bad=1.0)
    assert {cause.split(":")[0] for _, cause in source.report} == {"empty", "truncated"}
    assert len(source) + len(source.report) == 9 and len(source.report) > 4
    assert len(source.pixels.unique(dim=0)) == 1


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
    assert len(source) + len(source.report) == 21
    known = {"truncated", "broken", "not an image", "decompression bomb"}
    assert {cause.split(":")[0] for _, cause in source.report} <= known


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
    assert dict(source.report)["pipe.jpg"] == "not a file" and "self" in dict(source.report)


def test_a_name_in_any_bytes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw(tmp_path, 1)
    for name in (b"\xff\xfe.png", b"new\nline.png", "ü \x1b[31m.png".encode()):
        (tmp_path / os.fsdecode(name)).write_bytes(b"")
    assert len(data.image_folder(tmp_path, bad=0.9).report) == 3
    said = capsys.readouterr().err
    assert "3 empty" in said and "\x1b" not in said


def test_too_many_bad_files_are_refused_in_one_line(tmp_path: Path) -> None:
    draw(tmp_path, 2)
    put(tmp_path, {f"{i}.jpg": (b"", "") for i in range(3)} | {f"{i}.txt": (b"?", "") for i in range(9)})
    with pytest.raises(
        ValueError, match=r"60% of the images are bad, more than bad=0.5 .* 3 empty \(0.jpg"
    ) as e:
        data.image_folder(tmp_path)
    assert "\n" not in str(e.value)
    assert len(data.image_folder(tmp_path, bad=0.6)) == 2  # notes do not count


@pytest.mark.parametrize("files", [{}, {"a.jpg": b""}, {"notes.txt": b"?"}, {"cut.bmp": b"BM"}])
def test_a_folder_without_images(files: dict[str, bytes], tmp_path: Path) -> None:
    put(tmp_path, {name: (content, "") for name, content in files.items()})
    for _ in range(2):
        with pytest.raises(ValueError, match="there is no image in this folder") as e:
            data.image_folder(tmp_path, bad=1.0)
        assert all(name in str(e.value) for name in files) and "\n" not in str(e.value)


def test_all_images_break_when_they_are_decoded(tmp_path: Path) -> None:
    put(tmp_path, {"cut.png": (packed(Image.fromarray(noise(64, 64, 3)), "PNG")[:3000], "")})
    with pytest.raises(
        ValueError, match=r"no image in this folder: 1 of 1 files skipped: 1 truncated \(cut.png\)"
    ):
        data.image_folder(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "size is a number of pixels"),
        ({"size": (8, -1)}, "size is a number of pixels"),
        ({"channels": 5}, "channels is one of None, 1, 2, 3, 4: got 5"),
        ({"fit": "stretch"}, "fit is one of crop, fit: got 'stretch'"),
        ({"split": "half"}, "split is one of train, test, valid, all: got 'half'"),
        ({"bad": 1.5}, "bad is a share"),
        ({"low": 1.0}, "low < high"),
    ],
)
def test_wrong_arguments_are_refused(options: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        data.image_folder(draw(tmp_path, 1), **options)  # type: ignore[arg-type]


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such folder"):
        data.image_folder(tmp_path / "missing")


def test_pillow_is_left_as_it_was(zoo: Path) -> None:
    from PIL import ImageFile

    before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
    data.image_folder(zoo, size=8)
    assert before == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)


# The cache


def homes(cache: Path) -> list[Path]:
    return sorted(path.parent for path in cache.rglob("index.json"))


def test_it_lies_in_the_users_cache(own_cache: Path, tmp_path: Path) -> None:
    data.image_folder(draw(tmp_path, 1))
    [home] = homes(own_cache)
    assert home.parent.parent == own_cache / "zerosum" / "images"


def test_it_may_lie_in_the_folder_itself(tmp_path: Path) -> None:
    draw(tmp_path, 2)
    for _ in range(2):
        assert data.image_folder(tmp_path, cache=tmp_path).report == ()
    assert len(homes(tmp_path)) == 1


@pytest.mark.parametrize("change", ["add", "remove", "touch", "break"])
def test_it_is_made_again_when_a_file_changes(change: str, own_cache: Path, tmp_path: Path) -> None:
    draw(tmp_path, 3)
    data.image_folder(tmp_path)
    data.image_folder(tmp_path, channels=3)
    before, file = homes(own_cache), tmp_path / "000.png"
    if change == "add":
        Image.new("L", (8, 8), 99).save(tmp_path / "new.png")
    elif change == "remove":
        file.unlink()
    elif change == "touch":
        os.utime(file, ns=(1, 1))
    else:
        file.write_bytes(b"")
    source = data.image_folder(tmp_path)
    assert len(source) == {"add": 4, "touch": 3}.get(change, 2)
    assert len(before) == 2 and len(homes(own_cache)) == 1, "outdated caches of the folder are deleted"
    assert set(homes(own_cache)).isdisjoint(before)


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


DAMAGE: dict[str, tuple[str, Callable[[Path], None]]] = {
    "short_pixels": ("pixels.bin", truncate),
    "no_pixels": ("pixels.bin", Path.unlink),
    "empty_pixels": ("pixels.bin", lambda p: os.truncate(p, 0)),
    "short_index": ("index.json", truncate),
    "empty_index": ("index.json", lambda p: os.truncate(p, 0)),
    "pickled_index": ("index.json", lambda p: p.write_bytes(b"\x80\x04cos\nsystem\n(S'touch pwned'\ntR.")),
    "other_index": (
        "index.json",
        lambda p: p.write_text(p.read_text().replace('"shape": [4', '"shape": [2')),
    ),
    "foreign_index": ("index.json", lambda p: p.write_text("[1, 2]\n{}")),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_cache_is_made_again(damage: str, own_cache: Path, tmp_path: Path) -> None:
    first = data.image_folder(draw(tmp_path, 4)).pixels.clone()
    [home] = homes(own_cache)
    name, harm = DAMAGE[damage]
    harm(home / name)
    assert module._read(home) is None
    assert torch.equal(data.image_folder(tmp_path).pixels, first)
    assert module._read(home) is not None


def test_nothing_is_unpickled() -> None:
    source = Path(module.__file__).read_text()
    assert not any(word in source for word in ("pickle", "torch.load", "np.load", "eval("))


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match=r"cannot be kept there .* argument `cache`"):
        data.image_folder(draw(tmp_path / "in", 1), cache=tmp_path / "file")


OPEN = """
import sys, hashlib
from zerosum import data
source = data.image_folder(sys.argv[1], size=32)
print(len(source), hashlib.sha256(source.pixels.numpy().tobytes()).hexdigest())
"""


def start(folder: Path) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", OPEN, folder], stdout=pipe, stderr=pipe, text=True)


def test_two_processes_at_once_make_one_cache(own_cache: Path, tmp_path: Path) -> None:
    for i in range(60):
        smooth(300, 300, 3, i).save(tmp_path / f"{i}.jpg")
    outputs = [process.communicate(timeout=60) for process in [start(tmp_path), start(tmp_path)]]
    assert outputs[0][0] == outputs[1][0] != ""
    assert sum("decoding" in err for _, err in outputs) == 1, "one makes it, the other waits"
    assert len(homes(own_cache)) == 1 and not list(own_cache.rglob("*.part"))


def test_a_process_that_is_killed_leaves_no_cache(own_cache: Path, tmp_path: Path) -> None:
    for i in range(40):
        smooth(300, 300, 3, i).save(tmp_path / f"{i}.jpg")
    for i in range(400):
        (tmp_path / f"link{i}.jpg").symlink_to(f"{i % 40}.jpg")  # so that decoding takes a while
    process = start(tmp_path)
    while not list(own_cache.rglob("*.part/pixels.bin")) and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "it was killed before its end"
    assert homes(own_cache) == [] or ".part" in str(homes(own_cache)[0])
    assert list(own_cache.rglob("*.part")), "what it left behind"
    source = data.image_folder(tmp_path, "all", size=32)
    assert len(source) == 440 and not list(own_cache.rglob("*.part")) and len(homes(own_cache)) == 1


def test_an_interrupted_build_leaves_no_cache(
    own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "_decode", interrupted)
        data.image_folder(draw(tmp_path, 4))
    assert not list(own_cache.rglob("*.bin"))
    assert len(data.image_folder(tmp_path)) == 4
