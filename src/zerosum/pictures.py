"""Pictures of samples: grids of images, clouds of points, films. Arrays in, a PIL image or a file out."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from math import ceil, sqrt
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["beside", "cloud", "columns_for", "tiles", "write_gif", "write_mp4"]

_REAL, _FAKE = (190, 190, 190), (0, 90, 181)  # grey and a blue that the colour-blind tell from it
_RATE = 25  # frames of a film per second


def tiles(pixels: np.ndarray, columns: int | None = None, least: int = 32) -> Image:
    """Images uint8 ``[N, C, H, W]`` side by side, enlarged by a whole factor to `least` pixels or more.

    C is 1 (grey), 3 (RGB), 4 (RGBA) or 2 (grey with alpha); of more channels each is a grey image of its own.
    columns: about the square root of N unless given.
    """
    from PIL import Image

    n, channels, height, width = pixels.shape
    if channels > 4:
        return tiles(pixels.reshape(-1, 1, height, width), channels, least)
    columns = columns or columns_for(n)
    rows = -(-n // columns)
    zoom = max(1, -(-least // min(height, width)))
    gap = max(1, zoom // 2)
    big = pixels.repeat(zoom, axis=2).repeat(zoom, axis=3)
    h, w = height * zoom + gap, width * zoom + gap
    sheet = np.zeros((rows * h + gap, columns * w + gap, channels), dtype=np.uint8)
    for i, image in enumerate(big):
        top, left = i // columns * h + gap, i % columns * w + gap
        sheet[top : top + h - gap, left : left + w - gap] = image.transpose(1, 2, 0)
    return Image.fromarray(sheet[:, :, 0] if channels == 1 else sheet)


def columns_for(n: int, classes: int = 1) -> int:
    """Columns for an about square grid of `n` images whose classes come in turn: each column is of one class.

    >>> columns_for(64), columns_for(64, classes=2), columns_for(64, classes=10), columns_for(4, classes=10)
    (8, 8, 10, 2)
    """
    turn = classes if 1 <= classes <= n else 1
    return turn * ceil(sqrt(n) / turn)


def beside(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Each image uint8 ``[N, C, H, W]`` with its k others ``[N, k, C, H, W]`` to its right, framed in grey.

    Returns ``[N, C, H + 2, (1 + k) W + k + 2]``, for `tiles`.
    """
    n, channels, height, width = images.shape
    row = np.concatenate([images[:, None], others], axis=1)
    k = row.shape[1]
    sheet = np.full((n, channels, height + 2, k * (width + 1) + 1), 128, dtype=np.uint8)
    if channels in (2, 4):
        sheet[:, -1] = 255  # alpha: the frame is opaque
    for i in range(k):
        left = 1 + i * (width + 1)
        sheet[:, :, 1:-1, left : left + width] = row[:, i]
    return sheet


def write_gif(frames: Iterator[Image], file: BinaryIO) -> None:
    """A film of 25 frames a second that begins again without end."""
    first = next(frames)
    first.save(
        file, format="GIF", save_all=True, append_images=frames, duration=1000 // _RATE, loop=0, disposal=2
    )


def write_mp4(frames: Iterator[Image], file: BinaryIO) -> None:
    """A film of 25 frames a second, H.264. Raises ImportError where PyAV is not installed."""
    import av  # pyright: ignore[reportMissingImports]

    first = next(frames)
    width, height = (side + side % 2 for side in first.size)  # H.264 wants even sides
    with av.open(file, "w", format="mp4") as film:
        stream = film.add_stream("libx264", rate=_RATE, options={"crf": "18"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for image in chain([first], frames):
            whole = image.convert("RGB").crop((0, 0, width, height))
            film.mux(stream.encode(av.VideoFrame.from_image(whole)))
        film.mux(stream.encode())


def cloud(fake: np.ndarray, real: np.ndarray | None = None, side: int = 512) -> Image:
    """Points ``[N, d]`` by their first two coordinates, real in grey below, fake in blue above.

    On the line (d = 1) they are stacked like a histogram. The frame is that of the real points where there
    are any, so that pictures of one run can be flipped through; points outside of it, or not finite, are left
    out.
    """
    from PIL import Image

    sheet = np.full((side, side, 3), 255, dtype=np.uint8)
    fake, real = _finite(fake), _finite(fake[:0] if real is None else real)
    frame = real if len(real) else fake
    for points, colour in ((real, _REAL), (fake, _FAKE)):
        if not len(points):
            continue
        for x, y in _pixels(_plane(points, frame), _plane(frame, frame), side):
            sheet[side - 2 - y : side - y, x : x + 2] = colour
    return Image.fromarray(sheet)


def _finite(points: np.ndarray) -> np.ndarray:
    return points[np.isfinite(points).all(axis=1)]


def _plane(points: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """[N, 2]: the first two coordinates, or in 1-D the points stacked above one another like a histogram."""
    if points.shape[1] > 1:
        return points[:, :2]
    edges = np.linspace(frame.min(), frame.max(), 129)
    bins = np.digitize(points[:, 0], edges)
    order = np.argsort(bins, kind="stable")
    starts = np.searchsorted(bins[order], bins[order])
    return np.stack([points[order, 0], (np.arange(len(points)) - starts) / len(points)], axis=1)


def _pixels(points: np.ndarray, frame: np.ndarray, side: int) -> np.ndarray:
    """[M, 2] whole pixel positions of those points that lie within the frame and a tenth round it."""
    low, high = frame.min(axis=0), frame.max(axis=0)
    margin = 0.1 * np.maximum(high - low, 1e-9)
    at = (points - low + margin) / (high - low + 2 * margin) * (side - 2)
    return at[(at >= 0).all(axis=1) & (at <= side - 2).all(axis=1)].astype(int)
