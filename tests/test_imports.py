"""The walls of the design: imports go down only, few modules may train, and importing does nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import zerosum
from refusals import refused

SOURCE = Path(zerosum.__file__).parent
MODULES = {path.relative_to(SOURCE).with_suffix(""): path for path in sorted(SOURCE.rglob("*.py"))}

# floor of each module or package directly under zerosum
FLOORS = {
    **dict.fromkeys(
        ("text", "randomness", "schedules", "objectives", "penalties", "optimizers", "theory", "metrics"), 0
    ),
    **dict.fromkeys(("networks", "data"), 1),
    "game": 2,
    **dict.fromkeys(("watch", "claims"), 3),
    **dict.fromkeys(
        ("recipe", "run", "sampling", "evaluation", "pictures", "export", "sweep", "trackers", "tables"), 4
    ),
    **dict.fromkeys(("cli", "__main__", "page", "display", "notebook"), 5),
}
# beside the engine: judges that train networks of their own, and the duality gap, which moves copies only
MAY_TRAIN = {
    "game/play",
    "game/player",
    "game/ensemble",
    "game/sharded",
    "optimizers",
    "metrics/two_sample",
    "metrics/features",
    "watch/gap",
}
every_module = pytest.mark.parametrize("name", MODULES, ids=str)


def tree(name: Path) -> ast.Module:
    return ast.parse(MODULES[name].read_text())


def for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """All that may run: everything but what only types need."""
    for child in ast.iter_child_nodes(node):
        if not for_types(child):
            yield child
            yield from statements(child)


@cache
def imported(name: Path) -> set[str]:
    """What a module of ours imports of ours, at any time: zerosum.x.y as "x/y"."""
    found: set[str] = set()
    for node in statements(tree(name)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {m.removeprefix("zerosum.").replace(".", "/") for m in found if m.startswith("zerosum.")}


def test_every_module_has_a_floor() -> None:
    assert {name.parts[0] for name in MODULES} - {"__init__"} <= set(FLOORS)


@every_module
def test_imports_go_down_only(name: Path) -> None:
    if name == Path("__init__"):
        return  # the nouns: it imports all, on demand
    home = name.parts[0]
    for module in imported(name):
        other = module.split("/")[0]
        if other == "__version__":
            continue
        assert FLOORS[other] <= FLOORS[home], f"{name} imports {module} from a floor above"


def test_imports_make_no_circle() -> None:
    """A package gathers its modules, which therefore do not import the package."""
    modules = {str(name).removesuffix("/__init__"): name for name in MODULES}

    def below(name: str) -> set[str]:
        return {m for i in imported(modules[name]) for m in (i, i.rsplit("/", 1)[0]) if m in modules}

    left = set(modules) - {"__init__"}
    while ready := {name for name in left if below(name).isdisjoint(left)}:
        left -= ready
    assert left == set()


@every_module
def test_only_the_game_and_the_judges_train(name: Path) -> None:
    calls = {
        node.func.attr
        for node in ast.walk(tree(name))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    if str(name) not in MAY_TRAIN:
        assert calls.isdisjoint({"backward", "step", "zero_grad"})


@every_module
def test_modules_are_called_by_what_they_hold(name: Path) -> None:
    assert set(name.parts).isdisjoint({"utils", "util", "helpers", "common", "base", "misc"})


@every_module
def test_modules_say_what_they_are_and_what_they_offer(name: Path) -> None:
    module = tree(name)
    assert ast.get_docstring(module)
    names = {
        target.id
        for node in module.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    assert "__all__" in names or name == Path("__main__")


def python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def test_zerosum_alone_imports_nothing_heavy() -> None:
    heavy = "{'torch', 'numpy', 'scipy', 'sklearn', 'PIL', 'matplotlib', 'yaml', 'pydantic', 'rich'}"
    assert python(f"import zerosum, sys; print(sorted({heavy} & set(sys.modules)))").strip() == "[]"


def test_nothing_happens_at_import() -> None:
    """No print, no file, no thread, no seed, no change of torch's settings."""
    names = [".".join(("zerosum", *name.parts)).removesuffix(".__init__") for name in MODULES]
    names = [name for name in names if not name.endswith("__main__")]
    code = f"""
import os, sys, tempfile, threading, importlib
os.chdir(tempfile.mkdtemp())
import torch, numpy
def state():
    return (torch.get_rng_state().tolist(), numpy.random.get_state()[1].tolist(), torch.get_default_dtype(),
            torch.get_num_threads(), torch.is_grad_enabled(), torch.are_deterministic_algorithms_enabled(),
            threading.active_count(), os.listdir("."), {{k: v for k, v in os.environ.items()}})
before = state()
for name in {names!r}:
    importlib.import_module(name)
assert state() == before
"""
    assert python(code) == ""


def test_every_noun_is_there() -> None:
    for name in zerosum.__all__:
        assert getattr(zerosum, name) is not None
    with refused(by=AttributeError):
        zerosum.Trainer  # noqa: B018


def test_a_turn_needs_neither_torch_s_compiler_nor_scikit_learn() -> None:
    code = """
import sys
from zerosum import recipe as recipes
recipe = recipes.load("digits")
source = recipes.build_source(recipe)
for turn in recipes.build(recipe, source)[0].play(source, 1):
    pass
heavy = {"torch._dynamo", "torch._inductor", "sklearn", "scipy", "matplotlib", "PIL"}
print(*sorted(heavy & {*sys.modules}))
"""
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split() == []
