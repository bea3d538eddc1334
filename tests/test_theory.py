"""Exact theory against closed forms, other people's integrators, and inequalities that any pair must obey."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.distributions import (
    Categorical,
    Cauchy,
    Chi2,
    Distribution,
    Independent,
    LogNormal,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    Uniform,
    kl_divergence,
)

from refusals import refused
from zerosum import theory
from zerosum.randomness import stream
from zerosum.theory import (
    Field,
    NormalPrior,
    Play,
    Quantity,
    UniformPrior,
    alternating,
    dirac_instance_noise,
    dirac_minimax,
    dirac_nonsaturating,
    dirac_wasserstein,
    gradient_penalty,
    jsd,
    kl,
    monte_carlo,
    pushforward,
    quadrature,
    simultaneous,
    total_variation,
    trajectory,
    value,
    wasserstein1,
)
from zerosum.theory.densities import Function

LOG2, LOG4 = math.log(2), math.log(4)
ORIGIN = torch.zeros(2, dtype=torch.float64)


class Known:
    """A density whose formula is torch's, not ours."""

    def __init__(self, law: Distribution) -> None:
        self.law = law

    def log_prob(self, x: Tensor) -> Tensor:
        return self.law.log_prob(x if self.law.event_shape else x[:, 0])

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        with torch.random.fork_rng([]):
            torch.manual_seed(generator.initial_seed())
            return self.law.sample((n,)).view(n, -1)


def known(law: type[Distribution], *parameters: float) -> Known:
    return Known(law(*(torch.tensor(a, dtype=torch.float64) for a in parameters), validate_args=False))


def gaussian(mean: list[float], std: float) -> Known:
    centre = torch.tensor(mean, dtype=torch.float64)
    return Known(Independent(Normal(centre, std * torch.ones_like(centre), validate_args=False), 1))


def mixture(means: Tensor, std: float, weights: Tensor) -> Known:
    parts = Independent(Normal(means, std * torch.ones_like(means), validate_args=False), 1)
    return Known(MixtureSameFamily(Categorical(weights), parts, validate_args=False))


def ring(modes: int, std: float) -> Known:
    angle = 2 * math.pi * torch.arange(modes, dtype=torch.float64) / 8
    return mixture(torch.stack([angle.cos(), angle.sin()], 1), std, torch.ones(modes, dtype=torch.float64))


def line(x: list[float]) -> Tensor:
    return torch.tensor(x, dtype=torch.float64)[:, None]


PAIRS = {
    "gaussians": (known(Normal, 0, 1), known(Normal, 1, 2)),
    "far apart": (known(Normal, 0, 1), known(Normal, 100, 1)),
    "uniforms": (known(Uniform, 0, 1), known(Uniform, 0.37, 1.5)),
    "heavy tails": (known(Cauchy, 0, 1), known(Normal, 0, 1)),
    "narrow in wide": (known(Normal, 5, 0.001), known(Normal, 0, 10)),
    "plane": (gaussian([0, 0], 1.0), gaussian([1, -1], 0.5)),
    "ring": (ring(8, 0.1), ring(8, 0.2)),
}
pairs = pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS.keys())
means, stds = st.floats(-3, 3), st.floats(0.3, 3)


# Two densities --------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(m=means, s=stds, n=means, t=stds)
def test_gaussian_divergences(m: float, s: float, n: float, t: float) -> None:
    p, q = known(Normal, m, s), known(Normal, n, t)
    assert kl(p, q).agrees(float(kl_divergence(p.law, q.law)))
    assert kl(q, p).agrees(float(kl_divergence(q.law, p.law)))
    same_width = total_variation(p, known(Normal, n, s))
    assert same_width.agrees(math.erf(abs(m - n) / (2 * s) / math.sqrt(2)))
    assert wasserstein1(p, known(Normal, n, s)).agrees(abs(m - n))
    assert wasserstein1(p, known(Normal, m, t)).agrees(abs(s - t) * math.sqrt(2 / math.pi))


@settings(max_examples=25, deadline=None)
@given(shift=st.floats(0.001, 0.999))
def test_jumps_do_not_hide_between_the_nodes(shift: float) -> None:
    p, q = known(Uniform, 0, 1), known(Uniform, shift, 1 + shift)
    js, tv, w1 = jsd(p, q), total_variation(p, q), wasserstein1(p, q)
    for found, exact in [(js, shift * LOG2), (tv, shift), (w1, shift)]:
        assert found.agrees(exact)
        assert found.error < 1e-4
    assert kl(p, q).value == math.inf


@settings(max_examples=15, deadline=None)
@given(m=means, s=stds, n=means, t=stds, w=st.floats(0.05, 0.95))
def test_inequalities_between_divergences(m: float, s: float, n: float, t: float, w: float) -> None:
    p = mixture(line([m, n]), s, torch.tensor([w, 1 - w]))
    q = known(Normal, n, t)
    js, tv, forward, backward = jsd(p, q), total_variation(p, q), kl(p, q), kl(q, p)
    slack = js.error + tv.error + forward.error + backward.error
    assert -slack <= js.value <= LOG2 + slack
    assert tv.value**2 / 2 - slack <= js.value <= LOG2 * tv.value + slack  # Lin 1991
    assert js.value <= (forward.value + backward.value) / 4 + slack
    assert 2 * tv.value**2 <= min(forward.value, backward.value) + 4 * slack  # Pinsker
    assert js.agrees(jsd(q, p))


@pairs
def test_value_of_the_optimal_discriminator(pair: tuple[Known, Known]) -> None:
    best = value(theory.optimal_logit(*pair), *pair)
    js = jsd(*pair)
    assert abs(best.value - (-LOG4 + 2 * js.value)) <= best.error + 2 * js.error
    undecided = value(lambda x: torch.zeros(len(x), dtype=x.dtype), *pair)
    assert undecided.agrees(-LOG4)
    assert max(best.error, js.error) < 1e-3


@pairs
def test_distance_to_itself_is_zero(pair: tuple[Known, Known]) -> None:
    for p in pair:
        for distance in (jsd, kl, total_variation):
            found = distance(p, p, partial(quadrature, tolerance=1e-3))
            assert found.agrees(0.0)
            assert found.error < 2e-3


@settings(max_examples=10, deadline=None)
@given(slope=st.floats(-3, 3), bias=st.floats(-3, 3))
def test_no_critic_beats_the_optimal_one(slope: float, bias: float) -> None:
    p, q = PAIRS["gaussians"]
    critic = nn.Sequential(nn.Linear(1, 1), nn.Flatten(0))
    nn.init.constant_(critic[0].weight, slope)
    nn.init.constant_(critic[0].bias, bias)
    played, best = value(critic, p, q), value(theory.optimal_logit(p, q), p, q)
    assert played.value <= best.value + played.error + best.error
    assert critic[0].weight.dtype == torch.float32  # the copy was converted, not the user's module


def test_jsd_against_scipy() -> None:
    from scipy.integrate import quad

    def integrand(x: float) -> float:
        p = math.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
        q = math.exp(-((x - 1) ** 2) / 8) / math.sqrt(8 * math.pi)
        return (p * math.log(2 * p / (p + q)) + q * math.log(2 * q / (p + q))) / 2

    exact, error = quad(integrand, -20, 22)
    found = jsd(*PAIRS["gaussians"])
    assert abs(found.value - exact) <= found.error + error


def test_heavy_tails_and_disjoint_supports() -> None:
    apart = jsd(known(Uniform, 0, 1), known(Uniform, 2, 3))
    assert apart.agrees(LOG2)
    cauchys = kl(known(Cauchy, 0, 1), known(Cauchy, 1, 2))
    assert cauchys.agrees(math.log((3**2 + 1**2) / (4 * 1 * 2)))  # Chyzak and Nielsen 2019
    assert cauchys.error < 1e-2


def test_dropped_mode_of_a_narrow_ring() -> None:
    p, q = np.full(8, 1 / 8), np.append(np.full(7, 1 / 7), 0)
    middle = (p + q) / 2
    exact = (np.sum(p * np.log(p / middle)) + np.sum(q[:7] * np.log(q[:7] / middle[:7]))) / 2
    found = jsd(ring(8, 0.01), ring(7, 0.01), partial(quadrature, tolerance=1e-3))
    assert found.agrees(float(exact))
    assert found.error < 2e-3


def test_squares_on_the_plane() -> None:
    class Square(Known):  # of side 1 from a corner; in float32, as a user may have it
        def __init__(self, *corner: float) -> None:
            self.corner = torch.tensor(corner)

        def log_prob(self, x: Tensor) -> Tensor:
            inside = ((x >= self.corner) & (x <= self.corner + 1)).all(1)
            return torch.zeros(len(x)).masked_fill(~inside, -math.inf)

        def sample(self, n: int, generator: torch.Generator) -> Tensor:
            return self.corner + torch.rand(n, 2, generator=generator)

    for a, b in [(0.5, 0.5), (0.13, 0.71)]:
        found = jsd(Square(0, 0), Square(a, b), partial(quadrature, tolerance=1e-3))
        assert found.agrees(LOG2 * (1 - (1 - a) * (1 - b)))
        assert found.error < 1e-2


def test_a_density_that_does_not_integrate_to_one_is_noticed() -> None:
    class Halved(Known):
        def log_prob(self, x: Tensor) -> Tensor:
            return super().log_prob(x) - LOG2

    p = known(Normal, 0, 1)
    assert jsd(p, Halved(p.law)).error > 0.5


def test_optimal_discriminator_is_the_posterior() -> None:
    p, q = PAIRS["gaussians"]
    x = torch.linspace(-5, 5, 11, dtype=torch.float64)[:, None]
    density_p, density_q = p.log_prob(x).exp(), q.log_prob(x).exp()
    torch.testing.assert_close(theory.optimal_discriminator(p, q)(x), density_p / (density_p + density_q))
    tail = torch.tensor([[-60.0]], dtype=torch.float64)  # both densities underflow; their ratio does not
    exact = p.law.log_prob(tail[0]) - q.law.log_prob(tail[0])
    torch.testing.assert_close(theory.optimal_logit(p, q)(tail), exact)


def test_monte_carlo_intervals_cover_the_truth() -> None:
    p, q = gaussian([0, 0, 0], 1.0), gaussian([1, 0, 0], 1.5)
    exact = float(kl_divergence(p.law, q.law))
    found = [kl(p, q, partial(monte_carlo, n=2000, seed=seed)) for seed in range(200)]
    covered = sum(one.agrees(exact) for one in found)
    assert 177 <= covered <= 199  # 190 expected; outside this range with probability below 1e-4
    assert kl(p, q).method.startswith("Monte Carlo")
    js, v = jsd(p, q), value(theory.optimal_logit(p, q), p, q)
    assert abs(v.value - (-LOG4 + 2 * js.value)) < 1e-9  # the same draws, so the identity is exact


def test_monte_carlo_and_quadrature_agree_on_the_plane() -> None:
    for f in (jsd, total_variation, kl):
        by_chance, by_cells = f(*PAIRS["plane"], monte_carlo), f(*PAIRS["plane"])
        assert abs(by_chance.value - by_cells.value) < 2 * by_chance.error + by_cells.error


def test_quadrature_has_two_dimensions_at_most() -> None:
    with refused("monte_carlo"):
        jsd(gaussian([0, 0, 0], 1.0), gaussian([1, 0, 0], 1.0), quadrature)


@pytest.mark.parametrize("shift", [[0.0, 0.0], [3.0, 4.0], [0.3, 0.0]])
def test_wasserstein_of_a_shift_of_the_plane(shift: list[float]) -> None:
    found = wasserstein1(gaussian([0, 0], 1.0), gaussian(shift, 1.0), n=128)
    assert found.agrees(math.hypot(*shift))
    assert found.error < 0.5


def test_quantities_compare_within_their_errors() -> None:
    one = Quantity(1.0, 0.1, "a")
    assert one.agrees(1.09)
    assert not one.agrees(1.2)
    assert one.agrees(Quantity(1.2, 0.12, "b"))
    assert float(one) == 1.0


# The density of a generator -------------------------------------------------------------------------------


def network(*sizes: int, activation: Callable[[], nn.Module] = nn.Tanh) -> nn.Module:
    with torch.random.fork_rng([]):
        torch.manual_seed(1)
        layers = [layer for i, o in pairwise(sizes) for layer in (nn.Linear(i, o), activation())]
    return nn.Sequential(*layers[:-1])


class Coupled(nn.Module):
    """A rotation, a bend and a scale of the plane; one to one, as any x = A(z + tanh(z A)/2) here is."""

    def forward(self, z: Tensor) -> Tensor:
        A = torch.tensor([[0.8, -0.6], [0.6, 0.8]], dtype=z.dtype)
        return (z + torch.tanh(z @ A) / 2) @ A.T * 1.5


CLOSED = {
    "shift and scale": (lambda z: 3 - 2 * z, NormalPrior(1), known(Normal, 3, 2)),
    "exponential": (torch.exp, NormalPrior(1), known(LogNormal, 0, 1)),
    "square": (torch.square, NormalPrior(1), known(Chi2, 1)),
    "stretch": (lambda z: 2 * z, UniformPrior(1), known(Uniform, -2 * math.sqrt(3), 2 * math.sqrt(3))),
}


@pytest.mark.parametrize(("G", "prior", "exact"), CLOSED.values(), ids=CLOSED.keys())
def test_pushforward_has_the_closed_form(G: Function, prior: theory.Prior, exact: Known) -> None:
    x = exact.sample(200, stream(0, "points"))
    torch.testing.assert_close(pushforward(G, prior).log_prob(x), exact.log_prob(x), rtol=1e-8, atol=1e-8)


def test_pushforward_of_a_linear_map_of_the_plane() -> None:
    A = torch.tensor([[2.0, 1.0], [-0.5, 0.3]], dtype=torch.float64)
    exact = Known(MultivariateNormal(torch.zeros(2, dtype=torch.float64), A.T @ A))
    x = exact.sample(200, stream(0, "points"))
    p_g = pushforward(lambda z: z @ A, NormalPrior(2))
    torch.testing.assert_close(p_g.log_prob(x), exact.log_prob(x), rtol=1e-9, atol=1e-9)


GENERATORS = {
    "tanh network": (network(1, 16, 1), NormalPrior(1)),
    "leaky network": (network(1, 16, 1, activation=nn.LeakyReLU), UniformPrior(1)),
    "waves": (lambda z: z + torch.sin(5 * z), UniformPrior(1)),
    "coupled": (Coupled(), NormalPrior(2)),
}


@pytest.mark.parametrize(("G", "prior"), GENERATORS.values(), ids=GENERATORS.keys())
def test_pushforward_is_the_law_of_its_samples(G: Function, prior: theory.Prior) -> None:
    p_g, wide = pushforward(G, prior), gaussian([0.0] * prior.dim, 3.0)
    by_density = value(lambda x: x[:, 0], wide, p_g, partial(quadrature, tolerance=1e-3))
    by_samples = value(lambda x: x[:, 0], wide, p_g, monte_carlo)
    assert by_density.error < 5e-3  # hence the density integrates to one
    assert abs(by_density.value - by_samples.value) < 2 * by_samples.error + by_density.error


def test_a_folded_generator_counts_every_preimage() -> None:
    p_g = pushforward(lambda z: torch.sin(4 * z), UniformPrior(1))
    x = torch.tensor([-0.9, -0.3, 0.2, 0.7], dtype=torch.float64)
    z = np.linspace(-math.sqrt(3), math.sqrt(3), 2_000_001)
    counts = [np.mean(np.abs(np.sin(4 * z) - a) < 1e-3) / 2e-3 for a in x.tolist()]
    torch.testing.assert_close(p_g.log_prob(x[:, None]).exp(), torch.tensor(counts), rtol=1e-3, atol=0)


def test_generators_without_a_density_are_refused() -> None:
    with refused():
        pushforward(torch.relu, NormalPrior(1))
    with refused():
        pushforward(torch.square, NormalPrior(2))
    with refused():
        pushforward(network(4, 2), NormalPrior(4))


def test_a_plane_wound_twice_round_shows_as_missing_mass() -> None:
    def squared(z: Tensor) -> Tensor:  # (x + iy)^2: two preimages, a positive Jacobian
        return torch.stack([z[:, 0] ** 2 - z[:, 1] ** 2, 2 * z[:, 0] * z[:, 1]], 1)

    loosely = partial(quadrature, tolerance=1e-2)
    found = jsd(gaussian([0, 0], 2.0), pushforward(squared, UniformPrior(2)), loosely)
    assert found.error > 0.3


def test_kernel_estimates_know_their_bias() -> None:
    p, exact = known(Normal, 1, 1), jsd(known(Normal, 1, 1), known(Normal, 0, 2))

    def functional(q: theory.Density) -> Quantity:
        return jsd(p, q, partial(quadrature, tolerance=1e-3))

    found = []
    for seed in range(12):  # more latents than data: the sum of four is N(0, 4)
        points = NormalPrior(4).sample(200, stream(seed, "points")).sum(1, keepdim=True)
        found.append(theory.by_kernel_density(functional, points))
    assert sum(one.agrees(exact) for one in found) >= 10
    assert max(one.error for one in found) < 0.1
    assert "smoothing" in found[0].method


def test_kernel_density_is_a_density() -> None:
    points = NormalPrior(2).sample(50, stream(0, "points"))
    q = theory.KernelDensity(points, theory.bandwidth(points))
    assert jsd(q, q, partial(quadrature, tolerance=1e-3)).error < 2e-3
    drawn = q.sample(4000, stream(0, "draws"))
    expected = points.var(0, correction=0) + q.bandwidth**2
    torch.testing.assert_close(drawn.var(0), expected, rtol=0.1, atol=0)


def test_a_collapsed_generator_has_no_kernel_density() -> None:
    with refused():
        theory.bandwidth(torch.ones(100, 2, dtype=torch.float64))


# Games on the plane ---------------------------------------------------------------------------------------

CONVERGENT = {
    "minimax, R1 0.3": gradient_penalty(dirac_minimax, 0.3),
    "minimax, critical R1": gradient_penalty(dirac_minimax, 1.0),
    "non-saturating, R1 0.3": gradient_penalty(dirac_nonsaturating, 0.3),
    "instance noise": dirac_instance_noise(0.7),
    "consensus": theory.consensus(dirac_minimax, 1.0),
}
FIELDS = CONVERGENT | {
    "minimax": dirac_minimax,
    "non-saturating": dirac_nonsaturating,
    "wasserstein": dirac_wasserstein,
    "bilinear": theory.bilinear(torch.tensor([[1.5]], dtype=torch.float64)),
}
PLAYS = {
    "simultaneous": simultaneous,
    "alternating": alternating(),
    "alternating 3": alternating(3),
    "extragradient": theory.extragradient,
    "optimistic": theory.optimistic,
}
fields = pytest.mark.parametrize("field", FIELDS.values(), ids=FIELDS.keys())
plays = pytest.mark.parametrize("play", PLAYS.values(), ids=PLAYS.keys())


def distances(field: Field, steps: int = 500) -> list[float]:
    """|(theta, psi)| of Mescheder's experiment: from (1, 1), h = 0.2, three plays, the generator first."""
    three = (simultaneous, alternating(1, generator_first=True), alternating(5, generator_first=True))
    start = torch.ones(2, dtype=torch.float64)
    return [float(trajectory(field, start, 0.2, steps, play)[-1].norm()) for play in three]


# What others computed from the fields of Mescheder's notebook, to the digits they print. Without instance
# noise (drawn there, averaged here) and consensus (the notebook halves one term of grad |v|^2 / 2).
TABLE = {
    "minimax": (dirac_minimax, ["3.10", "1.42", "1.85"]),
    "non-saturating": (dirac_nonsaturating, ["0.64", "0.28", "0.14"]),
    "WGAN-GP": (gradient_penalty(dirac_wasserstein, 0.7, 1.0), ["1.80", "1.22", "0.72"]),
    "R1 0.3": (gradient_penalty(dirac_minimax, 0.3), ["2.6e-6", "2.3e-7", "1e-33"]),
    "R1 1.0": (gradient_penalty(dirac_minimax, 1.0), ["9.5e-22", "7.5e-17", "5e-12"]),
    "non-saturating, R1 0.3": (gradient_penalty(dirac_nonsaturating, 0.3), ["2.2e-6", "1.5e-7", "4e-34"]),
    "WGAN clip 1": (theory.clipped(dirac_wasserstein, 1.0), ["1.0", "1.02", "0.92"]),
}


@pytest.mark.parametrize(("field", "printed"), TABLE.values(), ids=TABLE.keys())
def test_distances_of_the_dirac_experiment(field: Field, printed: list[str]) -> None:
    for distance, digits in zip(distances(field), printed, strict=True):
        last = 10.0 ** int(Decimal(digits).as_tuple().exponent)
        assert distance == pytest.approx(float(digits), rel=0, abs=0.5 * last)


def test_what_converges_and_what_does_not() -> None:
    for name in ("minimax, R1 0.3", "minimax, critical R1", "non-saturating, R1 0.3", "instance noise"):
        assert max(distances(CONVERGENT[name])) < 1e-3, name
    for field in (
        dirac_minimax,
        theory.clipped(dirac_wasserstein, 1.0),
        gradient_penalty(dirac_wasserstein, 0.7, 1.0),
    ):
        assert min(distances(field, 1000)) > 0.5


SQUARE_ROOTS = {
    "minimax": (dirac_minimax, 0.0, -1 / 4),
    "non-saturating": (dirac_nonsaturating, 0.0, -1 / 4),
    "wasserstein": (dirac_wasserstein, 0.0, -1.0),
    "R1 0.3": (gradient_penalty(dirac_minimax, 0.3), -0.15, 0.15**2 - 1 / 4),
    "R1 3": (gradient_penalty(dirac_minimax, 3.0), -1.5, 1.5**2 - 1 / 4),
    "instance noise": (dirac_instance_noise(0.7), -(0.7**2) / 4, 0.7**4 / 16 - 1 / 4),
    # v = J x with J = [[0, -1], [1, 0]]/2 near 0, so J - J^T J = J - I/4
    "consensus": (theory.consensus(dirac_minimax, 1.0), -1 / 4, -1 / 4),
}


@pytest.mark.parametrize(("field", "centre", "under"), SQUARE_ROOTS.values(), ids=SQUARE_ROOTS.keys())
def test_eigenvalues_are_centre_plus_minus_a_root(field: Field, centre: float, under: float) -> None:
    root = complex(under) ** 0.5
    expected = np.sort_complex(np.array([centre + root, centre - root]))
    found = np.sort_complex(theory.eigenvalues(field, ORIGIN).numpy())
    np.testing.assert_allclose(found, expected, atol=1e-7)


UPDATES: dict[str, tuple[Play, Callable[[complex], list[complex]]]] = {
    "simultaneous": (simultaneous, lambda z: [1 + z]),
    "extragradient": (theory.extragradient, lambda z: [1 + z + z * z]),
    "optimistic": (theory.optimistic, lambda z: list(np.roots([1, -1 - 2 * z, z]))),
}


@pytest.mark.parametrize(("play", "update"), UPDATES.values(), ids=UPDATES.keys())
@fields
def test_predicted_rates(field: Field, play: Play, update: Callable[[complex], list[complex]]) -> None:
    h = 0.2
    steps = [h * complex(l) for l in theory.eigenvalues(field, ORIGIN)]
    exact = max(abs(root) for z in steps for root in update(z))
    assert theory.predicted_rate(field, ORIGIN, h, play) == pytest.approx(exact, abs=1e-7)


@pytest.mark.parametrize("d_steps", [1, 2, 5])
@fields
def test_predicted_rate_of_alternating_play_is_a_product_of_matrices(field: Field, d_steps: int) -> None:
    h, J = 0.2, theory.jacobian(field, ORIGIN).numpy()
    generator, discriminator = np.eye(2) + h * np.diag([1, 0]) @ J, np.eye(2) + h * np.diag([0, 1]) @ J
    turn = generator @ np.linalg.matrix_power(discriminator, d_steps)
    exact = np.abs(np.linalg.eigvals(turn)).max()
    for generator_first in (False, True):
        play = alternating(d_steps, generator_first)
        assert theory.predicted_rate(field, ORIGIN, h, play) == pytest.approx(exact, abs=1e-7)


@pytest.mark.parametrize(
    ("weight", "play", "rate"),
    [
        (0.0, simultaneous, 1.00499),
        (0.3, simultaneous, 0.97468),
        (0.3, alternating(), 0.96954),
        (1.0, simultaneous, 0.9),
        (1.0, alternating(), 0.92702),
    ],
)
def test_rates_of_the_published_table(weight: float, play: Play, rate: float) -> None:
    found = theory.predicted_rate(gradient_penalty(dirac_minimax, weight), ORIGIN, 0.2, play)
    assert found == pytest.approx(rate, abs=1e-5)


@plays
@fields
def test_measured_rate_is_the_predicted_one(field: Field, play: Play) -> None:
    start = torch.tensor([1e-6, 2e-6], dtype=torch.float64)  # so close that the game is linear
    measured = theory.measured_rate(trajectory(field, start, 0.2, 400, play))
    assert measured.agrees(theory.predicted_rate(field, ORIGIN, 0.2, play))
    assert measured.error < 0.05


def test_bilinear_game_of_any_matrix() -> None:
    A = torch.randn(3, 2, generator=stream(0, "A"), dtype=torch.float64)
    field, h = theory.bilinear(A), 0.1
    origin, start = torch.zeros(5, dtype=torch.float64), torch.ones(5, dtype=torch.float64)
    largest, smallest = (float(s) for s in torch.linalg.svdvals(A)[[0, -1]])
    assert theory.predicted_rate(field, origin, h) == pytest.approx(math.hypot(1, h * largest))
    path = trajectory(field, start, h, 3000)
    growth = (path[-1].norm() / path[-1001].norm()) ** (1 / 1000)
    assert float(growth) == pytest.approx(math.hypot(1, h * largest), abs=1e-4)
    # extragradient: A's null space (3 > 2) stays where it is, the rest is drawn in
    null = torch.linalg.svd(A)[0][:, 2]
    end = trajectory(field, start, h, 3000, theory.extragradient)[-1]
    rest = end - torch.cat([null * null.sum(), origin[:2]])
    slowest = abs(1 + 1j * h * smallest - (h * smallest) ** 2)
    assert float(rest.norm()) < 3 * slowest**3000 + 1e-12


def test_extragradient_contracts_a_rotation_exactly() -> None:
    h, start = 0.1, torch.tensor([2.0, 0.5], dtype=torch.float64)
    for play, factor in [
        (simultaneous, math.sqrt(1 + h**2)),
        (theory.extragradient, math.hypot(1 - h**2, h)),
    ]:
        length = trajectory(dirac_wasserstein, start, h, 100, play).norm(dim=1)
        torch.testing.assert_close(length[1:] / length[:-1], torch.full_like(length[1:], factor))


def test_optimistic_play_by_hand() -> None:
    h, start = 0.3, torch.tensor([1.0, 0.0], dtype=torch.float64)
    rotate = np.array([[0.0, -1.0], [1.0, 0.0]])
    before = now = start.numpy()
    expected = [now]
    for _ in range(20):
        before, now = now, now + h * rotate @ (2 * now - before)
        expected.append(now)
    found = trajectory(dirac_wasserstein, start, h, 20, theory.optimistic)
    np.testing.assert_allclose(found.numpy(), np.array(expected), atol=1e-12)


@fields
def test_fields_take_batches(field: Field) -> None:
    points = torch.randn(7, 2, generator=stream(0, "points"), dtype=torch.float64)
    torch.testing.assert_close(field(points), torch.stack([field(point) for point in points]))


def test_consensus_descends_the_squared_field() -> None:
    points = torch.randn(20, 2, generator=stream(0, "points"), dtype=torch.float64).requires_grad_()
    theta, psi = points.unbind(1)
    energy = (theta**2 + psi**2) * torch.sigmoid(-theta * psi) ** 2 / 2  # |v|^2 / 2 of the minimax field
    (slope,) = torch.autograd.grad(energy.sum(), points)
    found = theory.consensus(dirac_minimax, 0.7)(points.detach())
    torch.testing.assert_close(found, dirac_minimax(points.detach()) - 0.7 * slope)


def test_instance_noise_is_the_mean_of_drawn_noise() -> None:
    point, n = torch.tensor([0.8, -1.1], dtype=torch.float64), 400_000
    noise = 0.7 * torch.randn(2, n, generator=stream(0, "noise"), dtype=torch.float64)
    (theta, psi), (fake, real) = point, noise
    fake = fake + theta
    slope = torch.sigmoid(-psi * fake)
    drawn = torch.stack([-psi * slope, fake * slope - real * torch.sigmoid(psi * real)])
    error = 4 * drawn.std(1) / math.sqrt(n)
    assert ((dirac_instance_noise(0.7)(point) - drawn.mean(1)).abs() < error).all()


def test_a_clipped_critic_stays_inside() -> None:
    start = torch.tensor([3.0, 5.0], dtype=torch.float64)
    for play in PLAYS.values():
        path = trajectory(theory.clipped(dirac_wasserstein, 0.5), start, 0.2, 200, play)
        assert float(path[:, 1].abs().max()) == 0.5


def test_a_path_that_has_arrived_has_no_rate() -> None:
    with refused():
        theory.measured_rate(torch.zeros(10, 2))


# The generator's two losses -------------------------------------------------------------------------------


def test_gradients_of_the_two_generator_losses() -> None:
    logits = torch.linspace(-30, 30, 61, dtype=torch.float64)
    D = 1 / (1 + np.exp(-logits.numpy()))
    minimax, nonsaturating = theory.generator_gradients(logits)
    np.testing.assert_allclose(minimax, -D, rtol=1e-12)
    np.testing.assert_allclose(nonsaturating, -1 / (1 + np.exp(logits.numpy())), rtol=1e-12)
    torch.testing.assert_close(theory.gradient_ratio(logits), nonsaturating / minimax)


@settings(max_examples=50, deadline=None)
@given(theta=st.floats(-5, 5), psi=st.floats(-5, 5))
def test_minimax_and_nonsaturating_share_their_fixed_point(theta: float, psi: float) -> None:
    point = torch.tensor([theta, psi], dtype=torch.float64)
    one, other = dirac_minimax(point), dirac_nonsaturating(point)
    torch.testing.assert_close(other, one * torch.tensor([math.exp(theta * psi), 1.0], dtype=torch.float64))
    at_rest = theory.jacobian(dirac_minimax, ORIGIN), theory.jacobian(dirac_nonsaturating, ORIGIN)
    torch.testing.assert_close(*at_rest)
