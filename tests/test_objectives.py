"""The laws of objectives, over all of them, against definitions in 120 digits and against quadrature."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import mpmath
import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor, nn

from refusals import refused
from zerosum import objectives
from zerosum.objectives import Objective

SMOOTHINGS = (0.0, 0.1)
WEIGHTS = (1.0, 0.5)
DIVERGENCES = (
    "kl",
    "reverse_kl",
    "pearson",
    "neyman",
    "squared_hellinger",
    "total_variation",
    "jensen_shannon",
    "jeffrey",
)


def family() -> dict[str, tuple[str, dict[str, Any], Objective]]:
    """Every objective there is, by a readable name: (what makes it, its arguments, itself)."""
    arguments: list[tuple[str, dict[str, Any]]] = []
    for weight in WEIGHTS:
        arguments += [
            (name, {"label_smoothing": s, "d_weight": weight})
            for name in ("minimax", "nonsaturating", "least_squares")
            for s in SMOOTHINGS
        ]
        arguments += [
            (name, {"d_weight": weight})
            for name in ("wasserstein", "hinge", "relativistic_pairing", "relativistic_average")
        ]
        arguments += [
            ("f_divergence", {"f": name, "saturating": saturating, "d_weight": weight})
            for name in DIVERGENCES
            for saturating in (False, True)
        ]
    return {
        "-".join(map(str, (maker, *settings.values()))): (
            maker,
            settings,
            getattr(objectives, maker)(**settings),
        )
        for maker, settings in arguments
    }


FAMILY = family()
every = pytest.mark.parametrize(("maker", "settings", "objective"), FAMILY.values(), ids=FAMILY.keys())


def test_the_family_is_everything_that_the_module_offers() -> None:
    assert {maker for maker, _, _ in FAMILY.values()} == set(objectives.__all__) - {"Objective"}
    with refused(*DIVERGENCES):
        objectives.f_divergence("chi")


# definitions, in arbitrary precision ------------------------------------------------------------------------

mp = mpmath.mp.clone()
mp.dps = 120
Vector = list[Any]


def log_d(a: Any) -> Any:
    """log D(x) from its definition."""
    return -mp.log1p(mp.exp(-a))


# f, and the density ratio u for which h(a) = f'(u)
F: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any], Callable[[Any], Any]]] = {
    "kl": (lambda u: u * mp.log(u), lambda u: 1 + mp.log(u), mp.exp),
    "reverse_kl": (lambda u: -mp.log(u), lambda u: -1 / u, mp.exp),
    "pearson": (lambda u: (u - 1) ** 2, lambda u: 2 * (u - 1), lambda a: 1 + a / 2),
    "neyman": (lambda u: (1 - u) ** 2 / u, lambda u: 1 - 1 / u**2, lambda a: mp.exp(a / 2)),
    "squared_hellinger": (
        lambda u: (mp.sqrt(u) - 1) ** 2,
        lambda u: 1 - 1 / mp.sqrt(u),
        lambda a: mp.exp(2 * a),
    ),
    "jensen_shannon": (
        lambda u: -(u + 1) * mp.log((1 + u) / 2) + u * mp.log(u),
        lambda u: mp.log(2 * u / (1 + u)),
        mp.exp,
    ),
    "jeffrey": (lambda u: (u - 1) * mp.log(u), lambda u: mp.log(u) + 1 - 1 / u, mp.exp),
}


def parts(name: str) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """T = f'(u) and f*(T) = u f'(u) - f(u) of the logit: what the code writes out, from f alone."""
    if name == "total_variation":  # |u - 1|/2: f* is the identity on [-1/2, 1/2]
        return (lambda a: mp.tanh(a) / 2), (lambda a: mp.tanh(a) / 2)
    f, slope, ratio = F[name]
    return (lambda a: slope(ratio(a))), (lambda a: ratio(a) * slope(ratio(a)) - f(ratio(a)))


def defined(maker: str, settings: dict[str, Any]) -> tuple[Callable[..., Vector], Callable[..., Vector]]:
    """The two losses of an objective by definition, on lists of numbers."""
    w = mp.mpf(settings["d_weight"])
    s = mp.mpf(settings.get("label_smoothing", 0.0))

    def pairs(loss: Callable[[Any, Any], Any]) -> Callable[[Vector, Vector], Vector]:
        return lambda real, fake: [loss(r, f) for r, f in zip(real, fake, strict=True)]

    def average(real: Vector, fake: Vector) -> Vector:
        mean_real, mean_fake = mp.fsum(real) / len(real), mp.fsum(fake) / len(fake)
        return [-log_d(r - mean_fake) - log_d(mean_real - f) for r, f in zip(real, fake, strict=True)]

    def cross_entropy(r: Any, f: Any) -> Any:
        return -w * ((1 - s) * log_d(r) + s * log_d(-r) + log_d(-f))

    if maker == "f_divergence":
        t, conjugate = parts(settings["f"])
        g = (lambda r, f: -conjugate(f)) if settings["saturating"] else (lambda r, f: -t(f))
        return pairs(lambda r, f: w * (conjugate(f) - t(r))), pairs(g)
    return {
        "minimax": (pairs(cross_entropy), pairs(lambda r, f: log_d(-f))),
        "nonsaturating": (pairs(cross_entropy), pairs(lambda r, f: -log_d(f))),
        "least_squares": (
            pairs(lambda r, f: w * ((r - (1 - 2 * s)) ** 2 + (f + 1) ** 2) / 2),
            pairs(lambda r, f: f**2 / 2),
        ),
        "wasserstein": (pairs(lambda r, f: w * (f - r)), pairs(lambda r, f: -f)),
        "hinge": (
            pairs(lambda r, f: w * (max(mp.zero, 1 - r) + max(mp.zero, 1 + f))),
            pairs(lambda r, f: -f),
        ),
        "relativistic_pairing": (
            pairs(lambda r, f: -w * log_d(r - f)),
            pairs(lambda r, f: -log_d(f - r)),
        ),
        "relativistic_average": (
            lambda real, fake: [w * v for v in average(real, fake)],
            lambda real, fake: average(fake, real),
        ),
    }[maker]


def slopes(loss: Callable[..., Vector], real: Vector, fake: Vector, paired: bool) -> tuple[Vector, Vector]:
    """The derivative of the sum of a loss in each logit, by central differences.

    paired: each value depends on its own two logits only, so that all of a side can move at once.
    """
    h = mp.mpf(10) ** -30

    def moved(side: int, by: Vector) -> Vector:
        both = [real, fake]
        both[side] = [a + b for a, b in zip(both[side], by, strict=True)]
        return loss(*both)

    def difference(side: int, by: Vector) -> Vector:
        ends = zip(moved(side, by), moved(side, [-b for b in by]), strict=True)
        return [(up - down) / (2 * h) for up, down in ends]

    def one_side(side: int) -> Vector:
        if paired:
            return difference(side, [h] * len(real))
        return [mp.fsum(difference(side, [h * (i == j) for j in range(len(real))])) for i in range(len(real))]

    return one_side(0), one_side(1)


def values_and_slopes(
    loss: Callable[..., Tensor], real: Tensor, fake: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """A loss and the gradient of its sum, by autograd."""
    real, fake = real.clone().requires_grad_(), fake.clone().requires_grad_()
    value = loss(real, fake)
    gradients = torch.autograd.grad(value.sum(), (real, fake), allow_unused=True)
    by_real, by_fake = (torch.zeros_like(real) if g is None else g for g in gradients)
    return value.detach(), by_real, by_fake


def lists(x: Tensor) -> Vector:
    return [mp.mpf(float(v)) for v in x]


# logits of real and of fake, off the corners of the hinge
REAL = torch.tensor([-30.0, -25.5, -20.0, -7.3, -2.0, -0.5, 0.0, 0.25, 3.0, 8.0, 20.5, 25.0, 30.0]).double()
FAKE = torch.tensor([30.0, -3.0, 21.0, 0.0, -30.0, 0.75, -21.0, -8.5, 2.5, 26.0, -26.0, 5.5, -0.125]).double()


def flatness(settings: dict[str, Any], dtype: torch.dtype) -> float:
    """What may be missing of a slope: nothing, but where tanh has reached 1 to the last bit it has none."""
    return torch.finfo(dtype).eps if settings.get("f") == "total_variation" else 1e-37


def close(measured: Tensor, defined: Vector, relative: float, absolute: float) -> None:
    for got, wanted in zip(measured.tolist(), defined, strict=True):
        assert abs(got - wanted) <= relative * abs(wanted) + absolute, (got, mp.nstr(wanted, 17))


@every
@pytest.mark.parametrize("player", ["d", "g"])
def test_values_and_gradients_are_those_of_the_definition(
    maker: str, settings: dict[str, Any], objective: Objective, player: str
) -> None:
    loss = defined(maker, settings)["dg".index(player)]
    value, by_real, by_fake = values_and_slopes(getattr(objective, player), REAL, FAKE)
    assert value.shape == REAL.shape
    assert value.dtype == torch.float64
    # the sum of two terms is as exact as the larger term
    scale = [max(abs(a), abs(b), 1) for a, b in zip(REAL.tolist(), FAKE.tolist(), strict=True)]
    for got, wanted, size in zip(value.tolist(), loss(lists(REAL), lists(FAKE)), scale, strict=True):
        assert abs(got - wanted) <= 1e-13 * (abs(wanted) + size)
    wanted_real, wanted_fake = slopes(loss, lists(REAL), lists(FAKE), maker != "relativistic_average")
    close(by_real, wanted_real, 1e-12, flatness(settings, torch.float64))
    close(by_fake, wanted_fake, 1e-12, flatness(settings, torch.float64))


@every
@pytest.mark.parametrize("player", ["d", "g"])
def test_float32_is_right_at_any_logit_or_infinite_where_it_must_be(
    maker: str, settings: dict[str, Any], objective: Objective, player: str
) -> None:
    real = torch.tensor([-100.0, -30.0, 30.0, 100.0, 100.0, -100.0, 0.0])
    fake = torch.tensor([100.0, 30.0, -30.0, -100.0, 100.0, -100.0, 0.0])
    loss = defined(maker, settings)["dg".index(player)]
    value, by_real, by_fake = values_and_slopes(getattr(objective, player), real, fake)
    wanted = (
        loss(lists(real), lists(fake)),
        *slopes(loss, lists(real), lists(fake), maker != "relativistic_average"),
    )
    for got, exact in zip((value, by_real, by_fake), wanted, strict=True):
        for a, b in zip(got.tolist(), exact, strict=True):
            if abs(b) < torch.finfo(torch.float32).max:
                assert abs(a - b) <= 2e-6 * abs(b) + flatness(settings, torch.float32), (a, mp.nstr(b, 9))
            else:
                assert a == math.copysign(math.inf, b)


@every
def test_zero_logits_give_the_declared_equilibrium(
    maker: str, settings: dict[str, Any], objective: Objective
) -> None:
    at_zero = objective.d(torch.zeros(4).double(), torch.zeros(4).double())
    if not settings.get("label_smoothing"):
        assert at_zero.tolist() == pytest.approx([objective.equilibrium] * 4, abs=1e-15)

    def constant(logit: float) -> float:
        both = torch.full((2,), logit, dtype=torch.float64)
        return float(objective.d(both, both).mean())

    best = minimize_scalar(constant, bounds=(-3, 3), method="bounded", options={"xatol": 1e-10})
    assert best.fun == pytest.approx(objective.equilibrium, abs=1e-12)


# the 2014 game ----------------------------------------------------------------------------------------------

LOGITS = torch.linspace(-30, 30, 241).double()


def fake_slope(objective: Objective) -> Tensor:
    return values_and_slopes(objective.g, LOGITS, LOGITS)[2]


def test_the_two_generator_gradients_and_their_ratio() -> None:
    D = torch.special.expit(LOGITS)
    rejected = torch.special.expit(-LOGITS)  # 1 - D, without cancellation
    minimax, nonsaturating = (fake_slope(make()) for make in (objectives.minimax, objectives.nonsaturating))
    torch.testing.assert_close(minimax, -D, rtol=1e-13, atol=0)
    torch.testing.assert_close(nonsaturating, -rejected, rtol=1e-13, atol=0)
    torch.testing.assert_close(nonsaturating / minimax, rejected / D, rtol=1e-13, atol=0)


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@pytest.mark.parametrize("weight", WEIGHTS)
def test_the_discriminator_loss_is_binary_cross_entropy(smoothing: float, weight: float) -> None:
    real, fake = LOGITS, LOGITS.flip(0) / 2
    bce = nn.BCEWithLogitsLoss(reduction="none")
    wanted = weight * (bce(real, torch.full_like(real, 1 - smoothing)) + bce(fake, torch.zeros_like(fake)))
    for make in (objectives.minimax, objectives.nonsaturating):
        torch.testing.assert_close(make(smoothing, weight).d(real, fake), wanted, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_and_that_of_the_sigmoid_output(smoothing: float) -> None:
    real, fake = torch.linspace(-10, 10, 41).double(), torch.linspace(8, -9, 41).double()
    bce = nn.BCELoss(reduction="none")
    label = torch.full_like(real, 1 - smoothing)
    wanted = bce(real.sigmoid(), label) + bce(fake.sigmoid(), torch.zeros_like(fake))
    torch.testing.assert_close(objectives.minimax(smoothing).d(real, fake), wanted, rtol=1e-11, atol=0)
    ones, zeros = torch.ones_like(fake), torch.zeros_like(fake)
    for make, flipped in ((objectives.nonsaturating, bce(fake.sigmoid(), ones)), (objectives.minimax, None)):
        wanted = -bce(fake.sigmoid(), zeros) if flipped is None else flipped
        torch.testing.assert_close(make().g(None, fake), wanted, rtol=1e-11, atol=0)


def test_the_generator_losses_are_cross_entropy_with_labels_flipped_or_negated() -> None:
    bce = nn.BCEWithLogitsLoss(reduction="none")
    flipped = bce(LOGITS, torch.ones_like(LOGITS))
    negated = -bce(LOGITS, torch.zeros_like(LOGITS))
    torch.testing.assert_close(objectives.nonsaturating().g(None, LOGITS), flipped, rtol=1e-13, atol=1e-14)
    torch.testing.assert_close(objectives.minimax().g(None, LOGITS), negated, rtol=1e-13, atol=1e-14)


# Exchanging the sides and the sign of the logits gives the same loss of D; of KL(p || q) it makes KL(q || p).
MIRRORS = {name: name for name in FAMILY if not FAMILY[name][1].get("label_smoothing")}
MIRRORS |= {n: n.replace("-kl-", "-reverse_kl-") for n in MIRRORS if "-kl-" in n}
MIRRORS |= {n: n.replace("-reverse_kl-", "-kl-") for n in MIRRORS if "-reverse_kl-" in n}
MIRRORS = {n: m for n, m in MIRRORS.items() if "pearson" not in n and "neyman" not in n}


@pytest.mark.parametrize(("name", "mirror"), MIRRORS.items(), ids=MIRRORS.keys())
def test_flipping_labels_and_logits_changes_nothing(name: str, mirror: str) -> None:
    real, fake = REAL / 3, FAKE / 3
    torch.testing.assert_close(
        FAMILY[name][2].d(real, fake), FAMILY[mirror][2].d(-fake, -real), rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("smoothing", [-0.1, 1.0, 1.5])
@pytest.mark.parametrize("maker", ["minimax", "nonsaturating", "least_squares"])
def test_impossible_smoothing_is_refused(maker: str, smoothing: float) -> None:
    with refused(smoothing):
        getattr(objectives, maker)(label_smoothing=smoothing)


@every
def test_generators_are_told_when_they_must_see_real(
    maker: str, settings: dict[str, Any], objective: Objective
) -> None:
    real, fake = REAL / 10, FAKE / 10
    assert objective.needs_real_logits == maker.startswith("relativistic")
    _, by_real, by_fake = values_and_slopes(objective.g, real, fake)
    assert by_fake.abs().sum() > 0
    if objective.needs_real_logits:
        assert by_real.abs().sum() > 0
        with refused():
            objective.g(None, fake)
    else:
        torch.testing.assert_close(objective.g(None, fake), objective.g(real, fake), rtol=0, atol=0)


# facts, judged by quadrature on p = N(0, 1) and q = N(0.6, 1.15^2) ------------------------------------------

MEAN, STD = 0.6, 1.15


def log_ratio(x: np.ndarray) -> np.ndarray:
    """log p/q."""
    return -(x**2) / 2 + ((x - MEAN) / STD) ** 2 / 2 + math.log(STD)


def nodes() -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre nodes and weights on [-13, 13], in panels that end where p = q."""
    crossings = np.roots([1 / (2 * STD**2) - 0.5, -MEAN / STD**2, MEAN**2 / (2 * STD**2) + math.log(STD)])
    edges = [-13.0, *sorted(crossings.real), 13.0]
    x, w = np.polynomial.legendre.leggauss(120)
    pairs = [(a, b) for a, b in pairwise(edges) if b > a]
    return (
        np.concatenate([(b - a) / 2 * x + (a + b) / 2 for a, b in pairs]),
        np.concatenate([(b - a) / 2 * w for a, b in pairs]),
    )


X, W = nodes()
P = np.exp(-(X**2) / 2) / math.sqrt(2 * math.pi)
Q = np.exp(-(((X - MEAN) / STD) ** 2) / 2) / (STD * math.sqrt(2 * math.pi))
U = np.exp(log_ratio(X))


def integral(values: np.ndarray) -> float:
    return float(W @ values)


def jsd(p: np.ndarray, q: np.ndarray, weights: np.ndarray) -> float:
    m = (p + q) / 2
    return float((weights * (p * np.log(p / m) + q * np.log(q / m)) / 2).sum())


def mean_d_loss(objective: Objective, logit: np.ndarray) -> float:
    """E_{x ~ p, y ~ q} d(a(x), a(y)) over all pairs of nodes."""
    a = torch.from_numpy(logit)
    real, fake = torch.meshgrid(a, a, indexing="ij")
    weight = np.outer(W * P, W * Q).ravel()
    return float(weight @ objective.d(real.ravel(), fake.ravel()).numpy())


LOG_U = log_ratio(X)
FACTS: dict[str, tuple[np.ndarray, float]] = {  # (the best logit, the divergence that it shows)
    "minimax": (LOG_U, jsd(P, Q, W)),
    "nonsaturating": (LOG_U, jsd(P, Q, W)),
    "least_squares": ((P - Q) / (P + Q), integral((P - Q) ** 2 / (P + Q))),
    "hinge": (np.sign(P - Q), integral(abs(P - Q)) / 2),
    "relativistic_pairing": (LOG_U, jsd(np.outer(P, Q), np.outer(Q, P), np.outer(W, W))),
    "kl": (LOG_U, integral(P * LOG_U)),
    "reverse_kl": (LOG_U, -integral(Q * LOG_U)),
    "pearson": (2 * (U - 1), integral((P - Q) ** 2 / Q)),
    "neyman": (2 * LOG_U, integral((P - Q) ** 2 / P)),
    "squared_hellinger": (LOG_U / 2, integral((np.sqrt(P) - np.sqrt(Q)) ** 2)),
    "total_variation": (40 * np.sign(P - Q), integral(abs(P - Q)) / 2),
    "jensen_shannon": (LOG_U, 2 * jsd(P, Q, W)),
    "jeffrey": (LOG_U, integral((P - Q) * LOG_U)),
}
JUDGED = {
    name: (settings.get("f", maker), settings, objective)
    for name, (maker, settings, objective) in FAMILY.items()
    if settings.get("f", maker) in FACTS and not settings.get("saturating")
}
judged = pytest.mark.parametrize(("fact", "settings", "objective"), JUDGED.values(), ids=JUDGED.keys())


def test_the_quadrature_integrates_densities() -> None:
    assert integral(P) == pytest.approx(1, abs=1e-12)
    assert integral(Q) == pytest.approx(1, abs=1e-12)
    exact = math.log(STD) + (1 + MEAN**2) / (2 * STD**2) - 0.5  # KL of two normals
    assert FACTS["kl"][1] == pytest.approx(exact, abs=1e-12)


@judged
def test_the_best_logit_shows_the_divergence_and_no_logit_more(
    fact: str, settings: dict[str, Any], objective: Objective
) -> None:
    best, truth = FACTS[fact]
    if settings.get("label_smoothing"):
        assert objective.divergence is None
        return
    assert objective.divergence is not None
    assert objective.divergence(objective.equilibrium) == pytest.approx(0, abs=1e-15)
    assert objective.divergence(mean_d_loss(objective, best)) == pytest.approx(truth, rel=1e-9)
    for worse in (0 * best, best / 100, 0.3 * LOG_U, np.sin(3 * X), -best):
        assert objective.divergence(mean_d_loss(objective, worse)) < truth - 1e-3


def test_every_other_objective_declares_no_divergence() -> None:
    judged = {name for name, (_, _, objective) in FAMILY.items() if objective.divergence is not None}
    assert {n.split("-")[0] for n in set(FAMILY) - judged} == {
        "minimax",  # with smoothed labels
        "nonsaturating",
        "least_squares",
        "wasserstein",
        "relativistic_average",
    }


@judged
def test_probability_of_the_best_logit_is_the_posterior(
    fact: str, settings: dict[str, Any], objective: Objective
) -> None:
    best, _ = FACTS[fact]
    if objective.probability is None:
        assert fact in ("hinge", "relativistic_pairing", "total_variation")
        return
    s = settings.get("label_smoothing", 0.0)
    logit = {"least_squares": ((1 - 2 * s) * P - Q) / (P + Q)}.get(fact, np.log((1 - s) * P / (Q + s * P)))
    logit = logit if s else best
    said = objective.probability(torch.from_numpy(logit))
    np.testing.assert_allclose(said, (1 - s) * P / (P + Q), rtol=1e-9, atol=1e-12)
    if s:  # and it is the best: a small move makes the loss larger
        loss = mean_d_loss(objective, logit)
        assert all(mean_d_loss(objective, logit + d * np.cos(X)) > loss for d in (-0.01, 0.01))


@pytest.mark.parametrize("name", FAMILY)
def test_probabilities_are_probabilities(name: str) -> None:
    objective = FAMILY[name][2]
    if objective.probability is None:
        assert name.split("-")[0] in ("wasserstein", "hinge", *DIVERGENCES) or (
            "relativistic" in name or "total_variation" in name
        )
        return
    said = objective.probability(torch.linspace(-200, 200, 801).double())
    assert float(said.min()) >= 0
    assert float(said.max()) <= 1
    assert (said.diff() >= 0).all()
    assert float(objective.probability(torch.zeros(()))) == pytest.approx(0.5)


@pytest.mark.parametrize("maker", ["minimax", "nonsaturating"])
def test_the_loss_of_d_is_a_number_at_infinite_logits(maker: str) -> None:
    objective = getattr(objectives, maker)()
    infinite = torch.tensor([float("inf")])
    assert objective.d(infinite, -infinite).item() == 0
    assert objective.d(-infinite, -infinite).item() == float("inf")


# at rest ----------------------------------------------------------------------------------------------------

SATURATING = {
    "minimax",
    *(f"f_divergence-{f}-True" for f in ("kl", "squared_hellinger", "total_variation", "jensen_shannon")),
    "f_divergence-total_variation-False",
}


@every
def test_an_objective_says_where_it_rests(maker: str, settings: dict[str, Any], objective: Objective) -> None:
    smoothing, (logit, d) = settings.get("label_smoothing", 0.0), (objective.resting_logit, 0.5)
    if maker in ("wasserstein", "hinge") or settings.get("f") == "total_variation":
        assert (logit, objective.resting_g_loss, objective.resting_probability) == (None, None, None)
    elif objective.needs_real_logits:
        wanted = {"relativistic_pairing": math.log(2), "relativistic_average": math.log(4)}[maker]
        assert (logit, objective.resting_probability) == (None, None)
        assert objective.resting_g_loss == pytest.approx(wanted, abs=1e-12)
    else:
        d = (1 - smoothing) / 2
        wanted = 2 * d - 1 if maker == "least_squares" else math.log(d / (1 - d))
        assert logit == pytest.approx(wanted, abs=1e-12)
        assert objective.resting_probability == pytest.approx(d, abs=1e-12)
        at = torch.tensor([wanted], dtype=torch.float64)
        assert float(objective.d(at, at)) == pytest.approx(objective.equilibrium, abs=1e-12)
        assert float(objective.g(None, at)) == pytest.approx(objective.resting_g_loss, abs=1e-12)
    if maker in ("minimax", "nonsaturating"):
        loss = math.log(1 - d) if maker == "minimax" else -math.log(d)
        assert objective.resting_g_loss == pytest.approx(loss, abs=1e-12)


@every
def test_an_objective_says_whether_it_saturates(
    maker: str, settings: dict[str, Any], objective: Objective
) -> None:
    name = "-".join(map(str, (maker, *(settings[k] for k in ("f", "saturating") if k in settings))))
    assert objective.saturates == (name in SATURATING)
