"""Checkpoints: the named state of a game as files, whole or not at all, never a pickle with code in it ::

    checkpoints/000500/{G, D, ema}.safetensors   weights and buffers
    checkpoints/000500/state.pt                  step, optimizers, penalties, the recipe, and what a run keeps
                                                 of its data; read with weights_only=True
    checkpoints/000500/manifest.json             the format, the step, and the SHA-256 of each file

A checkpoint is made in a directory with a temporary name, flushed to the disk, and renamed; it is renamed
again before it is removed. So whatever instant a process dies at, every directory with a number for its name
is complete. Reading verifies the checksums, and `misfit` compares every tensor with the game that it goes to
before any of it is loaded: kernels trust the shapes of what an optimizer remembers.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import load as from_safetensors
from safetensors.torch import save as to_safetensors
from torch import Tensor

from zerosum.game import Game, Player
from zerosum.optimizers import state_forms
from zerosum.run import files
from zerosum.run.datacard import DataCard
from zerosum.run.log import FORMAT, Log, Row, RunError, circumstances, refuse_format
from zerosum.text import printable
from zerosum.watch import best

__all__ = [
    "FILES",
    "Checkpoint",
    "CheckpointError",
    "Misfit",
    "forget",
    "load",
    "misfit",
    "newest",
    "numbered",
    "prune",
    "save",
    "steps",
]

State = dict[str, Any]
T = TypeVar("T")
_WEIGHTS = {"G": ("G", "network"), "D": ("D", "network"), "ema": ("G", "average")}
FILES = ("manifest.json", "state.pt", *(f"{name}.safetensors" for name in _WEIGHTS))


class CheckpointError(ValueError):
    """A checkpoint that cannot be trusted: one line that says which file, and why."""


class Misfit(CheckpointError):
    """A checkpoint that is whole, and of another game."""


@dataclass(frozen=True)
class Checkpoint:
    """state: of the game. data: what the run keeps of its data. recipe: all that shapes the path of the game,
    resolved; nothing in a checkpoint of format 1."""

    state: State
    data: DataCard
    recipe: Mapping[str, Any]

    @property
    def step(self) -> int:
        return self.state["step"]


def steps(folder: Path) -> list[int]:
    """The steps of the complete checkpoints in a folder, oldest first; none where there is no folder.

    Raises RunError where something else stands in its place, or where it cannot be read.
    """
    try:
        names = files.listing(folder, within=folder.parent)
    except OSError as error:
        raise RunError(f"{printable(folder)}: {error.strerror or error}") from error
    return sorted(int(name) for name in names if re.fullmatch("[0-9]{6,}", name))


def save(folder: Path, state: Mapping[str, Any], data: DataCard, recipe: Mapping[str, Any]) -> Path:
    """Write `Game.state_dict()` as the checkpoint of its step, with what is kept beside it: see `Checkpoint`.

    Raises OSError where the disk refuses; then nothing of this checkpoint is left, and the others are as they
    were.
    """
    final = folder / f"{state['step']:06d}"
    temporary = files.beside(final)
    content = {
        f"{name}.safetensors": _tensors(state[player][part]) for name, (player, part) in _WEIGHTS.items()
    }
    plain = {"data": data.state_dict(), "recipe": json.dumps(recipe, default=str)}
    content["state.pt"] = _pickled({**_rest(state), **plain})
    sums = {name: hashlib.sha256(one).hexdigest() for name, one in content.items()}
    manifest = {"format": FORMAT, "step": state["step"], "sha256": sums}
    content["manifest.json"] = (json.dumps(manifest, indent=1) + "\n").encode()
    folder.mkdir(exist_ok=True)
    try:
        temporary.mkdir()
        for name, one in content.items():
            with (temporary / name).open("wb") as file:
                file.write(one)
                files.flush(file)
        _discard(final)  # a broken one of the same step, which a resumed run has passed over
        temporary.rename(final)
        files.flush_folder(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return final


def load(path: Path, device: Any = "cpu") -> Checkpoint:
    """One checkpoint.

    Raises CheckpointError if a file is missing, differs from its checksum, or is no plain data; RunError for
    a format that is not known here.
    """
    step, sums = _manifest(path)
    content = {name: _verified(path / name, digest) for name, digest in sums.items()}
    tree = _read(path / "state.pt", lambda: _unpickled(content["state.pt"], device))
    data = _read(path / "state.pt", lambda: DataCard.restore(tree.get("data"), tree.get("facts")))
    recipe = _read(path / "state.pt", lambda: dict(json.loads(tree.get("recipe", "{}"))))
    players = {player: dict(tree[player]) for player in ("G", "D")}
    for name, (player, part) in _WEIGHTS.items():
        file = f"{name}.safetensors"
        tensors = _read(path / file, lambda data=content[file]: from_safetensors(data))
        players[player][part] = {k: v.to(device) for k, v in tensors.items()}
    if not tree["step"] == step == int(path.name):
        raise CheckpointError(
            f"{printable(path)}: it is the checkpoint of step {tree['step']}, moved or renamed"
        )
    return Checkpoint({"step": step, **players, "penalties": dict(tree["penalties"])}, data, recipe)


def newest(
    folder: Path, use: Callable[[Checkpoint], T], broken: list[str], device: Any = "cpu", at_most: int = 2**63
) -> T | None:
    """What `use` makes of the newest checkpoint that is whole and that it does not find a `Misfit`.

    None if there is no checkpoint; `broken` gets a line for each that was passed over. Where one vanishes
    while it is read, since a newer one took its place, the folder is looked at again.

    Raises RunError if there are checkpoints, and none can be used.
    """
    while True:
        broken.clear()
        listed = [step for step in steps(folder) if step <= at_most]
        misfits: list[str] = []
        for step in reversed(listed):
            path = folder / f"{step:06d}"
            try:
                return use(load(path, device))
            except CheckpointError as error:
                if step not in steps(folder):
                    break
                broken.append(str(error))
                misfits += [str(error)] if isinstance(error, Misfit) else []
        else:
            break
    if misfits:
        raise RunError(f"{misfits[0]}: go back to its recipe, or give --out another directory")
    if broken:
        raise RunError(
            f"none of the {len(broken)} checkpoints in {printable(folder)} can be read: "
            f"move {printable(folder.parent)} away to begin anew (the newest: {broken[0]})"
        )
    return None


def prune(folder: Path, keep: int, newest: int, spared: Sequence[int] = ()) -> None:
    """Remove all but the last `keep` checkpoints up to step `newest`, and those of the steps `spared`; later
    ones are broken and stay."""
    for step in [step for step in steps(folder) if step <= newest][:-keep]:
        if step not in spared:
            _discard(folder / f"{step:06d}")


def numbered(log: Log, name: str) -> int:
    """The step of the checkpoint of this name: a number, or "best".

    The best is the one that `zerosum evaluate RUN --all` liked best, if it has judged two that are there (by
    the first of a few metrics, as it was computed last and without a condition); before that the one whose
    samples the run itself found nearest to held-out data (`zerosum.watch.best`). Raises RunError where
    neither knows any.
    """
    if name.isdecimal():
        return int(name)
    if name != "best":
        raise RunError(f"checkpoint {printable(name)}: the number of a turn is wanted, or best")
    there, rows = steps(log.path / "checkpoints"), log.evaluations()
    for metric in ("kernel_distance", "frechet_distance", "sliced_wasserstein", "high_quality_share"):
        if len(mine := _judged_alike([row for row in rows if row["metric"] == metric], there)) > 1:
            liked = max if next(iter(mine.values())).get("higher_is_better") else min
            return liked(mine, key=lambda step: mine[step]["value"])
    found = best.best([record for record in log.records() if record["step"] in there])
    if found is None:
        raise RunError(
            f"{printable(log.path)} has no checkpoint that was judged: zerosum evaluate "
            f"{printable(log.path)} --all does so"
        )
    return found.step


def _judged_alike(rows: Sequence[Row], there: Sequence[int]) -> dict[int, Row]:
    """The newest row of each step that is there, of the last kind of rows that has two steps or more."""
    kinds: dict[tuple[str, ...], dict[int, Row]] = {}
    for row in rows:
        if row.get("step") in there and not row.get("where"):
            kind = (*circumstances(row).values(),)
            kinds[kind] = {**kinds.pop(kind, {}), row["step"]: row}
    return next((steps for steps in reversed(kinds.values()) if len(steps) > 1), {})


def forget(folder: Path, after: int) -> None:
    """Remove the checkpoints of steps beyond `after`: what comes next is another path from there."""
    for step in steps(folder):
        if step > after:
            _discard(folder / f"{step:06d}")


# does it fit? ---------------------------------------------------------------------------------------------


def misfit(game: Game, state: State) -> str:
    """Why a state, such as another game's, cannot be loaded into this one; "" if it can.

    Compared are the name, the shape and the type of every tensor: of weights and buffers with those of the
    networks, of what optimizers remember with what such an optimizer remembers after 0, 1 or 2 steps.
    """
    average = game.G.average
    pairs: list[tuple[str, Mapping[str, Any], Mapping[str, Any]]] = [
        ("G", game.G.network.state_dict(), state["G"]["network"]),
        ("D", game.D.network.state_dict(), state["D"]["network"]),
        *([("the average of G", average.state_dict(), state["G"]["average"])] if average is not None else []),
    ]
    pairs += [
        (f"penalty {p.name}", p.state_dict(), _part(state["penalties"], p.name)) for p in game.penalties
    ]
    for where, ours, theirs in pairs:
        if difference := _difference(ours, theirs):
            return f"{where}: {difference}"
    for where, player in (("G", game.G), ("D", game.D)):
        if difference := _optimizer_difference(player, state[where].get("optimizer")):
            return f"the optimizer of {where} is another: {difference}"
    return ""


def _part(tree: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = tree.get(name, {})
    return part if isinstance(part, Mapping) else {}


def _optimizer_difference(player: Player, theirs: Any) -> str:
    """What tells a state from those that the player's optimizer may have; "" if it is one of them."""
    differences: list[str] = []
    try:
        for form in state_forms(player.factory, player.parameters):
            differences.append(_difference(form, theirs))
            if not differences[-1]:
                return ""
    except Exception:  # an optimizer of the user's that will not step so: then it must judge for itself
        return ""
    return differences[-1]


def _difference(ours: Any, theirs: Any, where: str = "") -> str:
    """The first difference in form of two trees of tensors and plain values, or "".

    Of an optimizer's state, parameters that were never moved may be missing, and groups may have settings
    more than ours: those of another version of torch.
    """
    if isinstance(ours, Tensor):
        if not isinstance(theirs, Tensor):
            return f"{where} is {type(theirs).__name__}, and should be a tensor"
        forms = [f"{x.dtype} {list(x.shape)}".removeprefix("torch.") for x in (ours, theirs)]
        return "" if forms[0] == forms[1] else f"{where} is {forms[1]}, and should be {forms[0]}"
    if isinstance(ours, Mapping):
        if not isinstance(theirs, Mapping):
            return f"{where or 'it'} is {type(theirs).__name__}"
        lacking = [] if where.endswith("state") else [key for key in ours if key not in theirs]
        surplus = [] if "param_groups" in where else [key for key in theirs if key not in ours]
        if lacking or surplus:
            return f"{where} lacks {lacking[0]!r}" if lacking else f"{where} has {surplus[0]!r} besides"
        pairs = [(str(key), ours[key], theirs[key]) for key in ours if key in theirs]
    elif isinstance(ours, list | tuple):
        if not isinstance(theirs, list | tuple) or len(theirs) != len(ours):
            return f"{where} should have {len(ours)} items"
        pairs = [(str(i), *pair) for i, pair in enumerate(zip(ours, theirs, strict=True))]
    else:
        alike = isinstance(theirs, type(ours)) or (_is_number(ours) and _is_number(theirs))
        return "" if alike else f"{where} is {type(theirs).__name__}, and should be {type(ours).__name__}"
    differences = (_difference(a, b, f"{where}.{key}" if where else key) for key, a, b in pairs)
    return next((difference for difference in differences if difference), "")


def _is_number(x: Any) -> bool:
    return type(x) in (int, float) and x == x


# the files ------------------------------------------------------------------------------------------------


def _discard(path: Path) -> None:
    """Remove a checkpoint under another name, so that no instant shows half of it."""
    if path.exists():
        shutil.rmtree(path.rename(files.beside(path.with_suffix(".old"))), ignore_errors=True)


def _rest(state: Mapping[str, Any]) -> State:
    """What is no weight: the same tree without the parts that have files of their own."""
    rest: State = {k: dict(v) if isinstance(v, Mapping) else v for k, v in state.items()}
    for player, part in _WEIGHTS.values():
        rest[player].pop(part)
    return rest


def _tensors(named: Mapping[str, Tensor]) -> bytes:
    return to_safetensors({k: v.detach().cpu().contiguous().clone() for k, v in named.items()})


def _pickled(tree: Any) -> bytes:
    buffer = BytesIO()
    torch.save(tree, buffer)
    return buffer.getvalue()


def _unpickled(content: bytes, device: Any) -> State:
    """The tree of state.pt, of the form that `save` gives it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what only a forged file asks for
        tree = dict(torch.load(BytesIO(content), map_location=device, weights_only=True))
    parts = [tree[name] for name in ("G", "D", "penalties")]
    if type(tree["step"]) is not int or not all(isinstance(part, dict) for part in parts):
        raise TypeError("its parts are of another kind")
    return tree


def _read(path: Path, reader: Callable[[], dict[str, Any]] | Callable[[], DataCard]) -> Any:
    """What a reader makes of a file whose checksum holds, and which may yet be hostile."""
    try:
        return reader()
    except Exception as error:  # readers raise anything, and torch's advice is to trust the file
        raise CheckpointError(
            f"{printable(path)}: refused, it is no plain data of a game ({type(error).__name__})"
        ) from error


def _manifest(path: Path) -> tuple[int, dict[str, str]]:
    """The step and the checksums, of exactly the files that a checkpoint has."""
    file = path / "manifest.json"
    content = _content(file)
    try:
        manifest = json.loads(content)
        number, step, sums = manifest.get("format", 1), manifest["step"], dict(manifest["sha256"])
    except (AttributeError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise CheckpointError(f"{printable(file)}: not a manifest ({type(error).__name__})") from error
    if type(number) is int:
        refuse_format(number, path)
    if type(step) is not int or type(number) is not int or sums.keys() != {*FILES[1:]}:
        raise CheckpointError(f"{printable(file)}: not a manifest of {', '.join(FILES[1:])}")
    return step, sums


def _verified(path: Path, digest: str) -> bytes:
    content = _content(path)
    if hashlib.sha256(content).hexdigest() != digest:
        raise CheckpointError(
            f"{printable(path)}: its checksum differs from the manifest's: the file is damaged"
        )
    return content


def _content(path: Path) -> bytes:
    """Of a file of the checkpoint, in its folder, in the folder of all."""
    try:
        return files.read(path, within=path.parents[1])
    except OSError as error:
        raise CheckpointError(f"{printable(path)}: {error.strerror or error}") from error
