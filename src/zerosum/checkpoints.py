"""Checkpoints: the named state of a game as files, written whole or not at all, and never a pickle with code in it.

    checkpoints/000500/{G, D, ema}.safetensors   weights and buffers
    checkpoints/000500/state.pt                  optimizers, penalties, step; read with weights_only=True
    checkpoints/000500/manifest.json             SHA-256 of each file, and what a reader needs to know of the data

A checkpoint is made in a directory with a temporary name, flushed to the disk, and renamed: whatever instant a process dies at,
every directory with a number for its name is complete. Reading verifies the checksums.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as from_safetensors
from safetensors.torch import save as to_safetensors

__all__ = ["CheckpointError", "append", "load", "prune", "save", "steps", "write"]

_WEIGHTS = {"G": ("G", "network"), "D": ("D", "network"), "ema": ("G", "average")}


class CheckpointError(ValueError):
    """A checkpoint that cannot be trusted: one line that says which file, and why."""


def steps(folder: Path) -> list[int]:
    """The steps of the complete checkpoints in a folder, oldest first."""
    return sorted(int(p.name) for p in folder.glob("[0-9]*") if p.name.isdigit() and p.is_dir())


def save(folder: Path, state: Mapping[str, Any], facts: Mapping[str, Any]) -> Path:
    """Write `Game.state_dict()` as the checkpoint of its step; `facts` (plain data) go into the manifest.

    Raises OSError where the disk refuses; then nothing of this checkpoint is left, and the others are as they were.
    """
    final = folder / f"{state['step']:06d}"
    temporary = folder / f".{final.name}.{os.getpid()}"
    files = {f"{name}.safetensors": _tensors(state[player][part]) for name, (player, part) in _WEIGHTS.items()}
    files["state.pt"] = _pickled(_rest(state))
    manifest = {"step": state["step"], **facts, "sha256": {n: hashlib.sha256(b).hexdigest() for n, b in files.items()}}
    files["manifest.json"] = (json.dumps(manifest, indent=1) + "\n").encode()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        temporary.mkdir()
        for name, content in files.items():
            _flushed(temporary / name, content)
        if final.exists():  # a broken one of the same step, which a resumed run has passed over
            shutil.rmtree(final)
        temporary.rename(final)
        _flush_folder(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return final


def load(path: Path, device: Any = "cpu") -> tuple[dict[str, Any], dict[str, Any]]:
    """The game's state and the manifest of one checkpoint.

    Raises CheckpointError if a file is missing, differs from its checksum, or is no plain data.
    """
    manifest = _manifest(path)
    content = {name: _verified(path / name, digest) for name, digest in manifest["sha256"].items()}
    try:
        state = torch.load(BytesIO(content["state.pt"]), map_location=device, weights_only=True)
        for name, (player, part) in _WEIGHTS.items():
            tensors = from_safetensors(content[f"{name}.safetensors"])
            state[player][part] = {k: v.to(device) for k, v in tensors.items()}
    except Exception as error:  # whatever a hostile or damaged file makes the readers raise
        raise CheckpointError(f"{path}: not a checkpoint of zerosum: {str(error).splitlines()[0]}") from error
    return state, manifest


def prune(folder: Path, keep: int) -> None:
    """Remove all but the newest `keep` checkpoints, and what interrupted writes left behind."""
    for step in steps(folder)[:-keep]:
        shutil.rmtree(folder / f"{step:06d}", ignore_errors=True)
    for left in folder.glob(".[0-9]*"):
        shutil.rmtree(left, ignore_errors=True)


def write(path: Path, content: bytes) -> None:
    """Replace a file by new content, whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        _flushed(temporary, content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def append(path: Path, record: Mapping[str, Any]) -> None:
    """Add a line to a JSON-lines file, after ending a last line that a killed process left unfinished."""
    with path.open("ab+") as file:
        if file.tell() and os.pread(file.fileno(), 1, file.tell() - 1) != b"\n":
            file.write(b"\n")
        file.write(json.dumps(record).encode() + b"\n")


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


def _flushed(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((path / "manifest.json").read_bytes())
        names = set(manifest["sha256"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CheckpointError(f"{path}: no readable manifest.json: {error}") from error
    wanted = {f"{name}.safetensors" for name in _WEIGHTS} | {"state.pt"}
    if names != wanted:
        raise CheckpointError(f"{path}: the manifest names {sorted(names)} in place of {sorted(wanted)}")
    return manifest


def _verified(path: Path, digest: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}") from error
    if hashlib.sha256(content).hexdigest() != digest:
        raise CheckpointError(f"{path}: its checksum differs from the manifest's: the file is damaged")
    return content
