"""Checkpoints: the named state of a game as files, whole or not at all, never a pickle with code in it.

    checkpoints/000500/{G, D, ema}.safetensors   weights and buffers
    checkpoints/000500/state.pt                  optimizers, penalties, step, and what is known of the data;
                                                 read with weights_only=True
    checkpoints/000500/manifest.json             the step, and the SHA-256 of each file

A checkpoint is made in a directory with a temporary name, flushed to the disk, and renamed; it is renamed
again before it is removed. So whatever instant a process dies at, every directory with a number for its name
is complete. Reading verifies the checksums.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors.torch import load as from_safetensors
from safetensors.torch import save as to_safetensors

__all__ = ["CheckpointError", "append", "load", "prune", "replacing", "save", "steps", "sweep", "write"]

_WEIGHTS = {"G": ("G", "network"), "D": ("D", "network"), "ema": ("G", "average")}
_FILES = {"state.pt", *(f"{name}.safetensors" for name in _WEIGHTS)}


class CheckpointError(ValueError):
    """A checkpoint that cannot be trusted: one line that says which file, and why."""


def steps(folder: Path) -> list[int]:
    """The steps of the complete checkpoints in a folder, oldest first."""
    return sorted(int(path.name) for path in folder.glob("*") if re.fullmatch("[0-9]{6,}", path.name))


def save(folder: Path, state: Mapping[str, Any], facts: Mapping[str, Any]) -> Path:
    """Write `Game.state_dict()` as the checkpoint of its step.

    facts: what a reader must know of the data: the `shape` of an example, the `range` of an image, the number
    of `classes`.
    Raises OSError where the disk refuses; then nothing of this checkpoint is left, and the others are as they
    were.
    """
    final = folder / f"{state['step']:06d}"
    temporary = _beside(final)
    files = {
        f"{name}.safetensors": _tensors(state[player][part]) for name, (player, part) in _WEIGHTS.items()
    }
    files["state.pt"] = _pickled({**_rest(state), "facts": dict(facts)})
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    files["manifest.json"] = (json.dumps({"step": state["step"], "sha256": sums}, indent=1) + "\n").encode()
    folder.mkdir(exist_ok=True)
    try:
        temporary.mkdir()
        for name, content in files.items():
            with (temporary / name).open("wb") as file:
                file.write(content)
                _flush(file)
        _discard(final)  # a broken one of the same step, which a resumed run has passed over
        temporary.rename(final)
        _flush_folder(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return final


def load(path: Path, device: Any = "cpu") -> tuple[dict[str, Any], dict[str, Any]]:
    """The game's state and the facts of one checkpoint.

    Raises CheckpointError if a file is missing, differs from its checksum, or is no plain data.
    """
    step, sums = _manifest(path)
    content = {name: _verified(path / name, digest) for name, digest in sums.items()}
    state = _read(path / "state.pt", lambda: _unpickled(content["state.pt"], device))
    for name, (player, part) in _WEIGHTS.items():
        file = f"{name}.safetensors"
        tensors = _read(path / file, lambda data=content[file]: from_safetensors(data))
        state[player][part] = {k: v.to(device) for k, v in tensors.items()}
    if not state["step"] == step == int(path.name):
        raise CheckpointError(f"{path}: it is the checkpoint of step {state['step']}, moved or renamed")
    return state, state.pop("facts")


def prune(folder: Path, keep: int, newest: int) -> None:
    """Remove all but the last `keep` checkpoints up to step `newest`; later ones are broken and stay."""
    for step in [step for step in steps(folder) if step <= newest][:-keep]:
        _discard(folder / f"{step:06d}")


def forget(folder: Path, after: int) -> None:
    """Remove the checkpoints of steps beyond `after`: what comes next is another path from there."""
    for step in steps(folder):
        if step > after:
            _discard(folder / f"{step:06d}")


def sweep(folder: Path) -> None:
    """Remove what interrupted writes left behind: only for who alone writes to this folder."""
    for left in folder.glob(".*.writing"):
        shutil.rmtree(left) if left.is_dir() else left.unlink()


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write to, which takes the place of `path` at the end, whole, or not at all."""
    temporary = _beside(path)
    try:
        with temporary.open("wb") as file:
            yield file
            _flush(file)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write(path: Path, content: bytes) -> None:
    """Replace a file by new content, whole or not at all."""
    with replacing(path) as file:
        file.write(content)


def append(path: Path, record: Mapping[str, Any]) -> None:
    """Add a line to a JSON-lines file, after ending a last line that a killed process left unfinished."""
    with path.open("ab+") as file:
        if file.tell() and os.pread(file.fileno(), 1, file.tell() - 1) != b"\n":
            file.write(b"\n")
        file.write(json.dumps(record).encode() + b"\n")


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.writing")


def _discard(path: Path) -> None:
    """Remove a checkpoint under another name, so that no instant shows half of it."""
    if path.exists():
        shutil.rmtree(path.rename(_beside(path.with_suffix(".old"))), ignore_errors=True)


def _rest(state: Mapping[str, Any]) -> dict[str, Any]:
    """What is no weight: the same tree without the parts that have files of their own."""
    rest: dict[str, Any] = {k: dict(v) if isinstance(v, Mapping) else v for k, v in state.items()}
    for player, part in _WEIGHTS.values():
        rest[player].pop(part)
    return rest


def _tensors(named: Mapping[str, torch.Tensor]) -> bytes:
    return to_safetensors({k: v.detach().cpu().contiguous().clone() for k, v in named.items()})


def _pickled(tree: Any) -> bytes:
    buffer = BytesIO()
    torch.save(tree, buffer)
    return buffer.getvalue()


def _unpickled(content: bytes, device: Any) -> dict[str, Any]:
    tree = torch.load(BytesIO(content), map_location=device, weights_only=True)
    facts: dict[str, Any] = {"classes": 0} | dict(tree["facts"])
    facts |= {name: list(facts[name]) for name in ("shape", "range")}
    players = {player: dict(tree[player]) for player in ("G", "D")}
    return {"step": tree["step"], **players, "penalties": dict(tree["penalties"]), "facts": facts}


def _read(path: Path, reader: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What a reader makes of a file whose checksum holds, and which may yet be hostile."""
    try:
        return reader()
    except Exception as error:  # readers raise anything, and torch's advice is to trust the file
        raise CheckpointError(
            f"{path}: refused, it is no plain data of a game ({type(error).__name__})"
        ) from error


def _flush(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _manifest(path: Path) -> tuple[int, dict[str, str]]:
    """The step and the checksums, of exactly the files that a checkpoint has."""
    file = path / "manifest.json"
    try:
        manifest = json.loads(file.read_bytes())
        step, sums = manifest["step"], dict(manifest["sha256"])
    except OSError as error:
        raise CheckpointError(f"{file}: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise CheckpointError(f"{file}: not a manifest ({type(error).__name__})") from error
    if sums.keys() != _FILES:
        raise CheckpointError(f"{file}: not a manifest of {', '.join(sorted(_FILES))}")
    return step, sums


def _verified(path: Path, digest: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}") from error
    if hashlib.sha256(content).hexdigest() != digest:
        raise CheckpointError(f"{path}: its checksum differs from the manifest's: the file is damaged")
    return content
