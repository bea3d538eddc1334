"""Recipes are data: what is printed loads back equal; what cannot be is told in one line naming the field."""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn

from zerosum import penalties
from zerosum import recipe as recipes
from zerosum.randomness import key
from zerosum.recipe import Recipe, RecipeError, components

PRESETS = {name: recipes.load(name) for name in recipes.presets()}
each_preset = pytest.mark.parametrize("name", PRESETS)
SMALL = {"name": "mlp", "width": 4, "depth": 1}
BOMB = "a: &a [1]\n" + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in pairwise("abcdefghij"))
"""A YAML of ten short lines that unfolds to 9^9 values."""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory from which modules can be imported, called as no other test's are."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]


def refused(name: str, overrides: dict[str, Any] | None = None) -> str:
    """The one line with which a recipe is refused, when it is read or when it is built."""
    with pytest.raises(RecipeError) as caught:
        recipe = recipes.load(name, overrides)
        source = recipes.build_source(recipe)
        recipes.build_game(recipe, source.shape, classes=source.classes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def made(recipe: Recipe, source: Any) -> Any:
    mean = source.batch(0, 8)[0].mean(0) if recipe.centre else None
    return recipes.build_game(recipe, source.shape, mean, classes=source.classes)


def two_turns(recipe: Recipe) -> list[Any]:
    source = recipes.build_source(recipe)
    return list(made(recipe, source).play(source, steps=2))


# presets --------------------------------------------------------------------------------------------------


@each_preset
def test_what_is_printed_loads_back_equal(name: str, tmp_path: Path) -> None:
    recipe = recipes.load(name)
    (tmp_path / "other.yaml").write_text(recipes.dump(recipe))
    again = recipes.load(str(tmp_path / "other.yaml"))
    assert recipes.resolved(again) == recipes.resolved(recipe)
    assert recipes.dump(again) == recipes.dump(recipe)
    assert list(yaml.safe_load(recipes.dump(recipe))) == [f.name for f in fields(Recipe)]


@each_preset
def test_every_preset_builds_plays_two_turns_and_resumes_exactly(name: str) -> None:
    if "mnist" in recipes.name_of(PRESETS[name].data) and "ZEROSUM_DATA" not in os.environ:
        pytest.skip("MNIST is not downloaded in tests: set ZEROSUM_DATA to a folder with mnist/")
    yours = {"data": "digits"} if recipes.name_of(PRESETS[name].data) == "image_folder" else {}
    recipe = recipes.load(name, yours)
    source = recipes.build_source(recipe)
    whole, first, second = (made(recipe, source) for _ in range(3))
    turns = list(whole.play(source, steps=2))
    assert [turn.step for turn in turns] == [0, 1]
    assert all(torch.isfinite(turn.d_loss) and torch.isfinite(turn.g_loss) for turn in turns)
    list(first.play(source, steps=1))
    second.load_state_dict(first.state_dict())
    list(second.play(source, steps=1))
    ends = [[v for _, v in recipes.leaves(game.state_dict())] for game in (whole, second)]
    assert all(a.equal(b) if isinstance(a, torch.Tensor) else a == b for a, b in zip(*ends, strict=True))


@pytest.mark.parametrize("name", ["photos", "photos-conditional"])
def test_what_is_for_your_images_asks_for_them(name: str) -> None:
    for given in ({}, {"data.size": 32}):
        assert refused(name, given) == "data: your images are needed: give a folder of them, --data FOLDER"
        assert recipes.resolved(recipes.load(name, given))["data"]["path"] is None


@each_preset
def test_every_preset_has_a_size_for_an_accelerator_that_loads(name: str) -> None:
    larger = recipes.load(name, {"scale": "gpu"})
    assert larger.scale == "gpu"
    if name.startswith("photos"):
        assert recipes.differences(recipes.resolved(recipes.load(name)), recipes.resolved(larger))
        assert recipes.load(name, {"scale": "gpu", "batch": 3}).batch == 3


@each_preset
def test_every_preset_says_what_it_is_for(name: str) -> None:
    assert PRESETS[name].about == recipes.presets()[name] != ""


def test_loading_leaves_a_preset_as_it_is() -> None:
    recipes.load("grid", {"G.width": 7, "penalties.0.weight": 3.0, "d_optimizer.base.lr": 1.0})
    assert recipes.load("grid") == PRESETS["grid"]


def test_the_seed_decides_the_first_weights_and_torch_is_left_alone() -> None:
    recipe = Recipe(latent=2, G=SMALL, D=SMALL)

    def weights(seed: int) -> torch.Tensor:
        return torch.cat(
            [p.flatten() for p in recipes.build_game(replace(recipe, seed=seed), (2,)).G.parameters]
        )

    before = torch.random.get_rng_state()
    first = weights(0)
    torch.rand(5)
    assert torch.equal(first, weights(0)) and not torch.equal(first, weights(1))
    torch.random.set_rng_state(before)
    weights(3)
    assert torch.equal(before, torch.random.get_rng_state())


# fields and parts -----------------------------------------------------------------------------------------


def test_dotted_paths_set_fields_parts_and_items() -> None:
    recipe = recipes.load(
        "digits",
        {
            "G.width": 9,
            "D.activation.negative_slope": 0.3,
            "penalties.0.weight": 2.5,
        },
    )
    assert {**PRESETS["digits"].G, "width": 9} == recipe.G
    assert {**PRESETS["digits"].D, "activation": {"name": "LeakyReLU", "negative_slope": 0.3}} == recipe.D
    assert [p["weight"] for p in recipe.penalties if isinstance(p, dict)] == [2.5]
    assert recipes.load("ring", {"objective.label_smoothing": 0.1}).objective == {
        "name": PRESETS["ring"].objective,
        "label_smoothing": 0.1,
    }


def test_every_default_of_a_part_is_written_out() -> None:
    full = recipes.resolved(
        Recipe(penalties=("dragan",), g_optimizer={"name": "lookahead_minmax", "base": "adam"})
    )
    assert full["penalties"] == [{"name": "dragan", "weight": 10.0, "every": 1, "spread": 0.5}]
    assert full["g_optimizer"]["every"] == 5 and full["g_optimizer"]["base"]["betas"] == [0.5, 0.999]
    assert full["G"]["activation"] == "ReLU" and full["prior"] == "normal"


@pytest.mark.parametrize(
    "changes",
    [
        {"prior": {"name": "uniform"}},
        {"prior": {"name": "mixture", "std": 0.25}},
        {"G": {"name": "mlp", "norm": {"name": "BatchNorm1d", "momentum": 0.2}}},
        {"G": {"name": "mlp", "activation": "SiLU", "init": 1e-3}},
        {"D": {"name": "maxout", "units": 3, "pieces": 2}},
        {"penalties": (p for p in set(penalties.__all__) - {"Penalty"})},
        {"penalties": ({"name": "r1", "weight": {"name": "ramp", "start": 1e-9, "end": 1e9, "steps": 7}},)},
        {
            "g_optimizer": {
                "name": "clipped",
                "base": {"name": "optimistic", "base": {"name": "sgd", "lr": 1e-5}},
            }
        },
        {"data": {"name": "mixture", "means": [[0.0, 1.0], [2.0, 3.5]], "std": 0.1, "weights": [1, 2]}},
        {"objective": {"name": "least_squares", "label_smoothing": 0.25}},
        {"ema": None, "seed": 2**63 - 1, "name": "1e3", "about": "quotes ' \" : # and \u00fcml\u00e4ute"},
    ],
    ids=lambda changes: ",".join(changes),
)
def test_a_recipe_of_any_parts_loads_back_equal_and_is_built(changes: dict[str, Any], tmp_path: Path) -> None:
    small = {"latent": 2, "G": SMALL, "D": SMALL, "batch": 8}
    changes = {k: tuple(sorted(v)) if isinstance(v, Iterator) else v for k, v in changes.items()}
    recipe = Recipe(**{**small, **changes})
    (tmp_path / "r.yaml").write_text(recipes.dump(recipe), encoding="utf-8")
    again = recipes.load(str(tmp_path / "r.yaml"))
    assert recipes.resolved(again) == recipes.resolved(recipe)
    assert [(float(t.d_loss), float(t.g_loss)) for t in two_turns(again)] == [
        (float(t.d_loss), float(t.g_loss)) for t in two_turns(recipe)
    ]


def test_what_a_recipe_is_for_goes_when_it_is_changed(tmp_path: Path) -> None:
    about = PRESETS["digits"].about
    assert recipes.load("digits", {"steps": 5, "seed": 3}).about == about
    assert recipes.load("digits", {"data": "ring"}).about == ""
    assert recipes.load("digits", {"data": "ring", "about": "mine"}).about == "mine"
    (tmp_path / "mine.yaml").write_text("recipe: digits\nbatch: 7\n")
    assert recipes.load(str(tmp_path / "mine.yaml")).about == ""


def test_differences_name_what_changes_the_game_and_nothing_else() -> None:
    old = recipes.resolved(recipes.load("digits"))
    free = {"name": "x", "steps": 3, "keep": 9, "log_every": 1, "sample_every": 1, "checkpoint_every": 1}
    assert recipes.differences(old, recipes.resolved(recipes.load("digits", free))) == []
    new = recipes.resolved(recipes.load("digits", {"G.width": 9, "ema": None, "penalties": []}))
    changed = recipes.differences(old, new)
    assert [line.split(":")[0] for line in changed if not line.startswith("penalties")] == ["G.width", "ema"]
    assert any(line.startswith("penalties") for line in changed)
    spelt = recipes.resolved(
        recipes.load("digits", {"prior": {"name": "normal"}, "objective": {"name": "nonsaturating"}})
    )
    assert recipes.differences(old, spelt) == []


# schedules as shares of the run ---------------------------------------------------------------------------


@each_preset
@pytest.mark.parametrize("times", [2, 5])
def test_more_steps_stretch_the_schedules_of_a_preset(name: str, times: int) -> None:
    """What is a share of the run stays that share; what was published in turns stays as published."""
    steps = PRESETS[name].turns
    once, more = (recipes.settled(recipes.load(name, {"steps": steps * n})) for n in (1, times))
    for path, turns in recipes.leaves(recipes.resolved(once)):
        if path.count(".") and path.endswith(".steps"):
            stretched = dict(recipes.leaves(recipes.resolved(more)))[path]
            assert stretched == (turns if name == "goodfellow2014" else turns * times), path
            assert name == "goodfellow2014" or turns <= steps


def test_a_run_that_goes_on_keeps_the_lengths_that_it_began_with() -> None:
    begun = recipes.settled(recipes.load("ring", {"steps": 100}))
    longer = recipes.settled(recipes.load("ring", {"steps": 300}), begun)
    assert recipes.differences(recipes.resolved(begun), recipes.resolved(longer)) == []
    other = recipes.settled(recipes.load("ring", {"steps": 300, "g_optimizer.lr.steps": 90}), begun)
    changes = recipes.differences(recipes.resolved(begun), recipes.resolved(other))
    assert [line.split(":")[0] for line in changes] == ["g_optimizer.lr.steps"]


def test_shares_are_turns_when_the_game_is_built() -> None:
    changes = {"G": SMALL, "D": SMALL, "steps": 20, "penalties.0.weight.begin": "25%"}
    recipe = recipes.load("ring", changes)
    assert "70%" in recipes.dump(recipe) and "%" not in recipes.dump(recipes.settled(recipe))
    game, _ = recipes.build(recipe)
    weight: Any = game.penalties[0].weight
    assert (weight.begin, weight.steps) == (5, 14)
    assert refused("ring", {"penalties.0.weight.steps": "much%"}).startswith("penalties.0.weight.steps: ")


# YAML -----------------------------------------------------------------------------------------------------


def test_a_file_holds_differences_from_a_recipe_below(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "recipe: digits\nG: {width: 9, activation: SiLU}\nd_optimizer:\n  base: {lr: 1e-5}\n"
    )
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/b.yaml").write_text("recipe: ../a.yaml\nD: {name: maxout}\nG.depth: 2\nsteps: 1e3\n")
    recipe = recipes.load(str(tmp_path / "sub/b.yaml"), {"G.width": 11})
    assert {**PRESETS["digits"].G, "width": 11, "depth": 2, "activation": "SiLU"} == recipe.G
    assert recipe.D == {"name": "maxout"}
    assert recipes.leaves(recipe.d_optimizer) and dict(recipes.leaves(recipe.d_optimizer))["base.lr"] == 1e-5
    assert (recipe.name, recipe.steps, recipe.data) == ("b", 1000, "digits")


def test_anchors_do_not_tie_parts_together(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("g_optimizer: &o {name: adam, lr: 0.1}\nd_optimizer: *o\n")
    recipe = recipes.load(str(tmp_path / "a.yaml"), {"g_optimizer.lr": 0.5})
    assert recipe.d_optimizer == {"name": "adam", "lr": 0.1}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not a recipe"),
        ("- 1\n- 2\n", "not a recipe"),
        ("just words", "not a recipe"),
        ("G: [unclosed", "not YAML"),
        ("a: b: c", "not YAML"),
        ("\tsteps: 5", "not YAML"),
        ("steps: !!python/object/apply:os.system ['true']", "not YAML"),
        ("steps: 2024-99-99", "not YAML"),
        ("a: &a [*a]", "not YAML"),
        ("[" * 3000, "not YAML"),
        (BOMB, "more than 10,000 values"),
        ("G: {name: mlp, width: 2026-01-01}", "in quotes"),
        ("name: ../../x", "name: "),
        ("name: ''", "name: "),
        ("name: ..", "name: "),
        ("gpu: 5", "gpu: "),
        ("stepz: 5", "did you mean 'steps'?"),
        ("1: 2", "no field '1'"),
        ("G: {name: mlp, widht: 5}", "did you mean 'width'?"),
        ("G: {name: mpl}", "did you mean 'mlp'?"),
        ("G: {width: {depth: 3}}", "G.width.depth"),
        ("steps: many", "steps: input should be a valid integer"),
        ("steps: 0", "steps: input should be greater than 0"),
        ("steps: 1.5", "steps: input should be a valid integer"),
        ("ema: 1.0", "ema: input should be less than 1"),
        ("simultaneous: perhaps", "simultaneous: input should be a valid boolean"),
        ("penalties: r1", "penalties: input should be a valid tuple"),
        ("penalties: [5]", "penalties.0: input should be a valid string"),
        ("G: 5", "G: input should be a valid string"),
        ("data: null", "data: input should be a valid string"),
        ("recipe: rong", "did you mean 'ring'?"),
        ("recipe: bad.yaml", "made of itself"),
        ("recipe: 5", "no recipe is called '5'"),
    ],
)
def test_a_wrong_file_is_told_in_one_line(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    assert said in refused(str(path))


def test_a_file_that_cannot_be_read_is_told_in_one_line(tmp_path: Path) -> None:
    assert "No such file" in refused(str(tmp_path / "missing.yaml"))
    (tmp_path / "dir.yaml").mkdir()
    assert "Is a directory" in refused(str(tmp_path / "dir.yaml"))
    (tmp_path / "latin.yaml").write_bytes(b"name: \xff\xfe")
    assert "not YAML" in refused(str(tmp_path / "latin.yaml"))
    assert "did you mean 'digits'?" in refused("digts")


# values of the command line -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-3", -3),
        ("1e-3", 1e-3),
        ("1E3", 1e3),
        ("-.5e+2", -50.0),
        ("0.5", 0.5),
        ("true", True),
        ("null", None),
        ("[0.0, 9e-1]", [0.0, 0.9]),
        ("{name: r1, weight: 1e-1}", {"name": "r1", "weight": 0.1}),
        ("e5", "e5"),
        ("my.module:net", "my.module:net"),
    ],
)
def test_values_are_read_as_yaml(text: str, value: Any) -> None:
    found = recipes.value(text)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        "[",
        "{a: ",
        "2024-13-45",
        "*x",
        "=",
        "&a [*a]",
        "&a {b: *a}",
        f"[&a [{'x, ' * 9}], &b [{'*a, ' * 9}], &c [{'*b, ' * 9}], &d [{'*c, ' * 9}], &e [{'*d, ' * 9}], *e]",
        "!!python/name:os.system",
        "[" * 3000,
        "9" * 5000,
    ],
)
def test_what_is_no_value_is_told_in_one_line(text: str) -> None:
    with pytest.raises(RecipeError) as caught:
        recipes.value(text)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


# what cannot be built -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"objective": "nonsaturatin"}, "did you mean 'nonsaturating'?"),
        ({"objective": "torch"}, "nothing is called 'torch' in zerosum.objectives"),
        ({"objective.d_weight": "much"}, "objective.d_weight: input should be a valid number"),
        ({"G.width": 0}, "G"),
        ({"G.width": -4}, "G"),
        ({"D.width": 0}, "D"),
        ({"G.width": "wide"}, "G.width: input should be a valid integer"),
        ({"G.inputs": [3]}, "G: mlp has no option 'inputs'"),
        ({"G.activation": "Relu"}, "did you mean 'ReLU'?"),
        ({"G.activation": "functional"}, "where a function or a class is needed"),
        ({"data.seed": 3}, "has no option 'seed'"),
        ({"data": {"name": "ring", "modes": 0}}, "data: modes is a positive number"),
        ({"data": {"name": "ring", "std": float("nan")}}, "data.std: input should be a finite number"),
        ({"data": {"modes": 3}}, "data: it needs a name"),
        ({"data.modes.deep": 3}, "data"),
        ({"g_optimizer": {"name": "adam", "lr": -1.0}}, "g_optimizer.lr"),
        (
            {"d_optimizer": {"name": "adam", "lr": float("nan")}},
            "d_optimizer.lr: input should be a finite number",
        ),
        ({"d_optimizer": {"name": "extragradient", "base": "adam"}}, "simultaneous"),
        ({"penalties": ["r1", {"name": "r2", "weight": -1}]}, "penalties.1.weight"),
        ({"penalties.7.weight": 1}, "not one of the"),
        ({"penalties.x": 1}, "not one of the"),
        ({"batch": 10, "accumulate": 3}, "game: batch=10"),
        ({"device": "quantum"}, "device: 'quantum' is not on this machine"),
        ({"device": "meta"}, "device: 'meta' is not on this machine"),
        ({"lr": 1e-3}, "there is --d_optimizer.lr and --g_optimizer.lr"),
        ({"G.width": "32,64"}, "G.width: "),
        ({"device": "cuda:99"}, "device: 'cuda:99' is not on this machine"),
        ({"prior": "norml"}, "did you mean 'normal'?"),
        ({"objective": "no_such_module:net"}, "cannot import 'no_such_module:net': ModuleNotFoundError"),
        ({"objective": "zerosum:nothing"}, "cannot import 'zerosum:nothing'"),
        ({"objective": "math:pi"}, "'math:pi' is float"),
        ({"objective": "math:cos"}, "objective"),
        ({"objective": "builtins:dict"}, "objective: it should give a Objective, but gave a dict"),
        ({"data": "builtins:dict"}, "data: a dict holds no examples"),
        ({"": 5}, "no field ''"),
    ],
    ids=lambda v: str(v)[:60],
)
def test_what_cannot_be_is_told_in_one_line(overrides: dict[str, Any], said: str) -> None:
    assert said in refused("ring", overrides)


def test_data_that_are_missing_empty_or_of_another_form(tmp_path: Path) -> None:
    def folder(name: str, *shape: int) -> dict[str, Any]:
        (tmp_path / name).mkdir()
        for kind, dims in (("images-idx3", shape), ("labels-idx1", shape[:1])):
            content = bytes([0, 0, 8, len(dims)]) + struct.pack(f">{len(dims)}I", *dims)
            size = 1
            for n in dims:
                size *= n
            (tmp_path / name / f"train-{kind}-ubyte").write_bytes(content + bytes(size))
        return {"name": "idx_folder", "path": str(tmp_path / name)}

    assert recipes.build_source(recipes.load("ring", {"data": folder("good", 6, 4, 5)})).shape == (1, 4, 5)
    assert "3-D" in refused("ring", {"data": folder("colour", 6, 4, 5, 3)})
    assert "no such folder" in refused(
        "ring", {"data": {"name": "idx_folder", "path": str(tmp_path / "none")}}
    )
    (tmp_path / "empty").mkdir()
    empty = {"path": str(tmp_path / "empty")}
    assert recipes.data_component(empty["path"]) == {"name": "image_folder", **empty}
    assert "no image" in refused("ring", {"data": recipes.data_component(empty["path"])})
    assert "lacks a file" in refused("ring", {"data": {"name": "idx_folder", **empty}})
    good = str(tmp_path / "good")
    assert recipes.data_component(good) == {"name": "idx_folder", "path": good}
    assert recipes.data_component("x.csv") == {"name": "file", "path": "x.csv"}
    assert recipes.data_component("hf://owner/name") == {"name": "hf", "path": "owner/name"}
    with pytest.raises(RecipeError, match="neither a folder, a file nor a name of data; did you mean 'digi"):
        recipes.data_component("digitz")
    assert recipes.data_component("fashion-mnist") == {"name": "fashion-mnist"}
    assert recipes.data_component("my.own:source") == {"name": "my.own:source"}


# your own parts -------------------------------------------------------------------------------------------

MINE = """
import torch
from torch import nn
from zerosum import Objective, Penalty

class Points:
    classes = 0
    def __init__(self, seed, shape=(3,), made=None, first=None):
        self.shape, self.made, self.seed = tuple(shape), tuple(made or shape), seed
        self.first = first
    def batch(self, step, n):
        if self.first is not None:
            raise self.first
        return torch.full((n, *self.made), float(step + self.seed)), None

def broken(seed): return Points(seed, first=KeyError("lost"))
class halved(Points):
    splits = "train", "test"
    def split(self, name): return self
def whole(seed): return Points(seed, shape=(3,), made=(4,))
def line(inputs, outputs, scale=2.0):
    return nn.Sequential(nn.Linear(*inputs, *outputs or (1,)), nn.Identity() if outputs else nn.Flatten(0))
def fixed(inputs, outputs): return nn.Linear(17, 1)
def column(inputs, outputs): return nn.Linear(*inputs, 1)
def number(inputs, outputs): return 5
def failing(inputs, outputs): return {}["missing"]
class Nets:
    line = staticmethod(line)
def loss(slope=1.0, act=torch.tanh): return Objective(lambda r, f: f - r, lambda r, f: -slope * f, 0.0)
def no_loss(): return lambda r, f: f - r
def flat(weight: float = 1.0):
    return Penalty(lambda critic, real, fake: critic(real) ** 2, weight, name="flat")
def slow(lr: float = 0.1): return lambda parameters: torch.optim.RMSprop(parameters, lr=lr)
def not_a_factory(): return 5

def one_number(shape, generator, dtype):
    return 0.5
"""


def test_your_own_parts_play(mine: Path) -> None:
    (mine / "own_parts.py").write_text(MINE)
    recipe = Recipe(
        data={"name": "own_parts:Points", "shape": [5]},
        G={"name": "own_parts:line", "scale": 3.0},
        D="own_parts:Nets.line",
        objective={"name": "own_parts:loss", "slope": 0.5},
        penalties=("own_parts:flat",),
        g_optimizer={"name": "own_parts:slow", "lr": 0.01},
        d_optimizer={"name": "optimistic", "base": {"name": "own_parts:slow"}},
        latent=2,
    )
    turns = two_turns(recipe)
    assert set(turns[0].penalties) == {"flat"}
    (mine / "r.yaml").write_text(recipes.dump(recipe))
    assert recipes.resolved(recipes.load(str(mine / "r.yaml"))) == recipes.resolved(recipe)
    assert two_turns(recipes.load(str(mine / "r.yaml")))[1].d_loss == turns[1].d_loss
    full = recipes.resolved(recipe)
    assert full["objective"] == {
        "name": "own_parts:loss",
        "slope": 0.5,
    }  # a default that YAML cannot say stays away
    assert full["G"] == {"name": "own_parts:line", "scale": 3.0}


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"data": "own_parts:broken"}, "data: KeyError: 'lost' (own_parts.py, line "),
        (
            {"data": "own_parts:whole"},
            "data: the data's batch(step, 2) gives [2, 4], not [2, 3] as declared",
        ),
        ({"data": "own_parts:Nets"}, "data: "),
        (
            {"data": {"name": "own_parts:Points", "shape": [1, 2, 3]}, "D": "own_parts:fixed"},
            "D: given [2, 1, 2, 3]",
        ),
        ({"G": "own_parts:fixed"}, "G: given [2, 2]: "),
        ({"D": "own_parts:column"}, "D: given [2, 2], it should make [2] but makes [2, 1]"),
        ({"G": "own_parts:number"}, "G: it should give a Module, but gave a int"),
        ({"G": "own_parts:failing"}, "G: KeyError: 'missing' (own_parts.py, line "),
        ({"objective": "own_parts:no_loss"}, "objective: it should give a Objective, but gave a function"),
        ({"objective": "own_parts:flat"}, "objective: it should give a Objective, but gave a Penalty"),
        (
            {"d_optimizer": "own_parts:not_a_factory"},
            "d_optimizer: it should give a Callable, but gave a int",
        ),
        ({"d_optimizer": {"name": "own_parts:slow", "lr": -3.0}}, "d_optimizer: Invalid learning rate"),
        ({"prior": {"name": "mixture", "std": 2.0}}, "prior: std of a mixture is above 0"),
        ({"prior": "own_parts:failing"}, "prior: "),
        ({"prior": "own_parts:one_number"}, "prior: asked for [2, 2]"),
        ({"G": "own_parts:lost"}, "cannot import 'own_parts:lost': AttributeError"),
        ({"G": "own_raises:x"}, "RuntimeError: not today (own_raises.py, line 2)"),
        ({"G": "own_syntax:x"}, "SyntaxError"),
        ({"G": "own_leaves:x"}, "cannot import"),
        ({"centre": True, "G": "own_parts:line"}, "centre: AttributeError"),
    ],
    ids=lambda v: str(v)[:60],
)
def test_what_is_wrong_with_your_own_parts_is_told_in_one_line(
    overrides: dict[str, Any], said: str, mine: Path
) -> None:
    (mine / "own_parts.py").write_text(MINE)
    (mine / "own_raises.py").write_text("\nraise RuntimeError('not\\ntoday')\n")
    (mine / "own_syntax.py").write_text("def (:\n")
    (mine / "own_leaves.py").write_text("raise SystemExit(5)\n")
    with pytest.raises(RecipeError) as caught:
        two_turns(recipes.load("ring", overrides))
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_source_of_your_own_has_the_splits_it_declares(mine: Path) -> None:
    (mine / "own_parts.py").write_text(MINE)
    assert recipes.build_data("own_parts:Points").splits == ()
    source = recipes.build_data({"name": "own_parts:halved", "shape": [2]}, seed=3)
    assert (
        source.splits == ("train", "test") and source.split("test").split("train").batch(0, 1)[0][0, 0] == 3
    )
    with pytest.raises(ValueError, match="splits"):
        source.split("valid")


def test_a_network_is_looked_at_without_being_changed(mine: Path) -> None:
    """The two zeros that pass through leave batch norm, power iteration and the mode as they were."""
    norm = {"name": "mlp", "width": 4, "depth": 1, "norm": "BatchNorm1d", "spectral": True, "dropout": 0.5}
    recipe = Recipe(latent=2, G=norm, D=norm)
    game = recipes.build_game(recipe, (2,))
    with torch.random.fork_rng():
        torch.manual_seed(key(0, "init"))
        wanted = components.bound(norm, "G", "zerosum.networks")(inputs=(2,), outputs=(2,))
    assert isinstance(wanted, nn.Module) and game.G.network.training and game.D.network.training
    for name, tensor in wanted.state_dict().items():
        assert torch.equal(tensor, game.G.network.state_dict()[name]), name


def test_games_that_are_built_at_the_same_time_begin_as_if_alone() -> None:
    """Torch's generator is one for all threads; a page opens a run while another game begins."""

    def first_weights(seed: int) -> list[torch.Tensor]:
        game = recipes.build_game(Recipe(latent=2, G=SMALL, D=SMALL, seed=seed), (2,))
        return [p.detach().clone() for player in (game.G, game.D) for p in player.network.parameters()]

    alone = [first_weights(seed) for seed in range(16)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as threads:
            beside = list(threads.map(first_weights, range(16)))
    finally:
        sys.setswitchinterval(interval)
    assert all(
        torch.equal(a, b)
        for one, other in zip(alone, beside, strict=True)
        for a, b in zip(one, other, strict=True)
    )


def test_what_is_given_stays_as_it_is() -> None:
    given: dict[str, Any] = {"G": {"name": "mlp", "width": 8}, "G.depth": 1, "penalties": [{"name": "r1"}]}
    before = repr(given)
    recipes.load("ring", {**given, "penalties.0.weight": 3.0})
    assert repr(given) == before


@pytest.mark.parametrize("name", ["precision", "compile"])
def test_a_game_is_not_built_of_what_is_not_settled(name: str) -> None:
    with pytest.raises(RecipeError, match=r"auto is settled by a run"):
        recipes.build_game(recipes.load("ring", {name: "auto"}), (2,))
