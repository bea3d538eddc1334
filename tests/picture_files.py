"""Pictures of every kind, good and bad, for the tests of what reads them."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from zerosum import data


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
