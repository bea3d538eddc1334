"""Any field of a recipe with any YAML value, from a file or typed: a recipe, or one printable line."""

from __future__ import annotations

from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cases import cases
from refusals import refused
from zerosum import recipe as recipes
from zerosum.recipe import Recipe, RecipeError

FIELDS = [f.name for f in fields(Recipe)]
OPTIONS = [
    "name",
    "width",
    "depth",
    "lr",
    "weight",
    "start",
    "end",
    "steps",
    "base",
    "activation",
    "modes",
    "0",
]
NAMES = ["mlp", "ring", "r1", "adam", "scheduled", "ramp", "normal", "70%", "nonsaturating", "augmented"]
texts = st.one_of(st.sampled_from(NAMES), st.text(max_size=12))
leaves = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), texts, st.dates(), st.binary(max_size=4)
)
keys = st.one_of(st.sampled_from(OPTIONS), texts, st.integers(-2, 9))
values = st.recursive(
    leaves,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=4)),
    max_leaves=12,
)
paths = st.builds(
    lambda head, rest: ".".join([head, *map(str, rest)]),
    st.one_of(st.sampled_from(FIELDS), texts),
    st.lists(keys, max_size=2),
)


def is_a_line(error: RecipeError) -> bool:
    return bool(str(error)) and len(str(error)) < 1500


def checked(make: Any) -> None:
    """A recipe that survives the way to a file and back, or a line."""
    try:
        recipe = make()
        text = recipes.dump(recipe)
        recipes.settled(recipe)
    except RecipeError as error:
        assert is_a_line(error)
        return
    assert isinstance(recipe, Recipe) and yaml.safe_load(text)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("G.depth", -1),
        ("G.width", -4),
        ("objective.d_weight", -1),
        ("data.std", -0.5),
        ("g_optimizer.lr", -1e-3),
        ("g_optimizer.lr", "nan"),
        ("g_optimizer.lr", float("inf")),
        ("g_optimizer.beta1", 1.5),
    ],
)
def test_an_amount_that_cannot_be_is_refused_by_its_name(field: str, value: Any) -> None:
    with refused(field.split(".")[-1], by=RecipeError):
        recipes.build(recipes.load("ring", {field: value}))


def test_a_network_of_too_many_weights_is_refused_while_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit, value in (("MOST_WEIGHTS", 5), ("_memory", lambda: 5000.0)):
        with monkeypatch.context() as patched, refused("D", "less deep", by=RecipeError):
            patched.setattr(import_module("zerosum.recipe.build"), limit, value)
            recipes.build(recipes.load("ring", {"G.width": 1, "G.depth": 0, "D.depth": 10**6}))


@cases(150)
@given(st.dictionaries(paths, values, max_size=3))
def test_any_overrides_give_a_recipe_or_a_line(overrides: dict[str, Any]) -> None:
    checked(lambda: recipes.load("ring", overrides))


@cases(150)
@given(
    tree=st.dictionaries(st.one_of(st.sampled_from([*FIELDS, "recipe", "gpu"]), keys), values, max_size=4),
    scale=st.sampled_from(["cpu", "gpu"]),
)
def test_any_file_gives_a_recipe_or_a_line(tree: dict[Any, Any], scale: str, tmp_path_factory: Any) -> None:
    path: Path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(yaml.dump(tree, allow_unicode=True), encoding="utf-8")
    checked(lambda: recipes.load(str(path), {"scale": scale}))


@cases(300)
@given(
    st.one_of(
        st.text(max_size=30), values.map(lambda v: yaml.dump(v)), st.text("&*a[]{}:, -!%\n'\"", max_size=30)
    )
)
def test_any_words_are_a_value_or_a_line(text: str) -> None:
    try:
        value = recipes.value(text)
    except RecipeError as error:
        assert is_a_line(error)
        return
    for _, leaf in recipes.leaves(value):
        assert leaf is None or isinstance(leaf, bool | int | float | str)


@cases(100)
@given(field=st.sampled_from(FIELDS), value=values)
def test_a_recipe_that_loads_is_built_or_refused_in_a_line(field: str, value: Any) -> None:
    small = {"latent": 2, "G": {"name": "mlp", "width": 2, "depth": 1}, "D": "mlp", "batch": 4, "steps": 5}
    try:
        recipe = recipes.load("ring", {**small, "penalties": [], field: value})
        if max(recipe.latent, recipe.batch, recipe.k) <= 10**6:
            recipes.build(recipe)
    except RecipeError as error:
        assert is_a_line(error)
