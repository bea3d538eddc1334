"""What is right by construction gets no complaint, what is wrong does, whatever the form."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from pages import checked
from refusals import refused
from zerosum import metrics
from zerosum.cli import main
from zerosum.data import Images, Vectors
from zerosum.data.tables import read_sheet
from zerosum.evaluation import Judge, evaluate, judge_for, read_samples, real_data
from zerosum.metrics import two_sample
from zerosum.randomness import key

Array = np.ndarray
SIDE, COUNT = 12, 400


def rng(*purpose: object) -> np.random.Generator:
    return np.random.default_rng(key(*purpose))


def drawn(n: int, classes: Array, purpose: object, channels: int = 1) -> Array:
    """Images of as many kinds as there are classes: a bright bar at an angle, noise; uint8 [N, H, W, C]."""
    draw = rng("bars", purpose)
    y, x = np.mgrid[:SIDE, :SIDE] / (SIDE - 1) - 0.5
    angle = (classes * 0.7 + draw.normal(0, 0.05, n))[:, None, None]
    where = x * np.cos(angle) + y * np.sin(angle) + draw.uniform(-0.15, 0.15, n)[:, None, None]
    bar = 200 * np.exp(-((where / 0.12) ** 2))
    shades = draw.uniform(0.6, 1.0, (n, 1, 1, channels)) * (np.arange(channels) + 2) / (channels + 1)
    return (bar[..., None] * shades + draw.uniform(0, 50, (n, SIDE, SIDE, channels))).astype(np.uint8)


def classes_of(n: int, purpose: object, shares: tuple[float, ...] = (0.4, 0.3, 0.3)) -> Array:
    return rng("classes", purpose).choice(len(shares), n, p=shares)


# images in files ----------------------------------------------------------------------------------------

Save = Callable[[Path, Array, Array], Path]


def as_npy(path: Path, images: Array, labels: Array) -> Path:
    np.save(path.with_suffix(".npy"), images[..., 0] if images.shape[3] == 1 else images)
    return path.with_suffix(".npy")


def as_npz(labelled: Callable[[Array], Array]) -> Save:
    def save(path: Path, images: Array, labels: Array) -> Path:
        np.savez(path.with_suffix(".npz"), samples=images, labels=labelled(labels))
        return path.with_suffix(".npz")

    return save


def as_folder(convert: Callable[[Array], Image.Image], classes: bool = False) -> Save:
    """Nested, with a stray file, of whatever Pillow image `convert` makes of [H, W, C]."""

    def save(path: Path, images: Array, labels: Array) -> Path:
        for i, (image, label) in enumerate(zip(images, labels, strict=True)):
            home = path / (f"kind {label}" if classes else "nested/deep")
            home.mkdir(parents=True, exist_ok=True)
            convert(image).save(home / f"{i:04d}.png")
        (path / "README.txt").write_text("no image")
        return path

    return save


def grey16(image: Array) -> Image.Image:
    return Image.fromarray(image[..., 0].astype(np.uint16) * 257)


def palette(image: Array) -> Image.Image:
    return Image.fromarray(np.repeat(image[..., :1], 3, axis=2)).quantize(64)


def see_through(image: Array) -> Image.Image:
    alpha = np.full((*image.shape[:2], 1), 128, dtype=np.uint8)
    return Image.fromarray(np.concatenate([np.repeat(image[..., :1], 3, axis=2), alpha], axis=2))


FORMS: dict[str, tuple[Save, int]] = {
    "npy": (as_npy, 1),
    "npy of two channels": (as_npy, 2),
    "npy of four channels": (as_npy, 4),
    "npz with labels from 1": (as_npz(lambda y: y + 1), 1),
    "npz with names": (as_npz(lambda y: np.array(["cat", "dog", "fox"])[y]), 3),
    "folder, 16 bits": (as_folder(grey16), 1),
    "folder, palette": (as_folder(palette), 1),
    "folder, see-through": (as_folder(see_through), 1),
    "folder, RGB, of classes": (as_folder(Image.fromarray, classes=True), 3),
}


def blurred(images: Array, labels: Array) -> Array:
    pictures = [Image.fromarray(image[..., c]) for image in images for c in range(images.shape[3])]
    soft = [np.asarray(picture.filter(ImageFilter.GaussianBlur(1))) for picture in pictures]
    return np.stack(soft).reshape(len(images), images.shape[3], SIDE, SIDE).transpose(0, 2, 3, 1)


WRONG: dict[str, Callable[[Array, Array], Array]] = {
    "one class missing": lambda x, y: np.where(
        (y == 0)[:, None, None, None], x[y > 0][: (y > 0).sum()][0], x
    ),
    "blurred": blurred,
    "scaled": lambda x, y: (x * 0.6).astype(np.uint8),
    "mirrored": lambda x, y: x[:, ::-1],
}


def population(form: str, what: str) -> tuple[Array, Array]:
    y = classes_of(COUNT, (form, what))
    return drawn(COUNT, y, (form, what), FORMS[form][1]), y


def judged(real: Path, fake: Path, features: str = "filters") -> dict[str, dict[str, Any]]:
    return judged_by(judge_for(fake, str(real), features, n=COUNT), fake)


def judged_by(judge: Judge, fake: Path) -> dict[str, dict[str, Any]]:
    samples, wanted = read_samples(fake, judge.real, COUNT)
    rows = list(evaluate(judge, samples, wanted=wanted))
    assert sum("skipped" in row and row["applies"] for row in rows) <= 2, rows
    return {row["metric"]: row for row in rows if "skipped" not in row}


def worse(rows: dict[str, dict[str, Any]]) -> list[str]:
    return [name for name, row in rows.items() if row["worse"]]


@pytest.fixture(autouse=True)
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of its own, and judges that learn for a moment: the images are simple."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    train = metrics.train_classifier
    monkeypatch.setattr(metrics, "train_classifier", lambda *a, **k: train(*a, **k, steps=60))
    monkeypatch.setattr(two_sample, "STEPS", 200)


@pytest.mark.parametrize("form", FORMS)
def test_images_that_are_right_get_no_complaint_in_any_form(form: str, tmp_path: Path) -> None:
    save = FORMS[form][0]
    real, fake = (save(tmp_path / what, *population(form, what)) for what in ("real", "fake"))
    rows = judged(real, fake)
    assert not worse(rows), {name: rows[name] for name in worse(rows)}
    assert ("agreement" in rows) == ("label" in form or "name" in form or "class" in form)


@pytest.mark.parametrize("defect", WRONG)
@pytest.mark.parametrize("form", ["npy", "folder, 16 bits"])
def test_images_that_are_wrong_are_called_so(defect: str, form: str, tmp_path: Path) -> None:
    save = FORMS[form][0]
    real = save(tmp_path / "real", *population(form, "real"))
    x, y = population(form, "fake")
    assert worse(judged(real, save(tmp_path / "fake", WRONG[defect](x, y), y)))


# rows, signals and other shapes, from a program ---------------------------------------------------------


def bits(n: int, purpose: object) -> Array:
    return (rng("bits", purpose).random((n, 40)) < np.linspace(0.05, 0.6, 40)).astype(np.float32)


def signals(n: int, purpose: object) -> Array:
    draw = rng("signals", purpose)
    phase, height = draw.uniform(0, 6, (n, 1, 1)), draw.uniform(0.5, 1.9, (n, 1, 1))
    return (height * np.sin(np.arange(10) + phase + np.arange(2)[:, None])).astype(np.float32)


def normals(n: int, purpose: object) -> Array:
    return rng("normals", purpose).normal(3, [0.1, 10, 1000], (n, 3)).astype(np.float32)


def source(x: Array, y: Array | None = None) -> Any:
    """Numbers, or images of any number of channels, of which a quarter is held out."""
    labels = None if y is None else torch.from_numpy(y).long()
    cut = len(x) * 3 // 4
    rows = {"train": slice(cut), "test": slice(cut, None)}

    def opener(name: str) -> Any:
        part, options = rows[name], {"splits": tuple(rows), "opener": opener, "split_name": name}
        label = None if labels is None else labels[part]
        if x.dtype == np.uint8:
            pixels = torch.from_numpy(np.ascontiguousarray(x[part].transpose(0, 3, 1, 2)))
            return Images(pixels, label, **options)
        return Vectors(torch.from_numpy(x[part]), label, **options)

    return opener("train")


NUMBERS: dict[str, Callable[[int, object], Array]] = {"bits": bits, "signals": signals, "normals": normals}


@pytest.mark.parametrize("kind", NUMBERS)
@pytest.mark.parametrize("held_out", [300, 150, 40])
def test_numbers_that_are_right_get_no_complaint(kind: str, held_out: int) -> None:
    judge = Judge(real_data(source(NUMBERS[kind](4 * held_out, "real")), kind, n=1000))
    fake = NUMBERS[kind](1000, "fake")
    rows = {row["metric"]: row for row in evaluate(judge, torch.from_numpy(fake)) if "skipped" not in row}
    assert not worse(rows), {name: rows[name] for name in worse(rows)}
    assert ("together" in judge.real.split) == (held_out < 250) and len(judge.real.judged) >= 160


@pytest.mark.parametrize("kind", NUMBERS)
def test_numbers_that_are_wrong_are_called_so(kind: str) -> None:
    judge = Judge(real_data(source(NUMBERS[kind](2400, "real")), kind, n=600))
    fake = NUMBERS[kind](600, "fake")
    swapped = np.roll(fake.reshape(600, -1), 1, axis=1)
    for wrong in (fake * 1.2, swapped.reshape(fake.shape)):
        rows = {r["metric"]: r for r in evaluate(judge, torch.from_numpy(wrong)) if "skipped" not in r}
        assert {"referee", "two_sample_test"} <= set(worse(rows))


@pytest.mark.parametrize("channels", [2, 5])
def test_images_of_any_number_of_channels_are_judged(channels: int) -> None:
    y = classes_of(2 * COUNT, channels)
    x = drawn(2 * COUNT, y, channels, channels)
    judge = Judge(real_data(source(x[:COUNT]), "channels", n=COUNT), "filters")
    fake = torch.from_numpy(x[COUNT:].transpose(0, 3, 1, 2).copy())
    rows = {row["metric"]: row for row in evaluate(judge, fake) if "skipped" not in row}
    assert not worse(rows) and len(rows) > 8


@pytest.mark.parametrize("few", [12, 60, 200])
def test_of_few_images_all_are_used_and_nothing_is_sure(few: int) -> None:
    x = drawn(few, classes_of(few, "few"), "few")
    real = real_data(source(x), "few", n=1000)
    assert len(real.judged) == few and "held out" in real.split and not real.independent
    fake = torch.from_numpy(drawn(1000, classes_of(1000, "many"), "many").transpose(0, 3, 1, 2).copy())
    rows = [row for row in evaluate(Judge(real), fake) if "skipped" not in row]
    assert rows and not any(row["worse"] for row in rows)
    for row in rows:
        sure = row["high"] - row["low"] < 0.02 and row["value"] in (0, 1) and row["p_value"] is None
        assert not sure or row["metric"] == "referee", row


def test_features_compare_none_of_the_examples_that_they_were_learnt_on() -> None:
    """A classifier of labels that mean nothing knows its own examples by heart: no others look like them."""
    x, y = drawn(240, classes_of(240, "known"), "known"), classes_of(240, "by heart")
    judge = Judge(real_data(source(x, y), "by heart", n=COUNT), "classifier")
    of, real = judge.compared, judge.real
    assert len(of.judged) == real.apart == 60 + 90 and of.labels is not None and len(of.labels) == 150
    fake = torch.from_numpy(drawn(COUNT, classes_of(COUNT, "new"), "new").transpose(0, 3, 1, 2).copy())
    rows = [row for row in evaluate(judge, fake) if "skipped" not in row]
    assert len(rows) > 8 and not any(row["worse"] for row in rows), [row for row in rows if row["worse"]]
    assert all("learnt" in row["split"] for row in rows)


@pytest.mark.parametrize("n", [400, 60])
def test_what_depends_on_how_many_there_are_is_compared_at_as_many(n: int) -> None:
    """The value and its floor see the same half of the real examples, and as many others."""
    judge = Judge(real_data(source(normals(400, "real")), "many", n=400))
    (row, *_) = evaluate(judge, torch.from_numpy(normals(n, "others")), ["prdc"])
    floor = judge.floor(metrics.POINTS["prdc"], n)["precision"]
    assert row["n"] == floor.n == min(n, 200)


# classes and labels -------------------------------------------------------------------------------------


def test_unequal_classes_in_their_shares_are_right_and_in_equal_shares_are_not() -> None:
    shares = (0.95, 0.05)
    y = classes_of(2000, "unequal", shares)
    x = (rng("unequal").normal(0, 1, (2000, 3)) + 4 * y[:, None]).astype(np.float32)
    judge = Judge(real_data(source(x, y), "unequal", n=500))
    for given, right in ((shares, True), ((0.5, 0.5), False)):
        wanted = classes_of(1000, "made", given)
        fake = (rng("made").normal(0, 1, (1000, 3)) + 4 * wanted[:, None]).astype(np.float32)
        rows = {
            row["metric"]: row
            for row in evaluate(judge, torch.from_numpy(fake), wanted=torch.from_numpy(wanted))
            if "skipped" not in row
        }
        assert rows["agreement"]["low"] > 0.95 and not rows["agreement"]["worse"]
        assert rows["class_kl"]["worse"] is not right and bool(worse(rows)) is not right


def test_a_generator_that_ignores_what_is_asked_is_seen_by_agreement_alone() -> None:
    y = classes_of(2000, "ignored")
    x = (rng("ignored").normal(0, 1, (2000, 3)) + 4 * y[:, None]).astype(np.float32)
    judge = Judge(real_data(source(x[:1000], y[:1000]), "ignored", n=500))
    wanted = torch.from_numpy(rng("shuffled").permutation(y[1000:]))
    rows = {r["metric"]: r for r in evaluate(judge, torch.from_numpy(x[1000:]), wanted=wanted)}
    assert rows["agreement"]["worse"] and rows["agreement"]["value"] < 0.5
    assert worse({name: row for name, row in rows.items() if "skipped" not in row}) == ["agreement"]


# tables -------------------------------------------------------------------------------------------------


def table(path: Path, n: int, purpose: object, change: Callable[[list[Any]], list[Any]] = list) -> Path:
    """Whole numbers, dates, decimals, names: two of them hang together."""
    draw = rng("table", purpose)
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["day", "date", "amount", "shop", "kind"])
        for _ in range(n):
            day = int(draw.integers(1, 32))
            shop = ["north", "south", "west"][int(draw.choice(3, p=[0.7, 0.25, 0.05]))]
            amount = round(float(draw.lognormal(1 + (shop == "south"), 0.5)), 2)
            kind = "big" if amount > 4 else "small"
            rows.writerow(
                change([day, f"2023-{int(draw.integers(1, 13)):02d}-{day:02d}"[:7], amount, shop, kind])
            )
    return path


def shuffled(path: Path) -> Path:
    """The same columns, each in an order of its own."""
    with path.open(newline="") as file:
        head, *rows = list(csv.reader(file))
    columns = [rng("column", j).permutation([row[j] for row in rows]) for j in range(len(head))]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([head, *zip(*columns, strict=True)])
    return path


def test_a_table_that_is_right_gets_no_complaint_and_one_that_is_wrong_does(tmp_path: Path) -> None:
    real = table(tmp_path / "real.csv", 3000, "real")
    right_file = table(tmp_path / "right.csv", 600, "right")
    judge = judge_for(right_file, str(real), n=COUNT)  # one for all: its floors are made once
    right = judged_by(judge, right_file)
    of_rows = {"quality", "detection", "utility", "values_present", "values_outside", "nearness_to_training"}
    assert of_rows <= set(right) and right["utility"]["space"] == "AUC of kind"
    assert not worse(right), {name: right[name] for name in worse(right)}
    wrong = [
        table(
            tmp_path / "scaled.csv", 600, "scaled", lambda row: [*row[:2], round(row[2] * 1.5, 2), *row[3:]]
        ),
        table(tmp_path / "lost.csv", 600, "lost", lambda row: [*row[:3], "north", row[4]]),
        shuffled(table(tmp_path / "shuffled.csv", 600, "shuffled")),
    ]
    seen = [worse(judged_by(judge, path)) for path in wrong]
    assert {"detection", "utility"} <= set(seen[0])
    assert {"detection", "values_present"} <= set(seen[1])
    assert {"detection", "utility"} <= set(seen[2])


def test_rows_under_a_condition_are_judged_by_real_rows_under_it(tmp_path: Path) -> None:
    real, made = (table(tmp_path / f"{name}.csv", n, name) for name, n in (("real", 1200), ("made", 300)))
    held_out = table(tmp_path / "held.csv", 300, "held")
    judge = judge_for(
        made, str(real), n=300, where="shop=south", predict="amount", unseen=read_sheet(held_out)
    )
    assert set(judge.real.judged.sheet.objects("shop")) == {"south"} and len(judge.real.train) < 450
    samples, _ = read_samples(made, judge.real, 300)
    names = ["conditions_obeyed", "table_quality", "utility"]
    rows = {row["metric"]: row for row in evaluate(judge, samples, names)}
    share = np.mean(samples.sheet.objects("shop") == "south")
    assert rows["conditions_obeyed"]["value"] == share < 0.4 and rows["conditions_obeyed"]["worse"]
    assert rows["conditions_obeyed"]["floor"]["value"] == 1 and rows["column_shapes"]["worse"]
    assert rows["utility"]["space"] == "R^2 of amount"
    assert {row["where"] for row in rows.values()} == {"shop=south"}
    with refused("moon"):
        judge_for(made, str(real), where="shop=moon")
    with refused("colour"):
        judge_for(made, str(real), predict="colour")


def test_tables_of_identifiers_alone_have_no_rows_to_judge(tmp_path: Path) -> None:
    for name in ("real", "made"):
        (tmp_path / f"{name}.csv").write_text("id\n" + "".join(f"C{i:04d}\n" for i in range(40)))
    judge = judge_for(tmp_path / "made.csv", str(tmp_path / "real.csv"), n=40)
    samples, _ = read_samples(tmp_path / "made.csv", judge.real, 40)
    skipped = {row["metric"] for row in evaluate(judge, samples) if "skipped" in row}
    assert {"table_quality", "detection", "values_outside", "training_copies"} <= skipped


def test_what_training_saw_is_no_test_of_utility_or_of_copies(tmp_path: Path) -> None:
    """Where few rows are held out, others are judged along with them: learnt by heart, they tell nothing."""
    real, made = (table(tmp_path / f"{name}.csv", n, name) for name, n in (("real", 500), ("made", 120)))
    judge = judge_for(made, str(real), predict="shop")
    assert len(judge.real.judged) == 500
    samples, _ = read_samples(made, judge.real)
    rows = {row["metric"]: row for row in evaluate(judge, samples, ["utility", "training_copies"])}
    assert rows["utility"]["n"] == 120 and not rows["utility"]["worse"]
    assert rows["utility"]["floor"]["value"] < 0.8 and rows["training_copies"]["floor"]["value"] < 0.1


def test_any_software_s_table_has_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    real, made = (str(table(tmp_path / f"{name}.csv", 300, name)) for name in ("real", "made"))
    out = tmp_path / "page.html"
    command = ["evaluate", real, made, "--metrics", "table_quality,values_outside", "--page", str(out)]
    assert main(command) == 0
    text = out.read_text()
    assert (
        checked(text)
        and text.count('class="matrix"') == 2
        and "column shapes" in text
        and "In every row" in text
    )
    assert main(["evaluate", real, made, "--data", real]) == 2
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.yaml").write_text("recipe: ring")
    assert main(["evaluate", str(tmp_path / "run"), made]) == 2 and "--compare" in capsys.readouterr().err
    less, lines = tmp_path / "less.csv", Path(real).read_text().splitlines()
    less.write_text("\n".join(lines))
    Path(real).write_text("\n".join(f"{line},{(i and 1) or 'one'}" for i, line in enumerate(lines)))
    for command in (["evaluate", real, str(less)], ["evaluate", real, real, "--held-out", str(less)]):
        capsys.readouterr()
        assert main(command) == 1 and "'one'" in capsys.readouterr().err
    assert main(["evaluate", "ring.npy", "--data", "ring", "--page", str(out)]) != 0
    capsys.readouterr()


# what cannot be judged ----------------------------------------------------------------------------------


def lying(path: Path) -> Path:
    """A header that promises more than the file holds."""
    np.save(path, np.zeros((10, 3)))
    path.write_bytes(path.read_bytes().replace(b"(10, 3)", b"(99, 3)"))
    return path


def saved(path: Path, array: Array) -> Path:
    np.save(path, array)
    return path


BROKEN: dict[str, Callable[[Path], Path]] = {
    "of another width": lambda folder: saved(folder / "x.npy", np.zeros((50, 7))),
    "empty": lambda folder: saved(folder / "x.npy", np.zeros((0, 3))),
    "not finite": lambda folder: saved(folder / "x.npy", np.full((50, 3), np.nan)),
    "a lie": lambda folder: lying(folder / "x.npy"),
    "pickled": lambda folder: saved(folder / "x.npy", np.array([{}, {}], dtype=object)),
    "text": lambda folder: saved(folder / "x.npy", np.array(["a", "b"])),
    "of images": lambda folder: saved(folder / "x.npy", np.zeros((50, 8, 8), dtype=np.uint8)),
    "cut short": lambda folder: (folder / "x.csv").write_text("a,b,c\n1,2,3\n4,5") and folder / "x.csv",
    "no table": lambda folder: (folder / "x.csv").write_bytes(b"\0\1\2\xff") and folder / "x.csv",
    "a folder": lambda folder: folder,
    "of no kind": lambda folder: (folder / "x.pt").write_bytes(b"PK") and folder / "x.pt",
}


@pytest.mark.parametrize("what", BROKEN)
def test_samples_that_are_none_are_refused_in_a_line_with_their_name(what: str, tmp_path: Path) -> None:
    real = real_data(source(normals(400, "real")), "normals", n=100)
    path = BROKEN[what](tmp_path)
    with pytest.raises((ValueError, OSError)) as error:
        samples, _ = read_samples(path, real)
        list(evaluate(Judge(real), samples))
    assert "\n" not in str(error.value) and len(str(error.value)) < 500
