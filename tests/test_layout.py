"""How a folder is divided and labelled, for any layout: laws of the paths alone."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as some
from PIL import Image

from cases import cases
from picture_files import bomb, noise, packed
from zerosum.data import image_folder
from zerosum.data.layout import SPLITS, class_folders, layout

NAMES = [alias for aliases in SPLITS.values() for alias in aliases]
FOLDERS = some.sampled_from([*NAMES, "cat", "dog", "1", "10", "2", "a-b", "a"])
PATHS = some.lists(FOLDERS, max_size=3).flatmap(
    lambda folders: some.integers(0, 99).map(lambda i: "/".join([*folders, f"{i}.png"]))
)
LISTS = some.lists(PATHS, min_size=1, max_size=60, unique=True)


@given(LISTS)
@cases(300)
def test_every_image_is_in_one_split_or_outside_of_all(paths: list[str]) -> None:
    found = layout(paths)
    assert sorted([*found.paths, *found.outside]) == sorted(paths)
    rows = found.rows()
    everything = range(*rows.pop("all"))
    assert everything == range(len(found.paths))
    assert sorted(i for row in rows.values() for i in range(*row)) == list(everything)
    assert "train" in rows or not found.paths
    assert len(class_folders(found)) == len(found.paths)


@given(LISTS)
@cases(300)
def test_neither_case_nor_a_folder_round_all_matters(paths: list[str]) -> None:
    def told(paths: list[str]) -> tuple[object, ...]:
        found = layout(paths)
        named = sorted(zip((path.split("/")[-1] for path in found.paths), class_folders(found), strict=True))
        return {name: len(part) for name, part in found.parts.items()}, len(found.outside), named

    plain = told(paths)
    assert told([f"Photos of 2024/all of them/{path}" for path in paths]) == plain
    if "" not in layout(paths).parts:
        upper = ["/".join([path.split("/")[0].upper(), *path.split("/")[1:]]) for path in paths]
        assert len({*upper}) == len(paths) and told(upper)[0] == plain[0]


@given(LISTS, some.integers(0, 20))
@cases(200)
def test_the_images_held_out_stay_when_others_come(paths: list[str], more: int) -> None:
    before, after = layout(paths), layout([*paths, *(f"new{i}.png" for i in range(more))])
    if "" in before.parts and "" in after.parts and len(paths) >= 60:
        held = set(before.paths[slice(*before.rows()["test"])])
        assert len(held) <= 1 or held <= {*after.paths[slice(*after.rows()["test"])]}


PNG = packed(Image.fromarray(noise(6, 5, 3)), "PNG")
CONTENTS = {"image": PNG, "cut": PNG[:60], "empty": b"", "text": b"holiday", "bomb": bomb()}
ENTRIES = [*CONTENTS, *["image"] * 9, "pipe", "round", "nothing", "folder"]
TREES = some.dictionaries(
    some.lists(FOLDERS | some.text("a .-\\é\n\x1b", min_size=1, max_size=3), max_size=4).map(tuple),
    some.lists(
        some.sampled_from([*CONTENTS, *["image"] * 9, "pipe", "round", "nothing", "folder"]), max_size=6
    ),
    max_size=5,
)


@cases(60)
@given(tree=TREES, split=some.sampled_from(["train", "test", "all"]))
def test_any_tree_is_a_folder_of_images_or_an_error_in_one_line(
    tree: dict[tuple[str, ...], list[str]], split: str, tmp_path: Path
) -> None:
    """Each image is in a batch or named with what is wrong; nothing but OSError and ValueError comes out."""
    root = tmp_path / "tree"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    for j, (folders, kinds) in enumerate(tree.items()):  # two of them may name one folder
        home = root.joinpath(*(name for name in folders if name not in (".", "..")))
        home.mkdir(parents=True, exist_ok=True)
        for i, kind in enumerate(kinds):
            path = home / f"{j}-{i}{kind}.png"
            if kind in CONTENTS:
                path.write_bytes(CONTENTS[kind])
            elif kind == "pipe":
                os.mkfifo(path)
            elif kind == "folder":
                path.mkdir()
            else:
                path.symlink_to(root if kind == "round" else "nowhere")
    images = sum(path.name.endswith("image.png") for path in root.rglob("*") if path.is_file())
    try:
        source = image_folder(root, split, size=4, bad=1.0, cache=tmp_path / "cache")
    except ValueError as error:
        assert "\n" not in str(error) and "\x1b" not in str(error)
        return
    assert 1 <= len(source) <= images
    assert source.batch(0, 3)[0].shape == (3, 3, 4, 4)
