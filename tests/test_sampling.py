"""Sampling: the laws of what is drawn of a generator, whatever it is asked for and in whatever parts."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import kstest, truncnorm
from sklearn.neighbors import NearestNeighbors
from torch import Tensor, nn

from zerosum import data
from zerosum.data import Pixels, Vectors
from zerosum.game import normal, uniform
from zerosum.metrics import find_neighbours
from zerosum.pictures import columns_for
from zerosum.randomness import stream
from zerosum.run.datacard import DataCard
from zerosum.sampling import Generator, Sampler, SamplingError, lerp, neighbours, slerp, truncated
from zerosum.sampling.files import label_values, refuse_too_many


class Asked(nn.Module):
    """G(z, y): an image whose first pixel tells its class, and whose others are those of z."""

    def __init__(self, side: int = 4) -> None:
        super().__init__()
        self.side = side
        self.weight = nn.Parameter(torch.linspace(-0.5, 0.5, 6 * side * side).reshape(6, -1))

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        x = torch.tanh(z @ self.weight)
        x = torch.cat([(y / 2 - 1).to(x)[:, None], x[:, 1:]], dim=1)
        return x.reshape(-1, 1, self.side, self.side)


def conditional(
    names: tuple[str, ...] = (), shares: tuple[float, ...] = (), prior: Any = normal
) -> Generator:
    """A conditional generator that needs no disk."""
    card = DataCard(Pixels((1, 4, 4)), len(names) or 4, names, shares)
    return Generator(Asked(), (6,), prior, card, conditional=True)


def classes_of(images: np.ndarray) -> np.ndarray:
    """What `Asked` was asked for."""
    return np.round((images[..., 0, 0] / 255 * 2 - 1 + 1) * 2).astype(int)


# the prior ------------------------------------------------------------------------------------------------

PSI = [0.05, 0.5, 1.0, 2.0, 3.5]


@pytest.mark.parametrize("psi", PSI)
def test_truncation_has_the_law_of_the_prior_within_the_bound(psi: float) -> None:
    z = normal((20_000,), stream("truncation"))
    moved = truncated(z, psi)
    assert moved.dtype == z.dtype and moved.abs().max() <= psi * (1 + 1e-6)
    assert kstest(moved.numpy(), truncnorm(-psi, psi).cdf).pvalue > 0.01
    order = z.argsort()
    assert (moved[order].diff() >= 0).all() and (moved.sign() == z.sign()).all(), "increasing, through 0"
    assert (moved.abs() <= z.abs()).all()


@pytest.mark.parametrize("psi", PSI)
def test_truncation_of_the_uniform_prior_is_a_scaling(psi: float) -> None:
    z = uniform((20_000,), stream("truncation"))
    moved = truncated(z, psi, uniform)
    bound = min(psi, 3**0.5)
    assert moved.abs().max() <= bound * (1 + 1e-6)
    assert kstest(moved.numpy() / bound, "uniform", args=(-1, 2)).pvalue > 0.01


@pytest.mark.parametrize("prior", [normal, uniform])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_large_psi_changes_nothing(prior: Any, dtype: torch.dtype) -> None:
    z = torch.cat([prior((10_000,), stream("large"), dtype), torch.tensor([0.0, 1.7, -1.7], dtype=dtype)])
    far = torch.tensor([6.0, -9.0, 30.0], dtype=dtype) if prior is normal else z[:0]
    z = torch.cat([z, far])
    assert torch.allclose(truncated(z, 100.0, prior), z, rtol=1e-6, atol=0)


SHAPES = [(1,), (2,), (64,), (3, 4, 5)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("between", [slerp, lerp])
def test_paths_begin_and_end_at_their_points_exactly(between: Any, shape: tuple[int, ...]) -> None:
    a, b = (normal((7, *shape), stream("path", i)) for i in range(2))
    z = between(a, b, torch.linspace(0, 1, 5, dtype=torch.float64))
    assert z.shape == (7, 5, *shape) and z.dtype == a.dtype
    assert torch.equal(z[:, 0], a) and torch.equal(z[:, -1], b)


@pytest.mark.parametrize("shape", SHAPES[1:], ids=str)
def test_slerp_turns_by_equal_angles_and_its_norm_is_a_line(shape: tuple[int, ...]) -> None:
    a, b = (normal((50, *shape), stream("slerp", i), torch.float64) for i in range(2))
    t = torch.linspace(0, 1, 11, dtype=torch.float64)
    z = slerp(a, b, t).flatten(2)
    norms = [x.flatten(1).norm(dim=1)[:, None] for x in (a, b)]
    assert torch.allclose(z.norm(dim=2), (1 - t) * norms[0] + t * norms[1], rtol=1e-12)
    steps = torch.cosine_similarity(z[:, 1:], z[:, :-1], dim=2).acos()
    whole = torch.cosine_similarity(a.flatten(1), b.flatten(1)).acos()[:, None]
    assert torch.allclose(steps, whole / 10, atol=1e-6)
    planes = torch.stack([a.flatten(1), b.flatten(1), z[:, 3]], dim=1)
    assert (torch.linalg.svdvals(planes)[:, 2:] < 1e-12).all(), "it stays in the plane of both"


@pytest.mark.parametrize("factor", [1.0, 2.5, -1.0, -0.5])
def test_slerp_of_parallel_and_opposite_points_is_the_line(factor: float) -> None:
    a = normal((20, 8), stream("parallel"))
    t = torch.linspace(0, 1, 7, dtype=torch.float64)
    assert torch.allclose(slerp(a, factor * a, t), lerp(a, factor * a, t), atol=1e-5)


# samples --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 7, 256, 1024])
@pytest.mark.parametrize("n", [1, 5, 300])
@pytest.mark.parametrize("classes", [(), (2, 0, 3)], ids=str)
def test_a_sample_follows_from_its_seed_and_number(n: int, batch: int, classes: tuple[int, ...]) -> None:
    sampler = Sampler(conditional(shares=(0.1, 0.2, 0.3, 0.4)), seed=3, classes=classes, truncation=1.5)
    xs, ys = (torch.cat(t) for t in zip(*sampler.parts(300), strict=True))
    zs = sampler.noise(300)
    sampler.G.batch = batch
    size = sampler.G.part
    parts = list(sampler.parts(n))
    assert size >= batch and [len(x) for x, _ in parts] == [min(size, n - i) for i in range(0, n, size)]
    assert torch.equal(torch.cat([sampler.noise(len(x), i * size) for i, (x, _) in enumerate(parts)]), zs[:n])
    assert torch.equal(torch.cat([y for _, y in parts]), ys[:n])
    assert torch.allclose(torch.cat([x for x, _ in parts]), xs[:n], atol=1e-6)


@pytest.mark.parametrize("batch", [1, 2, 64])
@pytest.mark.parametrize("side", [4, 64, 256, 4096])
def test_no_more_is_made_at_a_time_than_a_turn_makes_or_a_few_numbers(side: int, batch: int) -> None:
    G = conditional()
    G.data, G.batch = DataCard(Pixels((3, side, side)), 4), batch
    assert 1 <= G.part <= 1024 and (G.part == batch or G.part * 3 * side * side <= 2**16)


@pytest.mark.parametrize("shares", [(0.95, 0.05, 0, 0), (0.25,) * 4, (0.5, 0, 0, 0.5)], ids=str)
def test_unasked_classes_come_as_often_as_the_data_have_them(shares: tuple[float, ...]) -> None:
    G = conditional(shares=shares)
    y = G.conditions(20_000, seed=1)
    assert y is not None and y.equal(torch.cat([G.conditions(7_000, 1), G.conditions(13_000, 1, 7_000)]))  # pyright: ignore
    counts = torch.bincount(y, minlength=4) / len(y)
    assert (counts - torch.tensor(shares)).abs().max() < 4 * 0.5 / len(y) ** 0.5
    assert all(count == 0 for count, share in zip(counts, shares, strict=True) if not share)
    assert not y.equal(G.conditions(20_000, seed=2))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("asked", "labels"),
    [
        (("dog",), (1,)),
        (("cat", "dog"), (0, 1)),
        (("2",), (2,)),
        ((1, 3), (1, 3)),
        (("dog", "1", "cat"), (1, 1, 0)),
        (("all",), (0, 1, 2, 3)),
    ],
    ids=str,
)
def test_classes_may_be_asked_for_by_name_or_number(asked: tuple[Any, ...], labels: tuple[int, ...]) -> None:
    G = conditional(("cat", "dog", "fox", "hen"))
    sampler = Sampler(G, classes=asked)
    x = torch.cat([x for x, _ in sampler.parts(6)])
    assert (
        sampler.labels == labels and classes_of(G.codec.view(x).numpy()[:, 0]).tolist() == [*labels * 6][:6]
    )
    assert np.array_equal(G.sample(6, y=[labels[i % len(labels)] for i in range(6)]), G.codec.decode(x))


@pytest.mark.parametrize("names", [("1", "2", "3", "4"), ("-1", "0", "1", "2")], ids=str)
def test_numbers_are_those_of_the_data(names: tuple[str, ...]) -> None:
    sampler = Sampler(conditional(names), classes=(names[1], names[3]))
    assert sampler.labels == (1, 3) and label_values(sampler).tolist() == [int(name) for name in names]
    for absent in ("7", "4" if names[0] == "-1" else "0", "cat", "-9"):
        with pytest.raises(SamplingError):
            Sampler(conditional(names), classes=(absent,))


def test_a_class_called_all_is_one() -> None:
    assert Sampler(conditional(("all", "b", "c", "d")), classes=("all",)).labels == (0,)


@pytest.mark.parametrize("n", [1, 7, 64, 100, 5000])
@pytest.mark.parametrize("classes", [0, 1, 2, 3, 10, 80, 1000])
def test_columns_are_whole_turns_of_the_classes_in_about_a_square(n: int, classes: int) -> None:
    columns = columns_for(n, classes)
    turn = classes if 1 <= classes <= n else 1
    assert columns % turn == 0 and n**0.5 <= columns < n**0.5 + turn + 1e-9


class Linear(nn.Module):
    """Numbers of any shape."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.shape, self.map = shape, nn.Linear(2, math.prod(shape))

    def forward(self, z: Tensor) -> Tensor:
        return self.map(z).reshape(len(z), *self.shape)


def unconditional(*shape: int) -> Generator:
    return Generator(Linear(*shape), (2,), normal, DataCard(data.Numbers(shape)))


@pytest.mark.parametrize("shape", [(3,), (2, 5), (3, 4, 4)], ids=str)
def test_numbers_of_any_shape_are_given_as_they_are(shape: tuple[int, ...]) -> None:
    G = unconditional(*shape)
    x = G.sample(9, seed=4)
    assert x.shape == (9, *shape) and x.dtype == np.float32
    assert torch.allclose(torch.from_numpy(x), G(G.noise(9, 4)), atol=1e-6)
    with pytest.raises(SamplingError):
        G.sample(3, y="cat")


@pytest.mark.parametrize("n", [10**12, 10**15])
@pytest.mark.parametrize("name", ["x.npy", "x.csv", "folder"])
def test_more_than_a_disk_holds_is_refused_with_what_it_holds(n: int, name: str, tmp_path: Path) -> None:
    with pytest.raises(SamplingError):
        refuse_too_many(Sampler(conditional()), n, tmp_path / name)
    refuse_too_many(Sampler(conditional()), 1000, tmp_path / name)


@pytest.mark.parametrize("points", [2, 10])
def test_films_and_strips_without_end_are_refused(points: int) -> None:
    for G in (conditional(), unconditional(2)):
        with pytest.raises(SamplingError):
            Sampler(G).strip(points, 10**9)
        with pytest.raises(SamplingError):
            next(Sampler(G).film(points, 10**9))
    with pytest.raises(SamplingError):
        Sampler(conditional()).picture(10**12)


# beside the training data ---------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("rows", [1, 10, 10_000])
@pytest.mark.parametrize("kind", ["points", "images"])
def test_nearest_is_what_scikit_learn_finds(kind: str, rows: int, k: int) -> None:
    if kind == "points":
        x, train = (normal((m, 5), stream("nearest", m)) for m in (20, 45))
    else:
        x, train = data.digits("test").pixels[:20], data.digits().pixels[:45]
    near = find_neighbours(x, iter(train.split(rows)), k)
    flat = [t.flatten(1).double().numpy() for t in (x, train)]
    wanted, numbers = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(flat[1]).kneighbors(flat[0])
    assert np.allclose(near.distances, wanted, rtol=1e-5) and np.array_equal(near.rows, numbers)
    assert torch.equal(near.distances, find_neighbours(x, train, k).distances)


@pytest.mark.parametrize("rows", [7, 10_000])
def test_an_image_is_as_near_as_the_nearer_of_itself_and_its_mirror_image(rows: int) -> None:
    x, train = data.digits("test").pixels[:20], data.digits().pixels[:45]
    x = torch.cat([x, train[:3].flip(3)])  # copies, but mirrored
    near = find_neighbours(x, train.split(rows), 2, mirrored=True)
    flat, mirror, fakes = (t.flatten(1).double().numpy() for t in (train, train.flip(3), x))
    every = np.minimum(*(((fakes[:, None] - other) ** 2).sum(2) ** 0.5 for other in (flat, mirror)))
    assert np.allclose(near.distances, np.sort(every, axis=1)[:, :2], rtol=1e-5)
    assert near.distances[20:, 0].tolist() == [0, 0, 0]
    assert (find_neighbours(x, [train], 1).distances[20:] > 0).all()


@pytest.mark.parametrize("size", [300, 700])
def test_without_a_held_out_part_training_data_are_compared_with_themselves(size: int) -> None:
    rows = normal((size, 3), stream("rows"))
    found = neighbours(Sampler(unconditional(3)), Vectors(rows), 9, 4)
    own = NearestNeighbors(n_neighbors=2).fit(rows.numpy()).kneighbors(rows.numpy())[0][:, 1] / 3**0.5
    assert np.allclose(found.real.sort().values, np.sort(own), rtol=1e-4)
    assert found.distances.shape == (9, 4) and found.nearest.shape == (9, 4, 3)
    gaps = (found.samples[:, None] - found.nearest).square().mean(2).sqrt()
    assert torch.allclose(gaps, found.distances, rtol=1e-4)
    assert f"({size})" in found.line() and found.picture().size == (640, 640)
