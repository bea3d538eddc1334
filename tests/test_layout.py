"""How a folder is divided and labelled, for any layout: laws of the paths alone."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as some

from zerosum.data.layout import SPLITS, class_folders, layout

NAMES = [alias for aliases in SPLITS.values() for alias in aliases]
FOLDERS = some.sampled_from([*NAMES, "cat", "dog", "1", "10", "2", "a-b", "a"])
PATHS = some.lists(FOLDERS, max_size=3).flatmap(
    lambda folders: some.integers(0, 99).map(lambda i: "/".join([*folders, f"{i}.png"]))
)
LISTS = some.lists(PATHS, min_size=1, max_size=60, unique=True)


@given(LISTS)
@settings(max_examples=300, deadline=None)
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
@settings(max_examples=300, deadline=None)
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
@settings(max_examples=200, deadline=None)
def test_the_images_held_out_stay_when_others_come(paths: list[str], more: int) -> None:
    before, after = layout(paths), layout([*paths, *(f"new{i}.png" for i in range(more))])
    if "" in before.parts and "" in after.parts and len(paths) >= 60:
        held = set(before.paths[slice(*before.rows()["test"])])
        assert len(held) <= 1 or held <= {*after.paths[slice(*after.rows()["test"])]}
