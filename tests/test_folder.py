"""Folders of images: what lies in them is recognised and said; a cache is whole or not there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile

from picture_files import KINDS, bad_files, draw, noise, put, smooth
from refusals import refused
from zerosum import data
from zerosum.data import folder as module
from zerosum.data.source import order

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 images of all kinds, at several depths, and 20 bad files."""
    folder = tmp_path_factory.mktemp("zoo")
    for name, (suffix, save) in KINDS.items():
        for i in range(15):
            path = folder / ("", "a/", "b/c/d/")[i % 3] / f"{name}{i}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            save(path, i)
    put(folder, bad_files())
    (folder / ".hidden").write_text("not looked at")
    return folder


def test_every_kind_is_read_and_every_bad_file_is_named(
    zoo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = bad_files()
    assert len(bad) == 20 and len({cause for _, cause in bad.values()}) >= 6
    source = data.image_folder(zoo, split="all", cache=tmp_path)
    assert len(source) == 300 and source.shape == (3, 64, 64) and source.classes == 0
    causes = {path: cause.split(":")[0] for path, cause in source.skipped}
    assert causes == {name: cause for name, (_, cause) in bad.items()}
    assert capsys.readouterr() == ("", ""), "what there is to say is in the notes"
    about, line = source.notes
    assert "20 of 320 files skipped" in line and "300 images of 3 x 64 x 64" in about
    for cause, count in Counter(cause for _, cause in bad.values()).items():
        assert f"{count} {cause} (" in line
    assert all(name in line for name in bad)
    [listed] = tmp_path.rglob("skipped.txt")
    assert str(listed) in line
    assert [row.split("\t")[0] for row in listed.read_text().splitlines()] == sorted(bad)


def test_the_fingerprint_is_that_of_the_examples_and_their_order(tmp_path: Path) -> None:
    folder, n = tmp_path / "folder", 12
    for i in range(n):
        (folder / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise(8, 8, seed=i)).save(folder / "ab"[i % 2] / f"{i}.png")

    def fingerprint(**options: Any) -> str:
        whole = [
            data.image_folder(folder, split, cache=tmp_path / "cache", **options) for split in ("all", "test")
        ]
        assert whole[0].fingerprint == whole[1].fingerprint != ""
        return whole[0].fingerprint

    first = fingerprint()
    os.utime(folder / "a" / "0.png", (0, 0))
    (folder / "notes.txt").write_text("no image")
    assert fingerprint(flip=True, seed=5, low=0.0) == first, "neither dates nor other files count"
    seen = [first, fingerprint(size=16)]
    for change in (
        lambda: (folder / "a" / "0.png").rename(folder / "a" / "1.png"),  # another order
        lambda: (folder / "a" / "2.png").rename(folder / "b" / "2.png"),  # another label
        lambda: Image.fromarray(noise(8, 8, seed=n)).save(folder / "a" / "1.png"),
        lambda: Image.fromarray(noise(8, 8, seed=n)).save(folder / "a" / "x.png"),
        lambda: (folder / "b").rename(folder / "c"),
        lambda: (folder / "a" / "x.png").unlink(),
    ):
        change()
        seen.append(fingerprint())
    assert len({*seen}) == len(seen)


def test_cached_and_fresh_are_the_same_and_no_file_is_opened_again(
    zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = data.image_folder(zoo, size=16, cache=tmp_path)
    monkeypatch.setattr(module, "_make", None)
    again = data.image_folder(zoo, size=16, cache=tmp_path)
    assert torch.equal(first.pixels[:], again.pixels[:]) and first.skipped == again.skipped
    assert all(torch.equal(first.batch(s, 7)[0], again.batch(s, 7)[0]) for s in range(3))


def test_pillow_is_left_as_it_was(zoo: Path) -> None:
    before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
    data.image_folder(zoo, size=8)
    assert before == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("fit", ["crop", "fit"])
def test_every_kind_takes_every_form(channels: int, fit: str, tmp_path: Path) -> None:
    for name, (suffix, save) in KINDS.items():
        save(tmp_path / f"{name}.{suffix}", 3)
    source = data.image_folder(tmp_path, "all", size=(12, 20), channels=channels, fit=fit)  # type: ignore[arg-type]
    assert source.shape == (channels, 12, 20) and len(source) == len(KINDS) and source.skipped == ()
    x, y = source.batch(0, 5)
    assert x.shape == (5, channels, 12, 20) and x.dtype == torch.float32 and y is None
    assert x.min() >= -1 and x.max() <= 1


# Labels and splits


def test_sub_folders_are_classes(tmp_path: Path) -> None:
    for level, name in enumerate(["cat", "ant", "bee"]):
        (tmp_path / name / "deep").mkdir(parents=True)
        for i in range(6):
            Image.new("L", (8, 8), level).save(tmp_path / name / ("", "deep")[i % 2] / f"{i}.png")
    source = data.image_folder(tmp_path, "all")
    assert source.class_names == ("ant", "bee", "cat") and source.classes == 3
    x, y = source.batch(0, 18)
    assert y is not None and y.dtype == torch.int64 and Counter(y.tolist()) == {0: 6, 1: 6, 2: 6}
    levels = source.codec.decode(x)[:, 0, 0].tolist()
    assert [source.class_names[label] for label in y.tolist()] == [("cat", "ant", "bee")[v] for v in levels]


@pytest.mark.parametrize("beside", ["x.png", "only/x.png"])
def test_no_labels_without_two_sub_folders_that_hold_all(beside: str, tmp_path: Path) -> None:
    draw(tmp_path, 3, prefix="only/")
    draw(tmp_path, 1, prefix=beside)
    source = data.image_folder(tmp_path)
    assert source.classes == 0 and source.labels is None


def test_a_folder_of_bad_files_is_no_class(tmp_path: Path) -> None:
    for name in "ab":
        draw(tmp_path, 3, prefix=f"{name}/")
    put(tmp_path, {"c/x.jpg": (b"", "empty"), "notes.txt": (b"?", "not an image")})
    assert data.image_folder(tmp_path).class_names == ("a", "b")


@pytest.mark.parametrize("n", [10, 11, 50, 300])
def test_the_splits_are_disjoint_complete_and_stay(n: int, tmp_path: Path) -> None:
    draw(tmp_path, n, prefix="a/").joinpath("b").mkdir()
    Image.new("L", (8, 8), 255).save(tmp_path / "b" / "x.png")

    def held(split: str) -> Counter[int]:
        source = data.image_folder(tmp_path, split)
        assert source.split_name == split and source.classes == 2
        return Counter(source.pixels[:][:, 0, 0, 0].tolist())

    before, test = held("test"), held("test").total()
    assert held("train") + before == held("all") and 1 <= test <= max(3, 0.2 * n)
    draw(tmp_path, n + 5, prefix="a/")
    assert before.keys() <= held("test").keys() or n < 50


ALIASES = {
    "train": ["train", "Training"],
    "test": ["TEST", "testing"],
    "valid": ["val", "valid", "Validation"],
}


@pytest.mark.parametrize("wrapped", ["", "mnist/png/"])
@pytest.mark.parametrize("train", ALIASES["train"])
@pytest.mark.parametrize("held", [*ALIASES["test"], *ALIASES["valid"]])
def test_split_folders_go_by_any_usual_name_and_are_said(
    wrapped: str, train: str, held: str, tmp_path: Path
) -> None:
    for label in range(3):
        draw(tmp_path, 4, prefix=f"{wrapped}{train}/{label + 1}/")
        draw(tmp_path, 2, prefix=f"{wrapped}{held}/{label + 1}/")
    source = data.image_folder(tmp_path)
    assert source.splits == ("train", "test", "all") and source.class_names == ("1", "2", "3")
    assert (len(source), len(source.split("test"))) == (12, 6) and source.class_shares == pytest.approx(
        [1 / 3] * 3
    )
    assert "by the names" in source.notes[0]


def test_one_folder_of_a_splits_name_is_no_split(tmp_path: Path) -> None:
    for name in "ab":
        draw(tmp_path, 6, prefix=f"train/{name}/")
    source = data.image_folder(tmp_path, "all")
    assert source.class_names == ("a", "b") and len(source) == 12 and "test" in source.splits


def stylegan(folder: Path, labels: Any) -> Path:
    """24 images in two folders of no meaning, as dataset_tool writes them; the level is the number."""
    for i in range(24):
        path = folder / f"{i // 12:05}" / f"img{i:08}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), i).save(path)
    (folder / "dataset.json").write_text(
        labels if isinstance(labels, str) else json.dumps({"labels": labels})
    )
    return folder


def numbered(n: int, label: Callable[[int], Any]) -> list[list[Any]]:
    return [[f"{i // 12:05}/img{i:08}.png", label(i)] for i in range(n)]


def test_labels_of_a_dataset_json(tmp_path: Path) -> None:
    source = data.image_folder(stylegan(tmp_path, numbered(22, lambda i: 3 + i % 2 * 4)), "all")
    assert source.class_names == ("3", "7") and len(source) == 22
    x, y = source.at(torch.arange(22))
    assert y is not None and torch.equal(source.codec.view(x)[:, 0, 0, 0].long() % 2, y)
    assert {cause for _, cause in source.skipped} == {module.UNLABELLED} and len(source.skipped) == 2


@pytest.mark.parametrize("labels", [None, []])
def test_a_dataset_json_without_labels_means_none(labels: Any, tmp_path: Path) -> None:
    source = data.image_folder(stylegan(tmp_path, labels), "all")
    assert source.classes == 0 and len(source) == 24 and source.skipped == ()


@pytest.mark.parametrize("text", ["[]", "{", '{"a": 1}', "[" * 100_000, "\x00"])
def test_a_dataset_json_of_something_else_is_a_stray_file(text: str, tmp_path: Path) -> None:
    source = data.image_folder(stylegan(tmp_path, text), "all")
    assert source.class_names == ("00000", "00001") and [path for path, _ in source.skipped] == [
        "dataset.json"
    ]


@pytest.mark.parametrize("label", [0.5, "cat", [1, 2], None])
def test_labels_that_are_no_classes_are_refused(label: Any, tmp_path: Path) -> None:
    with refused():
        data.image_folder(stylegan(tmp_path, numbered(24, lambda i: label)))


def test_fewer_than_ten_images_are_not_split(tmp_path: Path) -> None:
    source = data.image_folder(draw(tmp_path, 9))
    assert len(source) == 9 and source.splits == ("train", "all")
    assert "few" in source.notes[-1] and "10" in source.notes[-1]
    with refused():
        data.image_folder(tmp_path, "test")


@pytest.mark.parametrize("held", [["test"], ["valid"], ["val"], ["Test", "val"]])
def test_folders_that_are_splits(held: list[str], tmp_path: Path) -> None:
    for n, part in enumerate(["train", *held], start=2):
        for name in "ab":
            draw(tmp_path, n, prefix=f"{part}/{name}/")
    draw(tmp_path, 1, prefix="other/")
    lengths = {split: len(data.image_folder(tmp_path, split)) for split in ("train", "test", "all")}
    assert lengths == {"train": 4, "test": 6, "all": 10 + 8 * (len(held) - 1)}
    source = data.image_folder(tmp_path)
    assert source.class_names == ("a", "b") and source.skipped == (
        ("other/000.png", "outside of the splits"),
    )
    if len(held) > 1:
        assert len(data.image_folder(tmp_path, "valid")) == 8


# Batches


def test_batches_follow_the_order_of_all_sources(tmp_path: Path) -> None:
    source = data.image_folder(draw(tmp_path, 30), "all", seed=5, low=0.0)
    x, _ = source.batch(3, 7)
    assert torch.equal(x, source.codec.encode(source.pixels[order(30, 5, 3, 7)]))
    assert isinstance(source, data.Source) and isinstance(source, data.Images)


def test_flips_are_even_odds_and_follow_from_seed_and_step(tmp_path: Path) -> None:
    half = np.zeros((8, 8), dtype=np.uint8)
    half[:, :4] = 255
    for i in range(10):
        Image.fromarray(half).save(tmp_path / f"{i}.png")
    plain, flipped = data.image_folder(tmp_path), data.image_folder(tmp_path, flip=True)
    x = flipped.batch(4, 400)[0]
    mirrored = x[:, 0, 0, 0] < 0
    assert 140 < int(mirrored.sum()) < 260
    assert torch.equal(torch.where(mirrored[:, None, None, None], x.flip(3), x), plain.batch(4, 400)[0])
    flipped.batch(5, 400)
    assert torch.equal(x, data.image_folder(tmp_path, flip=True).batch(4, 400)[0])
    assert not torch.equal(x, flipped.batch(5, 400)[0])
    assert not torch.equal(x, data.image_folder(tmp_path, flip=True, seed=1).batch(4, 400)[0])


def test_a_batch_touches_its_own_rows_only(tmp_path: Path) -> None:
    """A cache of 8 GB, which only seems to be on the disk: two batches are read in little memory."""
    source = data.image_folder(draw(tmp_path, 12), cache=tmp_path / "cache")
    [index] = (tmp_path / "cache").rglob("index.json")
    body = index.read_text().split("\n", 1)[1]
    n = 1 << 27
    body = body.replace("[12, 1, 8, 8]", f"[{n}, 1, 8, 8]").replace('"all": [0, 12]', f'"all": [0, {n}]')
    index.write_text(f"{module._digest(body)}\n{body}")
    os.truncate(index.with_name("pixels.bin"), n * 64)
    cached = module._read(index.parent)
    assert cached is not None and source.skipped == ()

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    before = resident()
    rows = torch.arange(0, n, n // 100)
    assert cached.pixels.index_select(0, rows).shape == (len(rows), 1, 8, 8)
    assert resident() - before < 1 << 28


# The cache


def homes(cache: Path) -> list[Path]:
    return sorted(path.parent for path in cache.rglob("index.json"))


def test_it_lies_in_the_users_cache(own_cache: Path, tmp_path: Path) -> None:
    data.image_folder(draw(tmp_path, 1))
    [home] = homes(own_cache)
    assert home.parent.parent == own_cache / "zerosum" / "images"


def test_it_may_lie_in_the_folder_itself(tmp_path: Path) -> None:
    draw(tmp_path, 2)
    for _ in range(2):
        assert data.image_folder(tmp_path, cache=tmp_path).skipped == ()
    assert len(homes(tmp_path)) == 1


@pytest.mark.parametrize("change", ["add", "remove", "touch", "break"])
def test_it_is_made_again_when_a_file_changes(change: str, own_cache: Path, tmp_path: Path) -> None:
    draw(tmp_path, 3)
    data.image_folder(tmp_path)
    data.image_folder(tmp_path, channels=3)
    before, file = homes(own_cache), tmp_path / "000.png"
    if change == "add":
        Image.new("L", (8, 8), 99).save(tmp_path / "new.png")
    elif change == "remove":
        file.unlink()
    elif change == "touch":
        os.utime(file, ns=(1, 1))
    else:
        file.write_bytes(b"")
    source = data.image_folder(tmp_path)
    assert len(source) == {"add": 4, "touch": 3}.get(change, 2)
    assert len(before) == 2 and len(homes(own_cache)) == 1, "outdated caches of the folder are deleted"
    assert set(homes(own_cache)).isdisjoint(before)


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


DAMAGE: dict[str, tuple[str, Callable[[Path], None]]] = {
    "short_pixels": ("pixels.bin", truncate),
    "no_pixels": ("pixels.bin", Path.unlink),
    "empty_pixels": ("pixels.bin", lambda p: os.truncate(p, 0)),
    "short_index": ("index.json", truncate),
    "empty_index": ("index.json", lambda p: os.truncate(p, 0)),
    "pickled_index": ("index.json", lambda p: p.write_bytes(b"\x80\x04cos\nsystem\n(S'touch pwned'\ntR.")),
    "other_index": (
        "index.json",
        lambda p: p.write_text(p.read_text().replace('"shape": [4', '"shape": [2')),
    ),
    "foreign_index": ("index.json", lambda p: p.write_text("[1, 2]\n{}")),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_cache_is_made_again(damage: str, own_cache: Path, tmp_path: Path) -> None:
    first = data.image_folder(draw(tmp_path, 4)).pixels[:]
    [home] = homes(own_cache)
    name, harm = DAMAGE[damage]
    harm(home / name)
    assert module._read(home) is None
    assert torch.equal(data.image_folder(tmp_path).pixels[:], first)
    assert module._read(home) is not None


def test_a_cache_that_is_cut_short_under_its_reader_is_an_error(own_cache: Path, tmp_path: Path) -> None:
    source = data.image_folder(draw(tmp_path, 40))
    test = source.split("test")
    before = source.batch(0, 4)
    [home] = homes(own_cache)
    os.truncate(home / "pixels.bin", 32)
    for part in (source, test):
        with refused(by=OSError):
            [part.batch(step, 4) for step in range(10)]
    again = data.image_folder(tmp_path)
    assert torch.equal(again.batch(0, 4)[0], before[0]), "it is made anew"


def test_a_split_opens_without_listing_or_decoding_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = data.image_folder(draw(tmp_path, 40))
    monkeypatch.setattr(module, "walk", None)
    test = source.split("test")
    assert (
        len(source) + len(test) == len(test.split("all")) == 40
        and test.split("train").splits == source.splits
    )
    assert source.fingerprint == test.fingerprint != ""


def test_more_than_the_disk_holds_is_refused_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "decode", None)
    with refused(by=OSError):
        monkeypatch.setattr(module.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
        data.image_folder(draw(tmp_path, 4), size=16)


def test_nothing_is_unpickled() -> None:
    source = Path(module.__file__).read_text()
    assert not any(word in source for word in ("pickle", "torch.load", "np.load", "eval("))


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with refused(by=OSError):
        data.image_folder(draw(tmp_path / "in", 1), cache=tmp_path / "file")


OPEN = """
import sys, hashlib
from contextlib import nullcontext
from zerosum import data
from zerosum.data.progress import shown_by
with shown_by(lambda what, unit: print(what, file=sys.stderr) or nullcontext(lambda done, total: None)):
    source = data.image_folder(sys.argv[1], size=32)
print(len(source), hashlib.sha256(source.pixels[:].numpy().tobytes()).hexdigest())
"""


def start(folder: Path) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", OPEN, folder], stdout=pipe, stderr=pipe, text=True)


def test_two_processes_at_once_make_one_cache(own_cache: Path, tmp_path: Path) -> None:
    for i in range(60):
        smooth(300, 300, 3, i).save(tmp_path / f"{i}.jpg")
    outputs = [process.communicate(timeout=300) for process in [start(tmp_path), start(tmp_path)]]
    assert outputs[0][0] == outputs[1][0] != ""
    assert sum("decoding" in err for _, err in outputs) == 1, "one makes it, the other waits"
    assert len(homes(own_cache)) == 1 and not list(own_cache.rglob("*.part"))


def test_a_process_that_is_killed_leaves_no_cache(own_cache: Path, tmp_path: Path) -> None:
    for i in range(40):
        smooth(300, 300, 3, i).save(tmp_path / f"{i}.jpg")
    for i in range(400):
        (tmp_path / f"link{i}.jpg").symlink_to(f"{i % 40}.jpg")  # so that decoding takes a while
    process = start(tmp_path)
    while not list(own_cache.rglob("*.part/pixels.bin")) and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "it was killed before its end"
    assert homes(own_cache) == [] or ".part" in str(homes(own_cache)[0])
    assert list(own_cache.rglob("*.part")), "what it left behind"
    source = data.image_folder(tmp_path, "all", size=32)
    assert len(source) == 440 and not list(own_cache.rglob("*.part")) and len(homes(own_cache)) == 1


def test_an_interrupted_build_leaves_no_cache(
    own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "decode", interrupted)
        data.image_folder(draw(tmp_path, 4))
    assert not list(own_cache.rglob("*.bin"))
    assert len(data.image_folder(tmp_path)) == 4
