"""Pictures show every pixel and every point once, where it belongs, whatever the sizes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from zerosum import data
from zerosum.pictures import cloud, tiles

GREY, BLUE = (190, 190, 190), (0, 90, 181)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(0, 256, shape, dtype=np.uint8)


def colours(image) -> set[tuple[int, ...]]:
    return {tuple(int(v) for v in colour) for colour in np.unique(np.asarray(image).reshape(-1, 3), axis=0)}


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize(
    ("n", "height", "width"), [(1, 1, 1), (2, 8, 8), (7, 5, 3), (10, 28, 28), (3, 40, 64)]
)
def test_tiles_show_every_image_enlarged_in_reading_order(
    channels: int, n: int, height: int, width: int
) -> None:
    pixels = noise(n, channels, height, width)
    image = tiles(pixels, columns=2)
    assert image.mode == {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[channels]
    sheet = np.asarray(image).reshape(image.height, image.width, channels)
    zoom = -(-32 // min(height, width)) if min(height, width) < 32 else 1
    gap = max(1, zoom // 2)
    rows = (n + 1) // 2
    assert (image.height, image.width) == (rows * (height * zoom + gap) + gap, 2 * (width * zoom + gap) + gap)
    shown = np.zeros(sheet.shape[:2], dtype=bool)
    for i, picture in enumerate(pixels):
        for y in range(height):
            for x in range(width):
                top = gap + (i // 2) * (height * zoom + gap) + y * zoom
                left = gap + (i % 2) * (width * zoom + gap) + x * zoom
                square = np.s_[top : top + zoom, left : left + zoom]
                assert (sheet[square] == picture[:, y, x]).all()
                assert not shown[square].any()
                shown[square] = True
    assert (sheet[~shown] == 0).all()


def test_tiles_are_about_square_unless_columns_are_given() -> None:
    assert tiles(noise(64, 1, 32, 32)).size == (8 * 33 + 1, 8 * 33 + 1)
    assert tiles(noise(10, 1, 32, 32)).size == (4 * 33 + 1, 3 * 33 + 1)
    assert tiles(noise(10, 1, 32, 32), columns=10).size == (10 * 33 + 1, 33 + 1)


def test_more_channels_than_colours_become_grey_images_side_by_side() -> None:
    pixels = noise(3, 5, 32, 32)
    assert tiles(pixels).tobytes() == tiles(pixels.reshape(15, 1, 32, 32), columns=5).tobytes()


def test_cloud_puts_a_point_where_it_belongs() -> None:
    corners = np.array([[-1.0, -1.0], [1.0, 1.0]])
    sheet = np.asarray(cloud(np.array([[-1.0, 1.0]]), corners, side=120))
    blue = np.argwhere((sheet == BLUE).all(axis=2))
    grey = np.argwhere((sheet == GREY).all(axis=2))
    margin = 0.1 / 1.2 * 120
    assert len(blue) == 4 and np.abs(blue - margin).max() < 3  # x lowest: left; y highest: top
    assert len(grey) == 8
    assert np.abs(grey.min(axis=0) - margin).max() < 3 and np.abs(grey.max(axis=0) - (120 - margin)).max() < 3


def test_cloud_draws_fake_above_real_in_the_frame_of_the_real() -> None:
    real = data.ring().batch(0, 500)[0].numpy()
    assert colours(cloud(real, real)) == {(255, 255, 255), BLUE}
    far = real + 100
    assert colours(cloud(far, real)) == {(255, 255, 255), GREY}
    assert colours(cloud(far)) == {(255, 255, 255), BLUE}


@pytest.mark.parametrize("width", [1, 2, 3, 7])
def test_cloud_takes_any_number_of_coordinates(width: int) -> None:
    fake, real = (torch.randn(300, width, generator=torch.Generator().manual_seed(i)).numpy() for i in (0, 1))
    image = cloud(fake, real)
    assert image.size == (512, 512) and colours(image) == {(255, 255, 255), GREY, BLUE}
    assert image.tobytes() == cloud(fake.copy(), real.copy()).tobytes()


def test_on_the_line_the_higher_pile_is_the_denser() -> None:
    points = np.concatenate([np.full(300, -1.0), np.full(100, 1.0)])[:, None]
    sheet = np.asarray(cloud(points, points))
    left, right = ((half == BLUE).all(axis=2).any(axis=1).sum() for half in (sheet[:, :256], sheet[:, 256:]))
    assert left > 2.5 * right


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_points_that_are_not_finite_are_left_out(bad: float) -> None:
    good = data.ring().batch(0, 50)[0].numpy()
    broken = np.concatenate([good, np.full((3, 2), bad, dtype=good.dtype)])
    assert cloud(broken, good).tobytes() == cloud(good, good).tobytes()
    assert cloud(broken).tobytes() == cloud(good).tobytes()
    assert colours(cloud(broken[-3:])) == {(255, 255, 255)}
