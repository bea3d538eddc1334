"""A checkpoint is read back to the bit, or refused in one line; nothing in it is executed."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from zerosum import recipe as recipes
from zerosum.data.codec import Numbers
from zerosum.recipe import Recipe
from zerosum.run import checkpoints, files
from zerosum.run.checkpoints import CheckpointError
from zerosum.run.datacard import DataCard

CARD = DataCard(Numbers((2,)))
RECIPE = {"latent": 2}
SMALL = {"name": "mlp", "width": 4, "depth": 1}


def state_of(step: int) -> dict[str, Any]:
    """The state of a small game after a turn, called by another step."""
    optimizer = {"name": "optimistic", "base": "adam"}
    recipe = Recipe(latent=2, G=SMALL, D=SMALL, batch=4, penalties=("lecam",), g_optimizer=optimizer)
    game = recipes.build_game(recipe, (2,))
    list(game.play(recipes.build_source(recipe), steps=1))
    return {**game.state_dict(), "step": step}


def assert_same(a: Any, b: Any) -> None:
    left, right = dict(recipes.leaves(a)), dict(recipes.leaves(b))
    assert left.keys() == right.keys()
    for name, value in left.items():
        if isinstance(value, torch.Tensor):
            assert value.dtype == right[name].dtype and torch.equal(value, right[name]), name
        else:
            assert value == right[name] and type(value) is type(right[name]), name


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints"


@pytest.fixture
def saved(folder: Path) -> Path:
    return checkpoints.save(folder, state_of(20), CARD, RECIPE)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def everything(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def sign(path: Path) -> None:
    """Make the manifest's checksums those of the files, as whoever forges a checkpoint can."""
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["sha256"] = {n: hashlib.sha256((path / n).read_bytes()).hexdigest() for n in manifest["sha256"]}
    (path / "manifest.json").write_text(json.dumps(manifest))


def refused(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        checkpoints.load(path)
    message = str(caught.value)
    assert "\n" not in message and "\x1b" not in message and str(path) in message
    return message


def test_what_is_saved_is_read_back_to_the_bit(folder: Path) -> None:
    state = state_of(20)
    path = checkpoints.save(folder, state, CARD, RECIPE)
    assert path.name == "000020"
    assert names(path) == [
        "D.safetensors",
        "G.safetensors",
        "ema.safetensors",
        "manifest.json",
        "state.pt",
    ]
    loaded = checkpoints.load(path)
    assert_same(loaded.state, state)
    assert (loaded.data, loaded.recipe, loaded.step) == (CARD, RECIPE, 20)


def test_the_same_state_makes_the_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        checkpoints.save(tmp_path / name, state_of(3), CARD, RECIPE)
    assert everything(tmp_path / "a") == everything(tmp_path / "b")


def test_only_whole_numbers_of_six_digits_are_checkpoints(folder: Path) -> None:
    for step in (1_000_000, 20, 0):
        checkpoints.save(folder, state_of(step), CARD, RECIPE)
    for other in ("30", "000020.old", ".000040.12.writing", "notes", "²²²²²²", "-00001"):
        (folder / other).mkdir()
    assert checkpoints.steps(folder) == [0, 20, 1_000_000]
    assert checkpoints.steps(folder / "nowhere") == []


def test_the_last_ones_are_kept(folder: Path) -> None:
    for step in (0, 5, 10, 15, 99):
        checkpoints.save(folder, state_of(step), CARD, RECIPE)
    checkpoints.prune(folder, keep=2, newest=15)
    assert checkpoints.steps(folder) == [10, 15, 99]  # 99 is from a future that was given up
    assert names(folder) == ["000010", "000015", "000099"]


def test_sweeping_removes_what_interrupted_writes_left_and_nothing_else(folder: Path, saved: Path) -> None:
    (folder / ".000030.99.writing").mkdir()
    (folder / ".000030.99.writing/state.pt").write_bytes(b"half")
    (folder / ".recipe.yaml.99.writing").write_bytes(b"half")
    (folder / ".mine").write_bytes(b"mine")
    files.sweep(folder)
    assert names(folder) == [".mine", "000020"]


@pytest.mark.parametrize("nth", range(1, 7))
def test_a_write_that_fails_leaves_the_others_as_they_were(
    folder: Path, saved: Path, nth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of the five files and the folder is flushed to the disk; the disk fails at each in turn."""
    before, calls, real = everything(folder), [], os.fsync

    def fsync(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == nth:
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError) as error:
        checkpoints.save(folder, state_of(30), CARD, RECIPE)
    assert error.value.errno == 28
    left = everything(folder)
    assert {name: left[name] for name in before} == before
    assert not [name for name in names(folder) if name.startswith(".")]
    for step in checkpoints.steps(folder):  # that of step 30 is there only if it is whole
        checkpoints.load(folder / f"{step:06d}")


def test_a_broken_one_of_the_same_step_is_replaced(folder: Path, saved: Path) -> None:
    (saved / "state.pt").unlink()
    checkpoints.save(folder, state_of(20), CARD, RECIPE)
    checkpoints.load(saved)
    assert names(folder) == ["000020"]


def test_a_vanished_run_is_not_made_again(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        checkpoints.save(tmp_path / "gone/checkpoints", state_of(1), CARD, RECIPE)
    assert names(tmp_path) == []


def test_replacing_is_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "x.txt"
    files.write(target, b"old")
    with pytest.raises(RuntimeError), files.replacing(target) as file:
        file.write(b"half")
        raise RuntimeError
    assert everything(tmp_path) == {"x.txt": b"old"}
    files.write(target, b"new")
    assert everything(tmp_path) == {"x.txt": b"new"}


# damage ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["G.safetensors", "D.safetensors", "ema.safetensors", "state.pt", "manifest.json"]
)
@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "flipped", "directory"])
def test_any_damage_to_any_file_is_found(saved: Path, name: str, damage: str) -> None:
    file = saved / name
    content = file.read_bytes()
    file.unlink()
    if damage == "directory":
        file.mkdir()
    elif damage != "missing":
        middle = len(content) // 2
        flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        file.write_bytes({"empty": b"", "truncated": content[:-7], "flipped": flipped}[damage])
    assert name == "manifest.json" or name in refused(saved)
    refused(saved)


@pytest.mark.parametrize("place", range(0, 400, 7))
def test_no_flipped_bit_of_the_manifest_changes_what_is_read(folder: Path, saved: Path, place: int) -> None:
    """It has no checksum of its own: whatever it is turned into is refused, or means the same."""
    state = checkpoints.load(saved).state
    content = bytearray((saved / "manifest.json").read_bytes())
    content[place % len(content)] ^= 1 << place % 7
    (saved / "manifest.json").write_bytes(content)
    try:
        assert_same(checkpoints.load(saved).state, state)
    except CheckpointError as error:
        assert str(saved) in str(error)


GOOD_SUMS = dict.fromkeys(["G.safetensors", "D.safetensors", "ema.safetensors", "state.pt"], "0" * 64)


@pytest.mark.parametrize(
    "manifest",
    [
        "",
        "nonsense",
        "null",
        "[]",
        "3",
        "{}",
        '{"step": 20}',
        json.dumps({"sha256": GOOD_SUMS}),
        json.dumps({"step": 20, "sha256": None}),
        json.dumps({"step": 20, "sha256": list(GOOD_SUMS)}),
        json.dumps({"step": 20, "sha256": {}}),
        json.dumps({"step": 20, "sha256": dict.fromkeys(GOOD_SUMS, 5)}),
        json.dumps({"step": 20, "sha256": {**GOOD_SUMS, "../../x": "0" * 64}}),
        json.dumps({"step": 20, "sha256": {**GOOD_SUMS, "/etc/passwd": "0" * 64}}),
        "[" * 100_000,
        b"\xff\xfe\x00",
    ],
)
def test_a_manifest_of_any_other_form_is_refused(saved: Path, manifest: str | bytes) -> None:
    (saved / "manifest.json").write_bytes(manifest if isinstance(manifest, bytes) else manifest.encode())
    refused(saved)


def test_a_manifest_cannot_make_us_read_elsewhere(saved: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    manifest = json.loads((saved / "manifest.json").read_text())
    manifest["sha256"]["../../secret"] = hashlib.sha256(b"secret").hexdigest()
    (saved / "manifest.json").write_text(json.dumps(manifest))
    assert "secret" not in refused(saved).replace(str(tmp_path), "")


def test_a_checkpoint_that_was_renamed_is_refused(folder: Path, saved: Path) -> None:
    shutil.copytree(saved, folder / "000021")
    assert "step 20" in refused(folder / "000021")


# malice: the checksums are right --------------------------------------------------------------------------


class Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.target}",)


class Harmless:
    """Any class of ours is as foreign to a reader of plain data as os.system."""

    def __repr__(self) -> str:
        return "Harmless()"


def torch_file(tree: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(tree, buffer)
    return buffer.getvalue()


def test_a_pickle_with_code_in_it_is_not_executed(saved: Path, tmp_path: Path) -> None:
    target = tmp_path / "executed"
    for content in (
        torch_file({"step": 20, "bomb": Bomb(target)}),
        pickle.dumps(Bomb(target)),
        torch_file(Bomb(target)),
    ):
        (saved / "state.pt").write_bytes(content)
        sign(saved)
        assert "state.pt" in refused(saved)
        assert not target.exists()


@pytest.mark.parametrize(
    "tree",
    [
        Harmless(),
        None,
        5,
        [],
        {},
        {"step": 20},
        {"step": 20, "G": 1, "D": 2, "penalties": 3},
        {"step": 20, "G": Harmless()},
    ],
    ids=repr,
)
def test_a_state_of_any_other_form_is_refused(saved: Path, tree: Any) -> None:
    (saved / "state.pt").write_bytes(torch_file(tree))
    sign(saved)
    assert "state.pt" in refused(saved)


def safetensors_of(header: Any, body: bytes = b"\0" * 16) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 7,
        struct.pack("<Q", 2**63) + b"{}",
        safetensors_of(b"not json"),
        safetensors_of([]),
        safetensors_of({"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 1 << 40]}}),
        safetensors_of({"w": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 16]}}),
        safetensors_of({"w": {"dtype": "F32", "shape": [-4], "data_offsets": [0, 16]}}),
        safetensors_of({"w": {"dtype": "X99", "shape": [4], "data_offsets": [0, 16]}}),
        safetensors_of({"w": {"dtype": "F32", "shape": [4], "data_offsets": [16, 0]}}),
    ],
)
def test_hostile_safetensors_are_refused(saved: Path, content: bytes) -> None:
    (saved / "G.safetensors").write_bytes(content)
    sign(saved)
    assert "G.safetensors" in refused(saved)
