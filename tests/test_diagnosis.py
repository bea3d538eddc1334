"""Laws of the diagnosis: each fault in its smallest history, none in a healthy one, no history breaks it."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from zerosum import Game, data, objectives, optimizers, penalties, schedules
from zerosum.recipe import Recipe, build_game, changed, value
from zerosum.watch import instruments, read
from zerosum.watch.diagnosis import FAULTS, STATES, Advice, Facts, Finding, diagnose, facts
from zerosum.watch.history import DEPTH

ADAM = {"name": "adam", "lr": 1e-3, "betas": [0.5, 0.999]}
GAME = Facts(optimizers={"d": ADAM, "g": ADAM}, size={"d": 10.0, "g": 10.0}, modes=8, batch=64)
EVERY_FAULT = pytest.mark.parametrize("name", FAULTS)


def history(steps: int = 3000, **curves: Any) -> list[dict[str, Any]]:
    """A healthy game of 2014, which has found its data at step 600; each curve is a number or f(step)."""

    def rise(s: int) -> float:
        return 0.95 * min(s / 600, 1.0)

    healthy: dict[str, Any] = {
        "d_loss": lambda s: math.log(4) - 0.4 * (1 - rise(s)) + 0.01 * math.sin(s * s),
        "g_loss": lambda s: math.log(2) + 0.02 * math.cos(s * s),
        "d_real": 0.52,
        "d_fake": 0.48,
        "accuracy": 0.55,
        "accuracy_train": 0.55,
        "accuracy_held": 0.55,
        "overfit_ratio": 0.02,
        "saturation": 1.1,
        "d_gradient": 0.05,
        "g_gradient": 0.02,
        "d_gradient_share": 0.005,
        "g_gradient_share": 0.002,
        "d_update": 0.1,
        "g_update": 0.1,
        "d_update_share": 0.01,
        "g_update_share": 0.01,
        "d_weights": 10.0,
        "g_weights": 10.0,
        "spread": rise,
        "coverage": rise,
        "precision": rise,
        "high_quality": rise,
        "distance": lambda s: 0.003 + 0.5 * math.exp(-s / 150),
        "intervals": {"distance": [-0.003, 0.003]},
        "duplicates": 0.01,
        "modes_covered": lambda s: round(8 * rise(s) / 0.95),
        "output_low": -1.0,
        "output_high": 1.0,
        "divergence_bound": 0.01,
    }
    return [
        {"step": s} | {k: c(s) if callable(c) else c for k, c in {**healthy, **curves}.items()}
        for s in range(0, steps, 50)
    ]


# samples that are bad, and do not get better
STUCK: dict[str, Any] = {
    "distance": 0.3,
    "coverage": 0.1,
    "precision": 0.1,
    "high_quality": 0.1,
    "modes_covered": 8,
    "spread": 1.0,
}


def flown(x: float) -> Any:
    """Samples within the data at first, then as far as x."""
    return lambda s: x if s else 1.0


# each fault: facts and curves that show it, and one curve with values ever further from health
CASES: dict[str, tuple[Facts, dict[str, Any], tuple[str, list[Any]]]] = {
    "non-finite values": (GAME, {"d_loss": math.nan}, ("g_loss", [math.nan, math.inf])),
    "range mismatch": (
        replace(GAME, output=(-1.0, 1.0), low=0.0, high=1.0, image=True),
        {},
        ("output_outside", [0.0, 0.1, 0.5]),
    ),
    "batch too small for batch norm": (
        replace(GAME, batch=4, batch_norm=("G",)),
        {},
        ("accuracy", [0.5, 0.6]),
    ),
    "learning rate too high": (GAME, {**STUCK, "d_update": 2.0}, ("d_update", [1.1, 3.0, 9.0])),
    "dead player": (GAME, {**STUCK, "g_gradient_share": 0.0}, ("g_gradient_share", [1e-8, 1e-12, 0.0])),
    "learning rate too low": (
        GAME,
        {**STUCK, "g_update_share": 1e-6, "g_update": 1e-5},
        ("g_update_share", [2e-5, 1e-5, 3e-6, 1e-7]),
    ),
    "divergence": (
        GAME,
        {"output_high": flown(1000.0)},
        ("output_high", [flown(x) for x in (12.0, 20.0, 100.0, 1e9)]),
    ),
    "minimax saturation": (
        replace(GAME, saturates=True),
        {**STUCK, "d_fake": 0.01},
        ("d_fake", [0.14, 0.1, 0.01, 1e-6]),
    ),
    "discriminator overfitting": (
        replace(GAME, examples=100.0, modes=0),
        {**STUCK, "overfit_ratio": 0.8, "accuracy_train": 0.9},
        ("overfit_ratio", [0.3, 0.5, 0.9, 1.0]),
    ),
    "generator too strong": (GAME, {**STUCK, "d_loss": 1.4}, ("d_loss", [1.26, 1.3, 1.38, 1.4])),
    "discriminator too strong": (GAME, {**STUCK, "d_loss": 0.01}, ("d_loss", [0.3, 0.2, 0.1, 0.0])),
    "oscillation": (
        GAME,
        {**STUCK, "g_loss": lambda s: 0.7 + 0.3 * math.sin(s / 60)},
        ("accuracy", [0.55, 0.6]),
    ),
    "mode collapse": (
        GAME,
        {**STUCK, "spread": 0.05, "duplicates": 1.0, "modes_covered": 1, "d_loss": 1.0},
        ("modes_covered", [2, 1, 0]),
    ),
    "partial mode dropping": (
        GAME,
        {"modes_covered": lambda s: min(s // 100, 5), "coverage": 0.5, "distance": 0.06, "d_loss": 1.2},
        ("modes_covered", [7, 6, 4, 3]),
    ),
}
AT_ONCE = {
    *("non-finite values", "range mismatch", "batch too small for batch norm", "divergence", "dead player"),
}
"""What is a fault whether the samples get better or not."""


OF_SAMPLES = {"generator too strong", "mode collapse", "partial mode dropping"}
"""What is said for the first time when the samples suffer."""


def names(findings: Iterable[Finding]) -> list[str]:
    return [finding.name for finding in findings]


# every fault ------------------------------------------------------------------------------------------------


def test_every_fault_has_its_case() -> None:
    assert CASES.keys() == FAULTS.keys()


@EVERY_FAULT
def test_the_smallest_history_of_a_fault_is_named_first(name: str) -> None:
    game, curves, _ = CASES[name]
    assert names(diagnose(history(**curves), game))[0] == name


@pytest.mark.parametrize("name", sorted(set(FAULTS) - AT_ONCE))
def test_while_the_samples_get_better_it_is_a_note_without_advice(name: str) -> None:
    """Untrained is no fault."""
    game, curves, _ = CASES[name]
    ways = [{"distance": lambda s: math.exp(-s / 1000)}, {"coverage": lambda s: 0.05 + s / 6000}]
    for better in ways[: 1 if name == "oscillation" else 2]:  # what swings is to come nearer
        findings = diagnose(history(**{**curves, **better}), game)
        assert not [f for f in findings if f.level != "note" or f.advice]
        assert findings[0].name in STATES
        assert (name in names(findings)) == (name not in OF_SAMPLES)


@pytest.mark.parametrize("name", sorted(set(FAULTS) - AT_ONCE - {"partial mode dropping"}))
def test_samples_that_were_better_before_are_a_fault_at_once(name: str) -> None:
    game, curves, _ = CASES[name]
    spoilt = {"distance": lambda s: 0.01 if s < 2700 else 0.3}
    assert names(f for f in diagnose(history(**{**curves, **spoilt}), game) if f.fault)[0] == name


def test_a_d_that_knows_its_data_is_a_note_until_the_samples_suffer() -> None:
    game = replace(GAME, examples=100.0, modes=0)
    knows = {"overfit_ratio": 0.8, "accuracy_train": 0.9}

    def level(**curves: Any) -> str:
        findings = diagnose(history(**knows, **curves), game)
        return next(f.level for f in findings if f.name == "discriminator overfitting")

    assert level() == "note"
    assert level(distance=lambda s: 0.01 if s < 2700 else 0.3) == "warning"
    assert level(distance=lambda s: 0.01 if s < 2700 else 0.3, coverage=0.2) == "fault"


def test_only_the_newest_records_are_looked_at() -> None:
    old = {"event": "fault", "name": "non-finite", "term": "d_loss", "step": 0}
    new = history(steps=50 * DEPTH)
    assert "non-finite values" not in names(diagnose([old, *new], GAME))
    assert "non-finite values" in names(diagnose([old, *new[1:]], GAME))


@EVERY_FAULT
def test_a_finding_explains_itself_in_words_that_name_curves_and_fields(name: str) -> None:
    game, curves, _ = CASES[name]
    records = history(**curves)
    finding = diagnose(records, game)[0]
    assert finding.fault and finding.evidence and finding.advice
    assert 0 <= finding.since <= records[-1]["step"]
    text = str(finding)
    assert finding.name in text and not any("\n" in str(evidence) for evidence in finding.evidence)
    assert all(advice.option in text for advice in finding.advice)
    known = set(Recipe.__dataclass_fields__)
    assert all(advice.field.split(".")[0] in known for advice in finding.advice)
    json.dumps([advice.value for advice in finding.advice])  # a recipe can be written with it
    for advice in finding.advice:  # as it is pasted into a shell
        words = shlex.split(advice.option)
        assert {n: value(x) for n, x in zip(words[::2], words[1::2], strict=True)} == {
            f"--{field}": x for field, x in advice.fields.items()
        }
    if name not in ("range mismatch", "batch too small for batch norm"):
        assert finding.curves and set(finding.curves) <= set(records[0])
    plain = json.loads(json.dumps(finding.as_dict(), allow_nan=False))
    assert plain.keys() == {"name", "level", "since", "confidence", "evidence", "advice"}
    for evidence in plain["evidence"]:
        assert evidence.keys() == {"quantity", "value", "limit", "curves", "others", "sentence"}


@EVERY_FAULT
def test_confidence_rises_with_the_evidence(name: str) -> None:
    game, curves, (curve, values) = CASES[name]
    found = [
        next(f for f in diagnose(history(**{**curves, curve: x}), game) if f.name == name).confidence
        for x in values
    ]
    assert found == sorted(found) and all(0.5 <= c <= 1 for c in found)


@EVERY_FAULT
def test_a_fault_is_given_as_of_the_last_record_not_of_the_past(name: str) -> None:
    """A game that has recovered has no fault; but what its facts forbid, or nan, does not pass."""
    if name in ("non-finite values", "range mismatch", "batch too small for batch norm"):
        return
    game, curves, _ = CASES[name]
    ill = history(1500, **curves)
    well = [{**r, "step": r["step"] + 1500} for r in history(4500)[12:]]
    assert not any(f.fault for f in diagnose(ill + well, game))


@pytest.mark.parametrize("name", sorted(set(FAULTS) - {"range mismatch", "batch too small for batch norm"}))
def test_no_fault_is_named_in_the_first_turns(name: str) -> None:
    game, curves, _ = CASES[name]
    early = [f for f in diagnose(history(50, **curves), game) if f.fault]
    assert names(early) == (["non-finite values"] if name == "non-finite values" else [])


# no fault ---------------------------------------------------------------------------------------------------

GAMES = {
    "logistic": GAME,
    "saturating": replace(GAME, saturates=True),
    "images": replace(GAME, modes=0, examples=1500.0, output=(-1.0, 1.0), image=True),
    "one mode": replace(GAME, modes=1),
    "batch norm": replace(GAME, batch_norm=("D", "G")),
}


@pytest.mark.parametrize("game", GAMES.values(), ids=GAMES)
def test_a_healthy_history_shows_no_fault_at_any_time(game: Facts) -> None:
    records = history()
    for n in range(len(records) + 1):
        assert not [f for f in diagnose(records[:n], game) if f.fault]


def test_states_tell_a_game_on_its_way_from_one_that_is_there_and_one_that_stands() -> None:
    def state(**curves: Any) -> list[str]:
        return names(diagnose(history(**curves), GAME))

    better = {"distance": lambda s: math.exp(-s / 1000)}
    assert state() == ["at equilibrium"]
    assert state(**better, coverage=0.3, d_loss=1.2) == ["learning"]
    assert state(**better, coverage=0.7) == ["converging"]
    assert state(coverage=0.7) == ["no longer improving"]
    narrower = state(coverage=lambda s: 0.6 + s / 12_000, distance=0.01)  # which comes last
    assert narrower == ["converging"]
    falling = [{**r, "sample_distance": 1 / (1 + r["step"])} for r in history(**STUCK)]
    assert names(diagnose(falling, GAME))[-1] == "no longer improving"  # as the fault beside it says
    assert {*STATES} == {"learning", "converging", "at equilibrium", "no longer improving"}


def test_of_the_first_blobs_nobody_says_that_they_converge() -> None:
    first = [
        {"step": s, "coverage": 0.7, "spread": 1.0, "distance": 0.1, "g_update_share": 0.01} for s in (1, 200)
    ]
    assert names(diagnose(first[:1], GAME)) == names(diagnose(first, GAME)) == ["learning"]


def test_how_long_samples_may_stand_still_is_told_by_the_clock_of_G_and_by_what_is_planned() -> None:
    """A G that takes 500 turns to become another is not stuck after 700; a slower one gets no more."""

    def named(steps: int, planned: int = 0, **curves: Any) -> bool:
        found = diagnose(history(steps, **{**STUCK, "d_loss": 0.01, **curves}), replace(GAME, turns=planned))
        return any(f.name == "discriminator too strong" and f.fault for f in found)

    slow: dict[str, Any] = {"g_update_share": 2e-3}
    assert named(700) and not named(700, **slow) and named(1500, **slow)
    assert named(1500, g_update_share=1e-4)
    assert named(1500, planned=20_000) and not named(1500, planned=100_000)


def test_moves_that_were_too_large_are_named_before_the_dead_player_that_they_left() -> None:
    """Two readings before the standstill are enough, however long ago; weights were large for their time."""

    def stops(x: float) -> Any:
        return lambda s: x if s < 400 else 0.0

    moves = {"d_update": stops(0.8), "d_update_share": stops(0.03), "g_gradient_share": stops(0.01)}
    stopped = {**STUCK, **moves, "g_update": 0.0}
    for weights, first in ((30.0, "learning rate too high"), (15.0, "dead player")):
        found = diagnose(history(6000, **stopped, d_weights=weights), GAME)
        assert found[0].name == first and found[0].fault and "dead player" in names(found)


def test_clean_samples_of_noisy_data_are_alike_and_cover_little_and_yet_are_no_fault() -> None:
    """They are told from the data by no distance."""
    clean: dict[str, Any] = {"coverage": 0.2, "duplicates": 0.95, "precision": 0.6, "spread": 0.97}
    nameless = replace(GAME, modes=0)
    curves = {**clean, "modes_covered": 0, "high_quality": math.nan}
    assert not [f for f in diagnose(history(**curves, distance=0.02), nameless) if f.fault]
    apart = diagnose(history(**curves, distance=0.2), nameless)
    assert [f.name for f in apart if f.fault] == ["mode collapse", "partial mode dropping"]


# any history ------------------------------------------------------------------------------------------------


def test_data_that_lie_far_from_where_G_begins_are_no_divergence() -> None:
    far = replace(GAME, low=100.0, high=101.0)
    approaching = history(
        output_low=lambda s: min(s / 20, 100.0), output_high=lambda s: min(s / 20 + 1, 101.0)
    )
    assert not [f for n in range(len(approaching)) for f in diagnose(approaching[:n], far) if f.fault]


def test_an_empty_history_says_nothing() -> None:
    assert diagnose([], GAME) == []
    assert diagnose([], Facts()) == []


@EVERY_FAULT
@pytest.mark.parametrize("missing", list(history(50)[0]))
def test_a_missing_reading_breaks_nothing(name: str, missing: str) -> None:
    game, curves, _ = CASES[name]
    records = [{k: v for k, v in r.items() if k != missing} for r in history(**curves)]
    assert len(diagnose(records, game)) <= len(FAULTS) + 1


@EVERY_FAULT
def test_readings_on_slow_clocks_are_enough(name: str) -> None:
    """Instruments look at their own times: here each at every fourth record, no two readings together
    but those of one instrument."""
    game, curves, _ = CASES[name]
    groups = [
        ("d_loss", "g_loss", "d_real", "d_fake", "accuracy"),
        ("spread", "coverage", "duplicates", "precision", "distance", "intervals"),
        ("d_update", "g_update", "d_update_share", "g_update_share", "d_weights", "g_weights"),
        ("overfit_ratio", "accuracy_train", "accuracy_held"),
    ]
    group_of = {reading: i for i, group in enumerate(groups) for reading in group}
    records = history(12_000, **curves)
    thin = [
        {k: v for k, v in r.items() if k == "step" or group_of.get(k, 0) == i % 4}
        for i, r in enumerate(records)
    ]
    if name == "oscillation":
        return  # a curve is needed at a clock that its period is long beside
    assert name in names(diagnose(thin, game))


def test_unknown_keys_texts_and_intervals_are_ignored() -> None:
    records = [
        {**r, "about": "x", "intervals": {**r["intervals"], "coverage": [0, 1]}, "mine": math.nan, "n": None}
        for r in history()
    ]
    assert names(diagnose(records, GAME)) == ["at equilibrium"]


def test_nothing_is_known_of_the_game_but_its_curves() -> None:
    assert not any(f.fault for f in diagnose(history(), Facts()))


def test_an_event_of_a_loss_that_is_no_number_is_a_finding() -> None:
    event = {"event": "fault", "name": "non-finite", "step": 2999, "term": "r1"}
    (finding, *_) = diagnose([*history(), event], GAME)
    assert (finding.name, finding.since) == ("non-finite values", 2999) and "r1" in str(finding.evidence[0])


def test_infinite_saturation_is_no_broken_loss() -> None:
    assert "non-finite values" not in names(diagnose(history(saturation=math.inf), GAME))


def test_the_records_are_left_as_they_are() -> None:
    records = history()
    before = json.dumps(records)
    diagnose(records, GAME)
    assert json.dumps(records) == before


# facts ------------------------------------------------------------------------------------------------------


def game_of(objective: Any = None, output: Any = nn.Identity, **options: Any) -> Game:
    G = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2), output())
    D = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1), nn.Flatten(0))
    return Game(G, D, objective or objectives.nonsaturating(), latent=4, **options)


@pytest.mark.parametrize(
    ("objective", "saturates"),
    [
        (objectives.minimax(), True),
        (objectives.f_divergence("jensen_shannon", saturating=True), True),
        (objectives.nonsaturating(), False),
        (objectives.nonsaturating(label_smoothing=0.1), False),
        (objectives.least_squares(), False),
        (objectives.wasserstein(), False),
        (objectives.hinge(), False),
        (objectives.relativistic_pairing(), False),
        (objectives.relativistic_average(), False),
        (objectives.f_divergence("kl"), False),
    ],
)
def test_which_losses_of_G_saturate(objective: Any, saturates: bool) -> None:
    assert facts(game_of(objective), data.ring()).saturates is saturates


@pytest.mark.parametrize(
    ("output", "bound"),
    [
        (nn.Identity, None),
        (nn.Tanh, (-1.0, 1.0)),
        (nn.Sigmoid, (0.0, 1.0)),
        (nn.ReLU, (0.0, math.inf)),
        (lambda: nn.Hardtanh(-2.0, 3.0), (-2.0, 3.0)),
        (lambda: nn.LeakyReLU(0.2), None),
    ],
)
def test_the_range_of_the_last_activation(output: Any, bound: Any) -> None:
    assert facts(game_of(output=output), data.ring()).output == pytest.approx(bound)


def test_facts_of_a_game() -> None:
    fall = schedules.ramp(4.0, 1.0, steps=10)
    made = facts(
        game_of(
            penalties=[penalties.r1(weight=fall, every=4)],
            optimizers=(
                optimizers.adam(1e-3, (0.0, 0.9)),
                optimizers.scheduled(optimizers.sgd(0.1, 0.5), lr=0.2),
            ),
            batch=32,
            accumulate=4,
            k=3,
        ),
        data.ring(modes=5),
    )
    assert made.optimizers == {
        "g": {"name": "adam", "lr": 1e-3, "betas": [0.0, 0.9]},
        "d": {"name": "sgd", "lr": 0.1, "momentum": 0.5},
    }
    assert made.plain == ("g",) and made.penalties == ({"name": "r1", "weight": 4.0, "every": 4},)
    assert (made.batch, made.k, made.modes, made.examples) == (8, 3, 5, math.inf)
    assert not made.critic and made.equilibrium == pytest.approx(math.log(4))
    assert -1.1 < made.low < -0.9 < 0.9 < made.high < 1.1


def test_facts_of_images_and_batch_norm() -> None:
    G = nn.Sequential(nn.Linear(4, 64), nn.BatchNorm1d(64), nn.Tanh(), nn.Unflatten(1, (1, 8, 8)), nn.Tanh())
    D = nn.Sequential(nn.Flatten(), nn.Linear(64, 1), nn.Flatten(0))
    made = facts(Game(G, D, objectives.hinge(), latent=4, batch=4), data.digits(low=0.0))
    assert (made.low, made.high, made.image, made.examples) == (0.0, 1.0, True, 1500)
    assert made.batch_norm == ("G",) and made.critic and made.output == (-1.0, 1.0)
    first, second, *_ = diagnose([{"step": 0}], made)
    assert (first.name, second.name) == ("range mismatch", "batch too small for batch norm")
    assert first.advice[0] == Advice("G.output", "Sigmoid", first.advice[0].why)


def test_looking_at_the_facts_changes_nothing() -> None:
    game = game_of(penalties=[penalties.lecam()])
    before = [t.clone() for p in (game.G, game.D) for t in p.network.state_dict().values()]
    state = torch.get_rng_state()
    facts(game, data.ring())
    after = [t for p in (game.G, game.D) for t in p.network.state_dict().values()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert torch.equal(torch.get_rng_state(), state)


# advice -----------------------------------------------------------------------------------------------------


def advice_of(name: str, field: str, game: Facts) -> Any:
    _, curves, _ = CASES[name]
    finding = next(f for f in diagnose(history(**curves), game) if f.name == name)
    return next(a.value for a in finding.advice if a.field == field)


def test_a_scheduled_rate_is_advised_as_a_whole_optimizer() -> None:
    assert advice_of("learning rate too high", "d_optimizer.lr", GAME) < 1e-3
    constant = advice_of("learning rate too high", "d_optimizer", replace(GAME, plain=("g",)))
    assert constant["name"] == "adam" and constant["lr"] < 1e-3


def rates(d: float, g: float, **facts: Any) -> Facts:
    return replace(GAME, optimizers={"d": {**ADAM, "lr": d}, "g": {**ADAM, "lr": g}}, **facts)


def first_advice(name: str, game: Facts, **curves: Any) -> dict[str, Any]:
    found = diagnose(history(**{**CASES[name][1], **curves}), game)
    return next(f for f in found if f.name == name).advice[0].fields


BOTH = {"d_optimizer.lr": 1e-3, "g_optimizer.lr": 1e-3}


@pytest.mark.parametrize(
    ("name", "game", "fields"),
    [
        ("learning rate too high", rates(0.2, 0.2), BOTH),
        ("learning rate too high", rates(0.2, 1e-3), {"d_optimizer.lr": 1e-3}),
        ("non-finite values", rates(0.3, 0.3), BOTH),
        ("non-finite values", rates(1e-3, 5e-4), {"d_optimizer.lr": 1e-4, "g_optimizer.lr": 5e-5}),
        ("discriminator too strong", rates(5e-3, 1e-4, k=3), {**BOTH, "k": 1}),
        ("discriminator too strong", rates(5e-4, 1e-4), {"d_optimizer.lr": 5e-4, "g_optimizer.lr": 5e-4}),
        ("minimax saturation", rates(1e-3, 1e-3, saturates=True), {"objective": "nonsaturating"}),
        (
            "minimax saturation",
            rates(3e-3, 1e-4, saturates=True),
            {"objective": "nonsaturating", **BOTH},
        ),
        ("generator too strong", rates(1e-3, 0.2), {"g_optimizer.lr": 1e-3}),
        ("generator too strong", rates(1e-5, 4e-3), {"d_optimizer.lr": 4e-3}),
        ("divergence", replace(GAME, linear=True), {"D.depth": 2}),
        ("oscillation", replace(GAME, linear=True), {"D.depth": 2}),
        (
            "divergence",
            rates(1e-4, 2e-3, linear=True, critic=True, equilibrium=0.0),
            {
                "D.depth": 2,
                "penalties": [{"name": "wgan_gp", "weight": 1.0}],
                "k": 5,
                "d_optimizer.lr": 2e-3,
            },
        ),
    ],
)
def test_what_one_would_do_first_is_advised_first_and_all_that_it_takes(
    name: str, game: Facts, fields: dict[str, Any]
) -> None:
    assert first_advice(name, game) == fields


@EVERY_FAULT
def test_an_advice_is_a_number_however_early_it_is_given(name: str) -> None:
    """Also while the first units of time last, in which no reading counts but those of the fault."""
    game, curves, _ = CASES[name]
    slow = {"d_update_share": 1e-5, "g_update_share": 1e-5}
    said = [f for n in range(8, 30, 7) for f in diagnose(history(3000, **{**slow, **curves})[:n], game)]
    assert "nan" not in " ".join(str(advice) for f in said for advice in f.advice)


def test_what_is_in_order_is_no_part_of_an_advice() -> None:
    assert first_advice("discriminator too strong", rates(1e-3, 1e-3)).keys() == {"penalties"}
    assert (
        first_advice("divergence", GAME).keys() == first_advice("oscillation", GAME).keys() == {"penalties"}
    )
    slow = {"g_update_share": 1e-6}
    assert first_advice("learning rate too low", GAME, **slow).keys() == {"g_optimizer.lr"}
    both = first_advice("learning rate too low", GAME, **slow, d_update_share=1e-6)
    assert both.keys() == {"g_optimizer.lr", "d_optimizer.lr"} and min(both.values()) > 1e-3


def test_a_linear_d_is_known_by_what_it_says() -> None:
    for depth, linear in ((0, True), (1, False)):
        D = {"name": "mlp", "width": 8, "depth": depth}
        game = build_game(Recipe(data="ring", G={**D, "depth": 1}, D=D, batch=8), (2,))
        assert facts(game, data.ring()).linear is linear


def test_r1_stands_beside_other_penalties_and_grows_where_it_is_there() -> None:
    other = {"name": "r2", "weight": 3.0, "every": 1}
    cases = ((True, 1.0, 0.0, 1.0), (True, 1.0, 2.0, 20.0), (False, 1.0, 0.0, 0.1), (False, 4.0, 0.0, 2.0))
    for image, end, have, wanted in cases:
        mine = [{"name": "r1", "weight": have, "every": 1}] * bool(have)
        game = replace(GAME, penalties=(other, *mine), image=image, low=-end, high=end)
        found = advice_of("discriminator too strong", "penalties", game)
        assert found[0] == other and found[1]["name"] == "r1" and found[1]["weight"] == wanted


def test_the_options_of_a_network_within_another_are_advised_where_the_recipe_has_them() -> None:
    inner = {"name": "mlp", "width": 8, "depth": 1, "output": "Tanh"}
    packed = {"name": "packed", "network": inner, "m": 2}
    around = {"name": "augmented", "network": packed, "augment": {"name": "diffaugment"}}
    source = data.digits()
    for D, place in ((inner, "D"), (packed, "D.network"), (around, "D.network.network")):
        recipe = Recipe(data="digits", G={**inner, "width": 9}, D=D, batch=8)
        game = facts(build_game(recipe, source.shape), source)
        assert game.places == {"D": place, "G": "G"} and game.d_output == game.output == (-1.0, 1.0)
        game = replace(game, equilibrium=math.log(4), batch_norm=("D", "G"))
        for name in ("discriminator overfitting", "dead player", "batch too small for batch norm"):
            curves = CASES[name][1]
            advice = next(f for f in diagnose(history(**curves), game) if f.name == name).advice
            mine = [a.field for a in advice if a.field.startswith("D.")]
            assert mine and all(field.rpartition(".")[0] == place for field in mine)
        wanted = changed(recipe, {f"{place}.width": 32})
        assert build_game(wanted, source.shape).D.network.state_dict().keys()


def test_a_real_game_is_watched_and_judged() -> None:
    """From play to words, with the standard instruments and records as a run writes them."""
    source = data.digits(low=0.0)
    G = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Unflatten(1, (1, 8, 8)), nn.Tanh())
    D = nn.Sequential(nn.Flatten(), nn.Linear(64, 1), nn.Flatten(0))
    game = Game(G, D, objectives.nonsaturating(), latent=4, batch=16)
    watch = instruments.standard(game, source)
    records = [
        {"step": turn.step} | {r.name: r.value for r in read(watch, game, turn)}
        for turn in game.play(source, 26)
    ]
    assert names(diagnose(records, facts(game, source)))[0] == "range mismatch"
