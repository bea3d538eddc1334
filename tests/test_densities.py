"""A density is right when it integrates to one, agrees with others' formulas, and fits its own samples."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch import Tensor
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from refusals import refused
from zerosum import data
from zerosum.data.densities import Density, GaussianMixture, NoisyCurve
from zerosum.randomness import stream

MIXTURES = {
    "ring": data.ring(),
    "small_ring": data.ring(modes=5, radius=0.4, std=0.1),
    "grid": data.grid(),
    "even_grid": data.grid(side=2, spacing=1.0, std=0.3),
    "line": data.mixture([-2.0, 0.5, 3.0], std=0.5, weights=[1, 2, 5]),
    "plane": data.mixture([[-1.0, 0.0], [1.0, 0.5]], std=0.4, weights=[0.3, 0.7]),
    "space": data.gaussian(dim=3, mean=1.0, std=0.7),
}
CURVES = {
    "swiss_roll": data.swiss_roll(),
    "wide_swiss_roll": data.swiss_roll(noise=0.15),
    "two_moons": data.two_moons(),
    "wide_two_moons": data.two_moons(noise=0.2),
}
DENSITIES = MIXTURES | CURVES


def each(densities: dict[str, Density]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("density", densities.values(), ids=densities.keys())


def lattice(density: Density, step: float) -> list[Tensor]:
    """The ticks of each axis, `step` apart, on a box that holds all of the mass but some 1e-15."""
    x = density.sample(4096).double()
    low, high = x.amin(0) - 6 * density.std, x.amax(0) + 6 * density.std
    return [
        torch.arange(a, b, step, dtype=torch.float64)
        for a, b in zip(low.tolist(), high.tolist(), strict=True)
    ]


def moments(density: Density) -> tuple[Tensor, Tensor]:
    """Mean and covariance of the centres, by their definition; for curves by the midpoint rule."""
    if isinstance(density, NoisyCurve):
        u = (torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000
        centres, weights = density.curve(u), torch.full_like(u, 1e-5)
    else:
        assert isinstance(density, GaussianMixture)
        centres, weights = density.modes.double(), density.weights.double()
    mean = weights @ centres
    covariance = torch.einsum("k,ki,kj->ij", weights, centres - mean, centres - mean)
    return mean, covariance + density.std**2 * torch.eye(len(mean), dtype=torch.float64)


@each(DENSITIES)
def test_integrates_to_one(density: Density) -> None:
    # The sum over a lattice with a step of one width is exact to 2 exp(-2 pi^2) = 5e-9 per axis (Poisson).
    points = torch.cartesian_prod(*lattice(density, density.std)).reshape(-1, *density.shape)
    mass = density.log_prob(points).exp().sum() * density.std ** density.shape[0]
    assert mass.item() == pytest.approx(1, abs=1e-7)


@each(DENSITIES)
def test_moments_of_samples(density: Density) -> None:
    n = 40_000
    x = density.sample(n).double()
    mean, covariance = moments(density)
    assert ((x.mean(0) - mean).abs() < 5 * (covariance.diagonal() / n).sqrt()).all()
    products = torch.einsum("ni,nj->nij", x - mean, x - mean)
    assert ((products.mean(0) - covariance).abs() < 5 * products.std(0) / math.sqrt(n)).all()


@pytest.mark.parametrize("name", ["even_grid", "line", "plane", "wide_swiss_roll", "wide_two_moons"])
def test_counts_of_samples_fit_the_density(name: str) -> None:
    """Chi-squared test of counts in cells three widths wide against the density's integral over each cell."""
    density, n, fine = DENSITIES[name], 20_000, 12
    step = 3 * density.std / fine
    ticks = [t[: len(t) // fine * fine] for t in lattice(density, step)]
    points = torch.cartesian_prod(*ticks).reshape(-1, *density.shape)
    shape = [size for t in ticks for size in (len(t) // fine, fine)]
    expected = density.log_prob(points).exp().reshape(shape) * step ** len(ticks) * n
    expected = expected.sum(dim=tuple(range(1, len(shape), 2))).numpy()
    edges = [np.append(t[::fine].numpy(), t[-1].item() + step) - step / 2 for t in ticks]
    observed, _ = np.histogramdd(density.sample(n, stream(1, name)).numpy(), bins=edges)
    often = expected >= 5
    observed = np.append(observed[often], n - observed[often].sum())
    expected = np.append(expected[often], n - expected[often].sum())
    assert stats.chisquare(observed, expected).pvalue > 1e-3


@each(MIXTURES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_mixture_agrees_with_torch(density: GaussianMixture, dtype: torch.dtype) -> None:
    eye = torch.eye(density.shape[0], dtype=torch.float64)
    components = MultivariateNormal(density.modes.double(), covariance_matrix=density.std**2 * eye)
    reference = MixtureSameFamily(Categorical(probs=density.weights.double()), components)
    x = torch.cat([density.sample(500), 5 * density.sample(500)]).to(dtype)
    ours = density.log_prob(x)
    assert ours.dtype == dtype
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    torch.testing.assert_close(ours.double(), reference.log_prob(x.double()), rtol=tolerance, atol=tolerance)


@each(CURVES)
def test_curve_agrees_with_adaptive_quadrature(density: NoisyCurve) -> None:
    scale = 2 * density.std**2

    def integrand(u: float, point: Tensor) -> float:
        d2 = (point - density.curve(torch.tensor([u], dtype=torch.float64))[0]).square().sum().item()
        return math.exp(-d2 / scale) / (math.pi * scale)

    for point in density.sample(4).double():
        near = density.curve(torch.linspace(0, 1, 1001, dtype=torch.float64))
        u = (near - point).square().sum(1).argmin().item() / 1000
        value, error = integrate.quad(
            integrand, 0, 1, args=(point,), points=[u, 0.5], limit=200, epsabs=1e-10
        )
        assert density.log_prob(point[None]).exp().item() == pytest.approx(value, abs=1e-9 + 2 * error)


@each(CURVES | {"narrow": data.two_moons(noise=0.01), "fog": data.swiss_roll(noise=1.0)})
def test_quadrature_error_is_as_stated(density: NoisyCurve) -> None:
    """Against the same rule with some eight times the panels."""
    finer = NoisyCurve(density.curve, speed=8 * density.speed, std=density.std)
    x = density.sample(300).double()
    x = x + 2 * density.std * torch.randn(x.shape, generator=stream(2), dtype=torch.float64)
    exact = finer.log_prob(x).exp()
    assert ((density.log_prob(x).exp() - exact).abs() < 1e-11 * exact.max()).all()
    far = 4 * torch.randn(300, 2, generator=stream(3), dtype=torch.float64)
    torch.testing.assert_close(density.log_prob(far), finer.log_prob(far), rtol=1e-3, atol=1e-8)


@pytest.mark.parametrize("name", ["ring", "grid"])
def test_mixture_samples_lie_within_three_std(name: str) -> None:
    """In the plane, P(|x - m| < 3 s) = 1 - exp(-4.5) = 98.9 %, and the other modes are too far to matter."""
    density, n = DENSITIES[name], 20_000
    distance, nearest = torch.cdist(density.sample(n), density.modes).min(dim=1)
    p = 1 - math.exp(-4.5)
    assert abs((distance < 3 * density.std).double().mean().item() - p) < 4 * math.sqrt(p * (1 - p) / n)
    counts = nearest.bincount(minlength=len(density.modes)).numpy()
    assert stats.chisquare(counts).pvalue > 1e-3


def test_modes() -> None:
    ring = data.ring(modes=6, radius=2.0)
    torch.testing.assert_close(ring.modes.norm(dim=1), torch.full((6,), 2.0))
    torch.testing.assert_close(ring.modes.roll(-1, 0).sub(ring.modes).norm(dim=1), torch.full((6,), 2.0))
    ticks = range(-4, 5, 2)
    assert set(map(tuple, data.grid().modes.tolist())) == {(a, b) for a in ticks for b in ticks}
    assert (data.ring().std, data.grid().std, data.two_moons(noise=0.2).std) == (0.01, 0.05, 0.2)
    assert data.swiss_roll().modes.shape == data.two_moons().modes.shape == (0, 2)


@each(DENSITIES)
def test_modes_can_be_compared_with_samples(density: Density) -> None:
    assert density.modes.dtype == density.sample(1).dtype == torch.float32
    assert density.modes.shape[1:] == density.sample(1).shape[1:] == density.shape


def test_weights_are_frequencies() -> None:
    density, n = DENSITIES["line"], 20_000
    nearest = torch.cdist(density.sample(n), density.modes).argmin(dim=1)
    expected = torch.tensor([1, 2, 5]) / 8
    # 2.5 to 3.0 widths from a border between modes: less than 2 % are counted with a neighbour.
    torch.testing.assert_close(nearest.bincount() / n, expected, atol=0.02, rtol=0)


@each(DENSITIES)
def test_sample_draws_from_the_generator_only(density: Density) -> None:
    before = torch.get_rng_state()
    generator = stream(5)
    first, second = density.sample(16, generator), density.sample(16, generator)
    assert not torch.equal(first, second)
    assert torch.equal(first, density.sample(16, stream(5)))
    assert torch.equal(density.sample(16), density.sample(16))
    assert torch.equal(before, torch.get_rng_state())


@each(DENSITIES)
def test_score_is_the_gradient(density: Density) -> None:
    x = density.sample(8).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: density.log_prob(x).sum(), x, eps=1e-6 * density.std)


@each(DENSITIES)
def test_slices_of_points_do_not_matter(density: Density) -> None:
    x = density.sample(2500).double()
    torch.testing.assert_close(density.log_prob(x)[-3:], density.log_prob(x[-3:]), rtol=1e-12, atol=1e-12)
    assert density.log_prob(x[:0]).shape == (0,)


@pytest.mark.parametrize(
    ("build", "name"),
    [
        (lambda: data.ring(modes=0), "modes"),
        (lambda: data.ring(modes=-1), "modes"),
        (lambda: data.ring(std=0.0), "std"),
        (lambda: data.ring(std=math.nan), "std"),
        (lambda: data.grid(side=0), "side"),
        (lambda: data.two_moons(noise=-1.0), "noise"),
        (lambda: data.mixture([], std=1.0), "K"),
        (lambda: data.mixture(torch.zeros(2, 2, 2), std=1.0), "K"),
        (lambda: data.mixture([0.0, 1.0], 1.0, weights=[1.0]), "weights"),
        (lambda: data.mixture([0.0, 1.0], 1.0, weights=[2.0, -1.0]), "weights"),
        (lambda: data.mixture([0.0, 1.0], 1.0, weights=[0.0, 0.0]), "weights"),
        (lambda: data.ring().log_prob(torch.zeros(3)), "n, 2"),
        (lambda: data.ring().log_prob(torch.zeros(3, 1)), "3, 1"),
    ],
)
def test_impossible_densities_are_refused(build, name: str) -> None:
    with refused(name):
        build()
