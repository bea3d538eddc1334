"""Does a change of the engine change a game? The same games on two commits, compared by their weights' bytes.

    python benchmarks/same_bytes.py                     every game, against the engine of ee8671b: minutes
    python benchmarks/same_bytes.py --against HEAD      against the last commit
    python benchmarks/same_bytes.py --only 'preset *'   some games, by name

One thread, 50 turns: every preset, and on a small game every objective with every penalty, every optimizer,
both precisions, several steps of D, split batches, conditional play and layers that draw. The other commit is
checked out in a git worktree, which is removed again. Data that have to be given or fetched are replaced by
small ones, the same on both sides; MNIST is read from ZEROSUM_DATA.

Exit code 1 if a game ends elsewhere, unless `MENDS` says why it does, or if it ends at the same place
although `MENDS` says that it does not.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from hashlib import sha256
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FIRST = "ee8671b"
TURNS = 50

STREAMS = "each part of a batch draws from a stream of its own, so that ranks may play it"
BUFFERS = (
    "each part starts from the same running means, which move by the mean of all, so that ranks may play it"
)
COMPARED = "examples of a part are compared with the whole batch"
MENDS: dict[str, str] = {
    **{f"small: *, {term}, *accumulate [24]": STREAMS for term in ("wgan_gp", "zero_centred_gp", "dragan")},
    "small: dropout, *accumulate [24]": STREAMS,
    "small: *, lecam, *accumulate [24]": BUFFERS,
    "small: batch norm, *accumulate [24]": BUFFERS,
    "small: relativistic_average, *, *accumulate [24]": COMPARED,
}
"""Games that end elsewhere than on ee8671b (patterns of names), each with the reason."""

F_DIVERGENCES = (
    *("kl", "reverse_kl", "pearson", "neyman", "squared_hellinger", "total_variation"),
    *("jensen_shannon", "jeffrey"),
)


# in a process of each commit: what both know by these names ----------------------------------------------


def small_games() -> Iterator[tuple[str, Callable[[], tuple[Any, Any]]]]:
    """Games on the ring or on digits, by name; each is made when it is played."""
    import torch
    from torch import nn

    from zerosum import Game, data, networks, objectives, optimizers, penalties
    from zerosum.schedules import ramp

    def game(objective: Any, *terms: Any, network: dict[str, Any] | None = None, **settings: Any) -> Any:
        torch.manual_seed(0)
        G = networks.mlp((2,), (2,), width=16, depth=2, **(network or {}))
        D = networks.mlp((2,), (), width=16, depth=2, **(network or {}))
        return Game(G, D, objective, terms, **{"latent": 2, "batch": 16, "lr": (1e-3, 1e-3), **settings})

    losses: dict[str, Callable[[], Any]] = {
        name: getattr(objectives, name)
        for name in objectives.__all__
        if name not in ("Objective", "f_divergence")
    }
    for f, saturating in product(F_DIVERGENCES, (False, True)):
        losses[f"{f}{' saturating' * saturating}"] = lambda f=f, s=saturating: objectives.f_divergence(f, s)
    for name in ("minimax", "nonsaturating", "least_squares"):
        losses[f"{name} smoothed"] = lambda name=name: getattr(objectives, name)(0.1, d_weight=0.5)
    terms = [None, *(name for name in penalties.__all__ if name != "Penalty")]
    for (loss, objective), term in product(losses.items(), terms):
        own = [getattr(penalties, term)(0.1)] if term else []
        yield (
            f"small: {loss}, {term or 'no penalty'}",
            lambda o=objective, t=own: (game(o(), *t), data.ring()),
        )

    bases: dict[str, Any] = {
        "adam": optimizers.adam(1e-3),
        "sgd": optimizers.sgd(0.05, momentum=0.5, weight_decay=0.01),
        "scheduled": optimizers.scheduled(
            optimizers.adam(1e-3),
            lr=ramp(1e-3, 1e-4, steps=40),
            beta1=ramp(0.5, 0.0, steps=40, shape="cosine"),
        ),
    }
    wrappers: dict[str, Callable[[Any], Any]] = {
        "plain": lambda base: base,
        **{n: getattr(optimizers, n) for n in ("clipped", "extragradient", "lookahead_minmax", "optimistic")},
        "lookahead over extragradient": lambda b: optimizers.lookahead_minmax(optimizers.extragradient(b)),
    }
    ways: dict[str, dict[str, Any]] = {
        "k 3": {"k": 3},
        "simultaneous": {"simultaneous": True},
        "accumulate 2": {"accumulate": 2},
        "bf16": {"precision": "bf16"},
        "bf16, k 2, accumulate 4": {"precision": "bf16", "k": 2, "accumulate": 4},
        "no average": {"ema": None},
        "an average on a schedule": {"ema": ramp(0.0, 0.9, steps=30)},
        "uniform prior": {"prior": _prior()},
    }
    for (base, factory), (wrapper, wrap) in product(bases.items(), wrappers.items()):
        how = {"simultaneous": True} if "extragradient" in wrapper else {}
        player = wrap(factory)
        yield (
            f"small: {wrapper} {base}",
            lambda p=player, h=how: (
                game(objectives.nonsaturating(), penalties.r1(0.1), optimizers=(p, p), **h),
                data.ring(),
            ),
        )
    for (way, settings), term in product(ways.items(), terms):
        own = [getattr(penalties, term)(ramp(1.0, 0.1, steps=30), every=2)] if term else []
        for loss in ("nonsaturating", "relativistic_pairing", "relativistic_average"):
            objective = losses[loss]
            yield (
                f"small: {loss}, {term or 'no penalty'}, {way}",
                lambda o=objective, t=own, s=settings: (
                    game(o(), *t, **s),
                    data.ring(),
                ),
            )
    for layer, network in (("batch norm", {"norm": nn.BatchNorm1d}), ("dropout", {"dropout": 0.3})):
        for way, settings in ways.items():
            yield (
                f"small: {layer}, {way}",
                lambda n=network, s=settings: (
                    game(objectives.nonsaturating(), network=n, **s),
                    data.ring(),
                ),
            )


def _prior() -> Any:
    try:
        from zerosum.game import uniform
    except ImportError:
        from zerosum.game.play import uniform
    return uniform


def recipes() -> Any:
    """The module that loads and builds recipes, wherever this commit has it."""
    from importlib import import_module

    for name in ("zerosum.recipe", "zerosum.recipe.recipes", "zerosum.recipes"):
        try:
            module = import_module(name)
        except ImportError:
            continue
        if hasattr(module, "load"):
            return module
    raise SystemExit("this commit has no module of recipes")


def from_recipe(name: str, changes: dict[str, Any]) -> tuple[Any, Any]:
    module = recipes()
    recipe = module.load(name, {"precision": "fp32", "compile": False, "device": "cpu", **changes})
    source = module.build_source(recipe)
    game = module.build(recipe, source)
    return (game[0] if isinstance(game, tuple) else game), source


def preset_games(stand_ins: Path) -> Iterator[tuple[str, Callable[[], tuple[Any, Any]]]]:
    for name in (stand_ins / "presets").read_text().split():
        folder = str(stand_ins / "images")
        changes: dict[str, Any] = {"batch": 16}
        if name.startswith("photos"):
            changes["data"] = {"name": "image_folder", "path": folder, "size": 64}
            changes["steps"] = 4_000  # as on ee8671b: now it is a time, and rates go by the length
        elif name == "vectors":
            changes["data"] = {"name": "file", "path": str(stand_ins / "rows.npy")}
        yield f"preset {name}", lambda n=name, c=changes: from_recipe(n, c)
    conditional = {"conditional": True, "batch": 16}
    for network, precision, k in product(("mlp", "dcgan", "r3"), ("fp32", "bf16"), (1, 2)):
        players = {"G": {"name": network, "width": 8}, "D": {"name": network, "width": 8}}
        changes = {**conditional, **players, "precision": precision, "k": k}
        yield f"conditional {network}, {precision}, k {k}", lambda c=changes: from_recipe("digits", c)


def play(only: str, stand_ins: Path) -> None:
    """Print a line for each game: its name and the digest of its weights, or its error."""
    import torch

    torch.set_num_threads(1)
    for name, make in (*small_games(), *preset_games(stand_ins)):
        if not fnmatch(name, only):
            continue
        try:
            game, source = make()
            for _ in game.play(source, TURNS):
                pass
            said = digest(game)
        except Exception as error:  # is compared, as a game that cannot be played
            said = f"{type(error).__name__}: {error}"
        print(json.dumps([name, said]), flush=True)


def digest(game: Any) -> str:
    """Of all weights, buffers and averages, bytes in the order of their names."""
    import torch

    total = sha256()
    for network in (game.G.network, game.D.network, game.G.average):
        for name, tensor in sorted(network.state_dict().items()) if network is not None else ():
            total.update(
                name.encode() + tensor.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
            )
    return total.hexdigest()


def ready(name: str) -> tuple[Any, Any]:
    if "seeds" not in name:
        return from_recipe(name, {})
    try:
        from zerosum.game import Ensemble
    except ImportError:
        from zerosum.ensemble import Ensemble
    count, _, _, preset = name.split()
    games, sources = zip(*(from_recipe(preset, {"seed": i}) for i in range(int(count))), strict=True)
    return Ensemble(list(games)), list(sources)


def serve(name: str) -> None:
    """Play as many turns as each line of the input says; answer with the seconds that they took."""
    import torch

    torch.set_num_threads(1)
    game, source = ready(name)
    for line in sys.stdin:
        begun = process_time()
        for _ in game.play(source, int(line)):
            pass
        print(process_time() - begun, flush=True)


# the comparison ------------------------------------------------------------------------------------------


def make_stand_ins(folder: Path, presets: list[str]) -> None:
    import numpy as np
    from PIL import Image

    draw = np.random.default_rng(0)
    (folder / "presets").write_text("\n".join(presets))
    for kind in ("a", "b"):
        (folder / "images" / kind).mkdir(parents=True)
        for i in range(12):
            pixels = draw.integers(0, 256, (80, 72, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "images" / kind / f"{i}.png")
    np.save(folder / "rows.npy", draw.normal(size=(200, 5)).astype(np.float32))


@contextmanager
def checkout(commit: str) -> Iterator[Path]:
    """A folder with the files of a commit, which is removed again."""
    with TemporaryDirectory() as place:
        tree, git = Path(place) / "tree", ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "--detach", "--quiet", str(tree), commit], check=True)
        try:
            yield tree
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)


def environment(tree: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(tree / "src"), "OMP_NUM_THREADS": "1"}


def presets_of(tree: Path) -> list[str]:
    code = "from zerosum import recipes; print(*recipes.PRESETS)"
    if not (tree / "src" / "zerosum" / "recipes.py").exists():
        code = "from zerosum import recipe; print(*recipe.presets())"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(tree), stdout=subprocess.PIPE, text=True
    )
    return done.stdout.split()


def played(tree: Path, only: str, stand_ins: Path) -> dict[str, str]:
    command = [sys.executable, __file__, "--play", str(stand_ins), "--only", only]
    with subprocess.Popen(command, env=environment(tree), stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        found = dict(json.loads(line) for line in child.stdout)
    if child.returncode:
        raise SystemExit(f"{tree}: the games ended with exit code {child.returncode}")
    return found


def compare(old: dict[str, str], new: dict[str, str]) -> int:
    """Say what differs; how many games differ without a reason, or have a reason and do not differ."""
    wrong = 0
    for name in sorted(old.keys() | new.keys()):
        reason = next((why for pattern, why in MENDS.items() if fnmatch(name, pattern)), "")
        same = old.get(name) == new.get(name)
        if same == bool(reason):
            wrong += 1
            print(f"{'SAME' if same else 'DIFFERS'}  {name}: {old.get(name)} -> {new.get(name)}")
    mended = sum(old.get(name) != new.get(name) for name in old.keys() | new.keys())
    same = len(old.keys() | new.keys()) - mended
    print(f"{len(new)} games of {TURNS} turns: {same} the same to the byte, {mended} not, {wrong} wrong")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--against", default=FIRST, metavar="COMMIT")
    parser.add_argument("--only", default="*", metavar="PATTERN")
    parser.add_argument("--play", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.play:
        play(args.only, args.play)
        return 0
    if args.serve:
        serve(args.serve)
        return 0
    with checkout(args.against) as tree, TemporaryDirectory() as place:
        stand_ins = Path(place)
        make_stand_ins(stand_ins, presets_of(tree))
        return min(1, compare(played(tree, args.only, stand_ins), played(ROOT, args.only, stand_ins)))


if __name__ == "__main__":
    raise SystemExit(main())
