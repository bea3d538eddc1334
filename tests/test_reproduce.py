"""The scripts of benchmarks/reproduce, judged by references that share nothing with them."""

from __future__ import annotations

import importlib.util
import json
import math
import struct
import sys
from argparse import Namespace
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from refusals import refused
from zerosum import Game, objectives, pictures
from zerosum import recipe as recipes
from zerosum.game.inputs import Inputs
from zerosum.metrics.estimate import student
from zerosum.optimizers import sgd
from zerosum.run.run import Run

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = ROOT / "benchmarks" / "reproduce"


def script(name: str, folder: Path = SCRIPTS) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"reproduce_{name}", folder / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


dirac, duality_gap, minimax, modes, optimum, parzen, figures, settings = (
    script(name)
    for name in ("dirac", "duality_gap", "minimax", "modes", "optimum", "parzen", "figures", "settings")
)
published_code = script("published_code")


# Parzen -----------------------------------------------------------------------------------------------------


def kernel_density(samples: Any, x: Any, sigma: float) -> np.ndarray:
    """log of the mean over samples of the product over coordinates of normal densities, [n]."""
    from scipy.stats import norm

    return np.log(norm.pdf(x[:, None], samples[None], sigma).prod(axis=-1).mean(axis=1))


@pytest.mark.parametrize("seed", range(3))
def test_the_score_is_that_of_an_independent_kernel_density(seed: int) -> None:
    rng = np.random.default_rng(seed)
    samples, test, valid = (rng.random((n, 5)) * (0.2 + 0.4 * seed) for n in (80, 70, 1_400))
    found = parzen.scored(*(torch.from_numpy(x) for x in (samples, test, valid)))
    held = {sigma: kernel_density(samples, valid[:1_000], sigma) for sigma in np.logspace(-1, 0, 10)}
    sigma = max(held, key=lambda s: held[s].mean())
    scores = kernel_density(samples, test, sigma)
    assert found["sigma"] == pytest.approx(sigma, rel=5e-3)
    assert found["test"] == pytest.approx([scores.mean(), scores.std() / math.sqrt(70)], abs=6e-4)
    assert found["valid"] == pytest.approx(
        [held[sigma].mean(), held[sigma].std() / math.sqrt(1_000)], abs=6e-4
    )


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Eight turns of a small goodfellow2014 on digits of 4 x 4 pixels; checkpoints at 0, 4 and 8."""
    folder = tmp_path_factory.mktemp("reproduce")
    (folder / "mnist").mkdir()
    rng = np.random.default_rng(0)
    for part, n in (("train", 50_200), ("t10k", 150)):
        pixels = (rng.integers(0, 2, (n, 4, 4)) * 255).astype(np.uint8)
        (folder / "mnist" / f"{part}-images-idx3-ubyte").write_bytes(idx(pixels))
        (folder / "mnist" / f"{part}-labels-idx1-ubyte").write_bytes(idx(np.arange(n).astype(np.uint8) % 10))
    small = {"G.width": 8, "D.units": 8, "steps": 8, "checkpoint_every": 4, "sample_every": 8, "log_every": 2}
    small["ema"] = 0.5
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZEROSUM_DATA", str(folder))
        path = folder / "runs" / "goodfellow2014" / "seed0"
        with Run.start(path, recipes.load("goodfellow2014", {**small, "watch": "none"})) as started:
            assert len(list(started.play())) == 4
        yield path


def results(path: Path, out: Path, *options: str) -> dict[str, Any]:
    """What parzen.py writes, called as from the command line."""
    with pytest.MonkeyPatch.context() as patch:
        folders = [] if "--docs" in options else [str(path)]
        patch.setattr(parzen, "SAMPLES", 400)  # of a generator; 10,000 in earnest
        patch.setattr(parzen, "references", lambda: {"nothing": {"test": [0.0, 0.0], "sigma": 1.0}})
        patch.setattr(parzen, "RESULT", out)
        patch.setattr(parzen, "PICTURE", out.with_suffix(".png"))
        patch.setattr(sys, "argv", ["parzen.py", *folders, *options])
        assert parzen.BENCHMARK.main() == 0
    return json.loads(out.read_text())


def test_every_checkpoint_is_judged_once(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "result.json"
    first = results(run, out)
    rows = first["runs"][0]["checkpoints"]
    assert [(row["step"], row["epoch"]) for row in rows] == [(0, 0.0), (4, 0.01), (8, 0.02)]
    assert rows[-1]["trained_in"] > 0 == rows[0]["trained_in"]
    samples = parzen.samples(Run.open(run, 8), live=True)[:400]
    assert rows[-1]["test"] == parzen.scored(samples, parzen.flat("test"), parzen.flat("valid"))["test"]
    asked: list[int] = []
    monkeypatch.setattr(parzen, "scored", lambda *given: asked.append(1) or pytest.fail("judged again"))
    assert results(run, out)["runs"] == first["runs"] == results(run, out, "--docs")["runs"]
    with pytest.raises(pytest.fail.Exception):
        results(run, tmp_path / "another.json")
    assert asked == [1]


def test_g_and_its_average_are_judged_side_by_side(run: Path, tmp_path: Path) -> None:
    both = results(run, tmp_path / "result.json")
    assert [row["name"] for row in both["runs"]] == ["goodfellow2014", "goodfellow2014, averaged"]
    live, averaged = (row["checkpoints"] for row in both["runs"])
    assert live[0]["test"] == averaged[0]["test"] and live[-1]["sha256"] != averaged[-1]["sha256"]
    samples = parzen.samples(Run.open(run, 8), live=False)[:400]
    assert not torch.equal(samples, parzen.samples(Run.open(run, 8), live=True)[:400])
    assert averaged[-1]["test"] == parzen.scored(samples, parzen.flat("test"), parzen.flat("valid"))["test"]
    assert [row["published"] for row in both["summary"]] == [[225.0, 2.0]] * 2
    some = results(run, tmp_path / "fewer.json", "--stride", "8")
    assert [row["step"] for row in some["runs"][0]["checkpoints"]] == [0, 8]


def trained(seed: int, scores: list[tuple[float, float]]) -> dict[str, Any]:
    """A run with these (valid, test) likelihoods."""
    rows = [
        {"step": i, "epoch": i, "valid": [valid, 1.0], "test": [test, 2.0], "trained_in": 1.0}
        for i, (valid, test) in enumerate(scores)
    ]
    return {"name": "goodfellow2014", "seed": seed, "steps": len(scores) - 1, "checkpoints": rows}


def test_the_test_digits_have_no_say_in_the_epoch() -> None:
    (row,) = parzen.summary([trained(0, [(1.0, 500.0), (7.0, 200.0), (3.0, 400.0)])])
    assert row["chosen_epochs"] == [1] and row["chosen"]["mean"] == 200.0 and row["last"]["mean"] == 400.0
    assert row["chosen"]["over"] == "test digits" and row["chosen"]["high"] == pytest.approx(203.92)
    assert row["verdict"] == "not reached"


def test_the_interval_over_seeds_is_students() -> None:
    from scipy import stats

    values = [221.0, 224.0, 219.0]
    (row,) = parzen.summary([trained(seed, [(0.0, 0.0), (1.0, v)]) for seed, v in enumerate(values)])
    low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert (row["chosen"]["low"], row["chosen"]["high"]) == pytest.approx((low, high), abs=6e-3)
    assert row["verdict"] == "reached" and high > 225


@pytest.mark.parametrize("slope", [5.0, 20.0])
def test_the_trend_is_of_the_last_two_doublings(slope: float) -> None:
    scores = [-300.0, 7.0, 9.0, *(100 + slope * math.log2(epoch) for epoch in range(3, 13))]
    runs = [trained(seed, [(s, s) for s in scores]) for seed in range(2)]
    assert parzen.trend(runs, 225.0) == {
        "nats_a_doubling": slope,
        "arrives_at_epoch": round(2 ** (125 / slope)),
    }
    assert parzen.summary(runs)[0]["trend"]["nats_a_doubling"] == slope


@pytest.mark.parametrize("scores", [[0.0], [0.0, 5.0], [0.0, 5.0, 4.0]])
def test_nothing_that_grows_has_no_trend(scores: list[float]) -> None:
    assert parzen.trend([trained(0, [(s, s) for s in scores])], 225.0) is None


# The published code -----------------------------------------------------------------------------------------


def same_fakes(game: Game, inputs: Inputs) -> Inputs:
    """These inputs, but that G is given the noise of D."""
    (d,) = inputs.d
    return replace(inputs, g=replace(inputs.g, parts=d.parts))


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_a_shared_turn_is_a_turn_with_the_same_noise_but_for_dropout(dropout: float) -> None:
    layers = {"D.dropout": dropout, "D.dropout_in": dropout, "D.init": 0.05}
    changes = layers | {"data": "digits", "ema": 0.9, "batch": 8}
    pair = [recipes.build(recipes.load("goodfellow2014", changes)) for _ in range(2)]
    (ours, source), (theirs, _) = pair
    for _ in range(8):
        inputs = same_fakes(ours, ours.inputs(source))
        ours.advance(inputs)
        published_code.shared(theirs, inputs)
    assert ours.step == theirs.step == 8
    same = [
        torch.allclose(a, b, atol=1e-6)
        for x, y in ((ours.D.network, theirs.D.network), (ours.G.average, theirs.G.average))
        for a, b in zip(x.parameters(), y.parameters(), strict=True)
    ]
    assert all(same) == (dropout == 0)


def test_each_difference_is_one() -> None:
    as_it_is = recipes.load("goodfellow2014", published_code.AS_PLAYED)
    for name, (_, advance) in published_code.DIFFERENCES.items():
        other = published_code.recipe(name)
        differs = [f for f, value in vars(other).items() if value != getattr(as_it_is, f) and f != "compile"]
        assert len(differs) + (advance is published_code.shared) == 1


# Figures ----------------------------------------------------------------------------------------------------


def test_the_pictures_are_of_the_samples_and_the_straight_way(run: Path, tmp_path: Path) -> None:
    opened = Run.open(run)
    found = figures.figures(opened, tmp_path)
    assert found["step"] == 8 and found["samples"] == figures.ROWS * figures.COLUMNS
    z = opened.game.noise(figures.LEGS)
    t = torch.linspace(0, 1, figures.FRAMES, dtype=torch.float64).float()[None, :, None]
    way = (1 - t) * z[:, None] + t * z.roll(-1, 0)[:, None]
    pixels = (opened.game.generate(way.flatten(0, 1)) * 255).round().to(torch.uint8)
    expected = np.asarray(pictures.tiles(pixels.numpy(), figures.FRAMES), dtype=int)
    with Image.open(tmp_path / "interpolation.png") as image:
        assert (
            np.abs(np.asarray(image, dtype=int) - expected).max() <= 1
        )  # where rounding falls the other way
    made = np.round(opened.game.sample(found["samples"]).flatten(1).double().numpy() * 255)

    def grid(left: np.ndarray, right: np.ndarray) -> Image.Image:
        pairs = np.stack([left, right], 1).reshape(-1, 1, 4, 4).astype(np.uint8)
        return pictures.tiles(pairs, 2 * figures.COLUMNS)

    ours = np.asarray(grid(np.ones_like(made), np.zeros_like(made))) == 1  # beside each is its neighbour
    with Image.open(tmp_path / "nearest.png") as image:
        apart = np.abs(np.asarray(image, dtype=int) - np.asarray(grid(made, made), dtype=int))
        assert apart[ours].max() <= 1 < apart[~ours].max()
    train = parzen.flat("fit").double().numpy() * 255
    squares = (made**2).sum(1)[:, None] + (train**2).sum(1) - 2 * made @ train.T
    nearest = np.sqrt(squares.min(axis=1) / 16)
    assert found["median_of_samples"] == pytest.approx(np.sort(nearest)[len(made) // 2 - 1], abs=0.1)
    assert found["least_of_samples"] == pytest.approx(nearest.min(), abs=0.1) and found["copies"] == 0


# Dirac-GAN --------------------------------------------------------------------------------------------------


def slope(t: float) -> float:
    return 1 / (1 + math.exp(t))


def velocity(name: str, theta: float, psi: float) -> tuple[float, float]:
    """(-dL_G/dtheta, -dL_D/dpsi) by hand, from the formulas in Mescheder et al. (2018)."""
    if name.startswith("WGAN"):
        pull = 0.7 * (psi - math.copysign(1.0, psi)) if "GP" in name else 0.0
        return -psi, theta - pull
    t = psi * theta
    v = [-psi * (slope(-t) if name.startswith("NS") else slope(t)), theta * slope(t)]
    if "R1" in name:
        v[1] -= float(name.split()[-1]) * psi
    if "consensus" in name:  # grad of |v|^2/2 = f'^2 (theta^2 + psi^2)/2, with f'' = -f' (1 - f')
        s = slope(t)
        turn = -s * s * (1 - s) * (theta**2 + psi**2)
        v = [v[0] - (s * s * theta + turn * psi), v[1] - (s * s * psi + turn * theta)]
    return v[0], v[1]


def recursion(name: str, turns: int, simultaneous: bool = False, k: int = 1) -> np.ndarray:
    theta, psi = path = 1.0, 1.0
    points = [path]
    clip = (lambda x: min(1.0, max(-1.0, x))) if "clip" in name else (lambda x: x)
    for _ in range(turns):
        before = theta, psi
        for _ in range(k):
            psi = clip(psi + 0.2 * velocity(name, theta, psi)[1])
        theta += 0.2 * velocity(name, *(before if simultaneous else (theta, psi)))[0]
        points.append((theta, psi))
    return np.array(points)


@pytest.mark.parametrize("play", ["SimGD", "AltGD 1", "AltGD 5"])
@pytest.mark.parametrize("name", [name for name, kind in dirac.KINDS.items() if not kind.noise])
def test_the_engine_walks_the_recursion_by_hand(name: str, play: str) -> None:
    how = dirac.PLAYS[play][1]
    path = dirac.KINDS[name].play((1.0, 1.0), 60, **how).numpy()
    np.testing.assert_allclose(path, recursion(name, 60, **how), atol=1e-11)


def test_instance_noise_is_the_expected_field_and_noise() -> None:
    kind = dirac.KINDS["GAN + instance noise 0.7"]
    start = torch.ones(2, dtype=torch.float64)
    moves = torch.stack([kind.play((1.0, 1.0), 1, seed=i, simultaneous=True)[1] - start for i in range(100)])
    error = moves.std(0) / 10
    assert (error > 0).all() and ((moves.mean(0) - 0.2 * kind.field(start)).abs() < 4 * error).all()


def test_the_notebook_halves_a_term_of_the_gradient() -> None:
    """Its field and consensus differ by that half, and agree to first order at the equilibrium."""
    exact, theirs = dirac.KINDS["GAN + consensus 1"].field, dirac.NOTEBOOK_CONSENSUS
    for theta, psi in ((1.0, 1.0), (-0.4, 2.0), (0.7, -0.1)):
        point = torch.tensor([theta, psi], dtype=torch.float64)
        s = slope(theta * psi)
        missing = -s * s * (1 - s) * (theta**2 + psi**2) / 2 * torch.tensor([psi, theta], dtype=torch.float64)
        torch.testing.assert_close(theirs(point) - missing, exact(point))
    jacobians = [torch.func.jacrev(field)(dirac.ORIGIN) for field in (exact, theirs)]
    torch.testing.assert_close(*jacobians)


def test_played_tells_what_it_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dirac, "TURNS", 120)
    row = dirac.played(dirac.KINDS["GAN + R1 1.0"], "SimGD")
    distance = np.linalg.norm(recursion("GAN + R1 1.0", 120, simultaneous=True), axis=1)
    assert row["distance"] == pytest.approx(distance[-1], rel=1e-9)
    assert row["nearest_of_the_last_100"] == pytest.approx(distance[-100:].min(), rel=1e-9)
    assert row["predicted_rate"] == pytest.approx(0.9, abs=1e-7) and dirac.agrees(row)
    assert row["apart_from_theory"] < 1e-12
    assert not dirac.agrees({**row, "predicted_rate": 0.97})


@pytest.mark.parametrize("name", dirac.METHODS)
def test_the_bilinear_factors_are_the_closed_forms(name: str) -> None:
    """theta + i psi turns by i h: v = i z."""
    h = 0.1
    step = 1 + 1j * h
    turn = {"SimGD": step, "extragradient": 1 + 1j * h * step, "lookahead 5, 0.5": 0.5 + 0.5 * step**5}
    roots = np.roots([1, -(1 + 2j * h), 1j * h])
    factor = {**{k: abs(v) for k, v in turn.items()}, "AltGD": 1.0, "optimistic": abs(roots).max()}[name]
    row = dirac.factor(dirac.METHODS[name])
    assert row["predicted_rate"] == pytest.approx(factor, abs=1e-7)
    assert dirac.agrees(row) and row["measured_rate"][1] < 3e-3
    if name in turn:
        path = dirac.METHODS[name].path((2.0, 0.5), 7).numpy() @ [1, 1j]
        np.testing.assert_allclose(path, (2 + 0.5j) * turn[name] ** np.arange(8), atol=1e-12)


def test_the_committed_dirac_claims_follow_from_the_committed_games() -> None:
    result = json.loads(dirac.RESULT.read_text())
    assert dirac.claims(result) == result["claims"]
    rows = result["games"].values()
    apart = [way["apart_from_theory"] for row in rows for way in row.values() if way["apart_from_theory"]]
    assert max(apart) < 1e-12


# Minimax ----------------------------------------------------------------------------------------------------


def test_the_two_gradients_of_a_scalar_game() -> None:
    """G(z) = theta, a(x) = -psi x: dlog(1 - D)/dtheta = psi D and -dlog D/dtheta = psi (1 - D)."""
    G, D = dirac.Point(0.3), dirac.Slope(2.0)
    players: dict[str, Any] = {"optimizers": (sgd(0.2), sgd(0.2)), "latent": 1, "batch": 1, "ema": None}
    curve = minimax.readings(Game(G, D, objectives.minimax(), **players), dirac.Blurred(), turns=20, every=4)
    points = recursion_from(0.3, 2.0, 21)[1:][::4]
    d = 1 / (1 + np.exp(points.prod(axis=1)))
    expected = {
        "turn": np.arange(0, 21, 4),
        "d_fake": d,
        "minimax": np.abs(points[:, 1]) * d,
        "nonsaturating": np.abs(points[:, 1]) * (1 - d),
        "ratio": (1 - d) / d,
        "predicted": (1 - d) / d,
    }
    assert curve.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(curve[name], values, rtol=2e-4)


def recursion_from(theta: float, psi: float, turns: int) -> np.ndarray:
    points = [(theta, psi)]
    for _ in range(turns):
        psi += 0.2 * velocity("GAN", theta, psi)[1]
        theta += 0.2 * velocity("GAN", theta, psi)[0]
        points.append((theta, psi))
    return np.array(points)


def test_the_committed_minimax_claims_follow_from_the_committed_games() -> None:
    result = json.loads(minimax.RESULT.read_text())
    assert minimax.summary(result["games"]) == result["summary"]
    assert [len(games) for games in result["games"].values()] == [minimax.SEEDS] * 2


def test_a_game_that_does_not_saturate_is_told_from_one_that_does() -> None:
    turns = [0.0, 10.0]

    def game(d: float, norm: float) -> Any:
        ratio = (1 - d) / d
        return {
            "turn": turns,
            "d_fake": [0.5, d],
            "minimax": [1.0, norm],
            "nonsaturating": [1.0, norm * ratio],
            "ratio": [1.0, ratio],
            "predicted": [1.0, ratio],
        }

    stuck, free = game(1e-3, 1e-3), game(0.1, 0.5)
    held = {claim: n for claim, n, _, _ in minimax.claims({"minimax": [stuck], "nonsaturating": [free]})}
    assert list(held.values()) == [2, 2, 2, 1, 1, 1, 0]
    held = {claim: n for claim, n, _, _ in minimax.claims({"minimax": [free], "nonsaturating": [stuck]})}
    assert list(held.values()) == [2, 2, 2, 0, 1, 0, 1]


@pytest.mark.parametrize("name", ["dirac", "minimax", "parzen"])
def test_committed_results_name_no_path_of_a_machine(name: str) -> None:
    text = (ROOT / "benchmarks" / "results" / f"reproduce_{name}.json").read_text()
    assert "/root" not in text and "/work" not in text and "/home" not in text


def test_checkpoints_are_told_apart_by_their_weights(run: Path, tmp_path: Path) -> None:
    rows = results(run, tmp_path / "result.json")["runs"]
    assert len({checkpoint["sha256"] for row in rows for checkpoint in row["checkpoints"]}) == 5  # one start


@pytest.mark.parametrize(
    ("part", "method"),
    [(part, method) for part in ("ring", "grid", "tries", "priors") for method in modes.methods(part)],
)
def test_every_method_plays_as_an_ensemble(part: str, method: str) -> None:
    turns, changes, seeds = modes.methods(part)[method]
    name = part if part in modes.OURS else "grid"
    recipe = modes.recipe(name, turns, changes, 0)
    assert recipe.steps == turns and turns * recipe.k <= 40_000  # a tenth of PacGAN's 400,000
    assert recipe.g_optimizer["lr"]["steps"] == recipe.d_optimizer["lr"]["steps"] == turns
    assert len(seeds) == (2 if part == "tries" else 10) or part == "priors"
    games, seconds = modes.played(name, modes.Method(2, {**changes, "compile": False}, range(2)))
    assert seconds > 0 and [game.step for game in games] == [2, 2]
    found = modes.judged(games[1], name, 500)
    assert 0 <= found["modes"] <= 25 and 0 <= found["high_quality"] <= 1 - found["between"] <= 1


@pytest.mark.parametrize("softness", [0.0, 0.5])
def test_of_the_way_between_modes_as_much_is_told_as_there_is(softness: float) -> None:
    def G(z: torch.Tensor) -> torch.Tensor:
        """From (-2, 0) to (2, 0), which are modes of the grid, on a part of the way from -1 to 1."""
        along = z[:, 0] / softness if softness else z[:, 0].sign()
        return torch.stack([2 * along.clamp(-1, 1), torch.zeros(len(z))], 1)

    ends = torch.tensor([[-1.0], [1.0]])[:, None]
    game: Any = SimpleNamespace(
        G=SimpleNamespace(average=G), latent=(1,), prior=lambda shape, *_: ends.expand(shape)
    )
    found = modes.on_the_way(game, "grid", lines=3, points=801)
    # of these 4 a length of 4 x 0.3 is within six standard deviations of the two or of the mode between them
    assert found == pytest.approx(softness * (1 - 4 * 0.3 / 4), abs=2e-3)


def test_a_result_that_is_not_there_is_named_unless_it_has_a_beginning(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    with refused(by=FileNotFoundError):
        parzen.ledger.read(path)
    assert parzen.ledger.read(path, {"runs": []}) == {"runs": []}
    parzen.ledger.write(path, {"runs": [1]})
    assert parzen.ledger.read(path, {"runs": []}) == parzen.ledger.read(path) == {"runs": [1]}


def test_a_method_that_is_not_there_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["modes.py", "ring", "--only", "oars"])
    with refused(by=SystemExit):
        modes.BENCHMARK.main()


def test_seeds_that_found_nothing_do_not_count_in_the_divergence() -> None:
    rows = [{"modes": m, "reverse_kl": kl} for m, kl in ((8, 0.1), (6, 0.3), (0, None))]
    found = modes.summary(rows)
    assert found["modes"] == pytest.approx([14 / 3, np.std([8, 6, 0], ddof=1) / 3**0.5], abs=1e-5)
    assert found["reverse_kl"] == pytest.approx([0.2, 0.1])


@pytest.mark.parametrize("name", duality_gap.READINGS)
def test_a_reading_that_ranks_as_the_truth_has_correlation_one(name: str) -> None:
    rng = np.random.default_rng(0)

    def game(order: Any) -> list[dict[str, Any]]:
        truth = rng.random(12)
        return [{"truth": x, **dict.fromkeys(duality_gap.READINGS, 0.0), name: order(x)} for x in truth]

    games = [game(lambda x: math.exp(5 * x)), game(lambda x: -(x**3)), game(math.sqrt), game(lambda x: 1.0)]
    found = duality_gap.correlations(games)
    low, high = student(0.25, float(np.std([1, -1, 1, 0], ddof=1)) / 2, 4)
    assert found[name]["games"] == [1.0, -1.0, 1.0, 0.0] and found[name]["mean"] == 0.25
    assert (found[name]["low"], found[name]["high"]) == (max(round(low, 3), -1.0), min(round(high, 3), 1.0))
    assert all(row["mean"] == 0.0 for other, row in found.items() if other != name)


def test_the_difference_of_two_settings_is_welch_s() -> None:
    from scipy import stats

    draw = np.random.default_rng(0)
    base, changed = draw.normal(0, 1, 10), draw.normal(1, 3, 7)
    wanted = stats.ttest_ind(changed, base, equal_var=False).confidence_interval()
    value, low, high = settings.difference([*base], [*changed])
    assert value == pytest.approx(changed.mean() - base.mean(), abs=1e-5)
    assert (low, high) == pytest.approx((wanted.low, wanted.high), abs=1e-5)


def test_only_an_interval_without_zero_is_told_as_a_difference() -> None:
    def variant(*values: float) -> dict[str, Any]:
        return {"seeds": [{"confidence": value, "class_kl": value} for value in values]}

    found = settings.differences(
        {
            "digits, as it is": variant(0.50, 0.51, 0.52),
            "bf16": variant(0.51, 0.50, 0.53),
            "k = 2": variant(0.81, 0.80, 0.83),
        }
    )
    assert {row["verdict"] for row in found["bf16"].values()} == {"no difference seen"}
    assert found["k = 2"]["confidence"]["verdict"] == "better"
    assert found["k = 2"]["class_kl"]["verdict"] == "worse"


def test_the_check_of_a_device_sees_the_same_game_and_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    device = script("device", SCRIPTS.parent)
    monkeypatch.setattr(device, "TURNS", 6)
    args = device.Namespace(seconds=0.1, only="ring", compile=False)
    device.measure(args)
    assert "'same': 0.0, 'resumed': 0.0" in capsys.readouterr().out
    monkeypatch.setattr(device, "resumed", lambda *_: 0.1)
    with pytest.raises(SystemExit) as end:
        device.measure(args)
    assert end.value.code != 0


def test_settings_are_played_and_judged_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    turns = {"digits": 2, "grid": 2}
    result = tmp_path / "r.json"
    for name, value in (("RESULT", result), ("SEEDS", range(2)), ("TURNS", turns)):
        monkeypatch.setattr(settings, name, value)
    args = Namespace(only=["digits, as it is", "k = 2", "grid, as it is"])
    settings.measure(args)
    variants = json.loads(result.read_text())["variants"]
    assert [[*row["seeds"][1]] for row in variants.values()] == [
        *[["frechet_distance", "class_kl", "confidence"]] * 2,
        ["modes", "high_quality"],
    ]
    first = result.read_text()
    settings.measure(args)
    assert result.read_text() == first and settings.lacks() == []
    monkeypatch.setitem(turns, "digits", 3)
    assert [lack.split(":")[0] for lack in settings.lacks()] == ["digits, as it is", "k = 2"]


def test_a_method_is_played_once_and_again_when_it_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result, plain = tmp_path / "r.json", {"compile": False, "objective": "nonsaturating"}
    monkeypatch.setattr(modes, "RESULT", result)
    args = Namespace(data=["ring"], only=None, threads=1)
    for turns in (2, 2, 3):
        before = result.read_text() if result.exists() else None
        monkeypatch.setattr(modes, "methods", lambda _, n=turns: {"GAN": modes.Method(n, plain, range(2))})
        assert before is None or len(modes.lacks()) == turns - 2
        modes.measure(args)
        assert modes.lacks() == [] and (result.read_text() == before) == (before is not None and turns == 2)
        assert json.loads(result.read_text())["ring"]["GAN"]["turns"] == turns


def test_a_digest_knows_what_a_partial_is_made_of_and_no_address() -> None:
    def density(x: float) -> float:
        return x

    whole, ledger = partial(density, x=1.0), parzen.ledger
    assert (
        ledger.digest(whole) == ledger.digest(density, {"x": 1.0}) != ledger.digest(partial(density, x=2.0))
    )
    rows = {"old": {"digest": "other"}, "older": {}, "new": {"digest": ledger.digest("new")}}
    assert [*ledger.standing(rows, ledger.digest)] == ["new"] and len(ledger.lapsed(rows, ledger.digest)) == 2
    for part in duality_gap.PARTS:
        assert duality_gap.digest(part) != duality_gap.digest("line") or part == "line"


def test_every_setting_differs_from_its_recipe_in_what_it_names() -> None:
    for name, (of, changes) in settings.VARIANTS.items():
        base, changed = (recipes.resolved(settings.recipe(of, what, 0)) for what in ({}, changes))
        differs = recipes.differences(base, changed)
        assert bool(differs) == bool(changes), name


# the optimum ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("G", "turns"), [(lambda z: z**3 + z, 0), (torch.abs, 1), (torch.sin, 2)])
def test_where_g_turns_back_is_counted(G: Any, turns: int) -> None:
    assert optimum.folds(G) == turns


def test_over_squares_the_points_of_a_density_are_at_no_distance_and_far_ones_at_the_greatest() -> None:
    p = optimum.SETTINGS[optimum.PLANE].density()
    points = p.sample(1_000_000, torch.Generator().manual_seed(0))
    assert 0 < optimum.by_squares(p, points) < 3e-3  # a few thousand squares, each with its chance
    assert optimum.by_squares(p, points + 50) == pytest.approx(math.log(2), abs=1e-6)
    half = torch.cat([points[::2], points[::2] + 50])  # JSD of p and of half of it
    assert optimum.by_squares(p, half) == pytest.approx(0.75 * math.log(4 / 3), abs=3e-3)


def test_a_setting_is_played_once_and_again_when_it_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = {
        name: replace(optimum.SETTINGS[name], turns=2, width=4) for name in (optimum.AS_IT_IS, optimum.PLANE)
    }
    for name, value in (
        ("RESULT", tmp_path / "r.json"),
        ("SETTINGS", tiny),
        ("SEEDS", range(2)),
        ("N", 1_000),
    ):
        monkeypatch.setattr(optimum, name, value)
    args = Namespace(only="*")
    optimum.measure(args)
    first = (tmp_path / "r.json").read_text()
    optimum.measure(args)
    assert (tmp_path / "r.json").read_text() == first and optimum.lacks() == []
    line, plane = optimum.optimum().splitlines()[2:]
    assert line.startswith("| line, as it is | 2 |") and "|  |  |  |" in plane
    for row in json.loads(first)["settings"][optimum.AS_IT_IS]["seeds"]:
        assert row["value"] / 2 <= row["jsd of G"] + row["error of jsd"] and 0 < row["jsd"] <= math.log(2)
    monkeypatch.setitem(tiny, optimum.PLANE, replace(tiny[optimum.PLANE], batch=8))
    assert len(optimum.lacks()) == 1
    optimum.measure(args)
    assert optimum.lacks() == [] and (tmp_path / "r.json").read_text() != first
