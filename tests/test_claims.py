"""The rows of `zerosum theory` agree, and would not agree with wrong answers; its page shows them."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pages import Tab, checked
from zerosum import claims as demonstration
from zerosum import data, game, objectives
from zerosum.claims import MULTIPLE, ROWS, Row, claims, estimates, experiments, optimum, row
from zerosum.cli import main
from zerosum.page import theory as theory_page
from zerosum.randomness import stream
from zerosum.theory import NormalPrior, Quantity, pushforward


@dataclass(frozen=True)
class Shown:
    """What one run of the verb left: exit code, output, rows and page. Most of this file's time is its."""

    code: int
    text: str
    rows: list[Row]
    page: str


def as_row(record: dict[str, Any]) -> Row:
    fields: dict[str, Any] = {key: record[key] for key in record if key not in ("agrees", "claim")}
    fields["predicted"] = Quantity(**record["predicted"])
    fields["measured"] = Quantity(**record["measured"])
    return Row(**fields)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    out = tmp_path_factory.mktemp("theory")
    command = [sys.executable, "-m", "zerosum", "theory", "--seed", "3", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stderr == ""
    records = json.loads((out / "theory.json").read_text())["rows"]
    rows = [as_row(record) for record in records]
    assert [r.agrees for r in rows] == [record["agrees"] for record in records]
    return Shown(done.returncode, done.stdout, rows, (out / "theory.html").read_text())


every_row = pytest.mark.parametrize("i", range(len(ROWS)))


def test_the_verb_prints_every_row_and_exits_with_zero(shown: Shown) -> None:
    assert shown.code == 0
    assert len(shown.rows) == len(ROWS) and f"{len(ROWS)} of {len(ROWS)} rows agree" in shown.text
    assert all(r.claim in shown.text and r.topic in shown.text for r in shown.rows)


def test_every_row_of_the_design_is_there(shown: Shown) -> None:
    topics = dict.fromkeys(r.topic for r in shown.rows)
    assert list(topics) == [
        "value",
        "D loss",
        "minimax G loss",
        "non-saturating G loss",
        "optimal D",
        "value at D*",
        "equilibrium",
        "updates",
        "fixed point",
        "Dirac-GAN",
    ]


@every_row
def test_every_row_agrees_and_is_measured_with_an_error(i: int, shown: Shown) -> None:
    r = shown.rows[i]
    assert r.agrees, r
    assert r.measured.error > 0 or r.measured.method == "count"
    assert r.how and r.measured.method


@every_row
def test_every_row_refuses_a_wrong_prediction(i: int, shown: Shown) -> None:
    """An equality has wrong answers of its own; an inequality is refused the other way round."""
    r = shown.rows[i]
    if r.relation == "=":
        assert r.wrong
        for name, value in r.wrong.items():
            assert not replace(r, predicted=Quantity(value, r.predicted.error, name), wrong={}).agrees, name
            assert not replace(r, wrong={name: r.predicted.value}).agrees
    else:
        other = {"<": ">", ">": "<"}[r.relation]
        assert not replace(r, relation=other).agrees
        assert not replace(r, relation="=").agrees


def planted(claim: str, prediction: float) -> Callable[[int], Row]:
    def wrong(seed: int) -> Row:
        right = optimum.value_at_equilibrium(seed)
        return replace(right, tex=claim, predicted=estimates.exactly(prediction), wrong={})

    return wrong


def test_a_wrong_claim_is_refused_and_escaped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        claims, "ROWS", (optimum.value_at_equilibrium, planted("V < <b>log 4</b>", math.log(4)))
    )
    monkeypatch.setattr(theory_page, "_figures", lambda seed: [])
    assert main(["theory", "--out", str(tmp_path / "new" / "folder")]) == 1
    printed = capsys.readouterr()
    assert "1 of 2 rows agree" in printed.out and "DIFFERS" in printed.out
    assert printed.err == "zerosum: disagrees: equilibrium: V < <b>log 4</b>\n"
    page = (tmp_path / "new" / "folder" / "theory.html").read_text()
    assert "1 of 2 rows disagree" in page and "&lt;b&gt;log 4&lt;/b&gt;" in page and "<b>" not in page
    assert main(["theory", "--quiet", "--out", str(tmp_path)]) == 1
    assert capsys.readouterr().out == ""


def test_a_folder_that_cannot_be_written_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(claims, "ROWS", ())
    (tmp_path / "file").touch()
    assert main(["theory", "--quiet", "--out", str(tmp_path / "file")]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert main(["theory", "--seed", "one"]) == 2


# Rows -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("relation", "below", "equal", "above"), [("=", 0, 1, 0), ("<", 1, 0, 0), (">", 0, 0, 1)]
)
def test_relations_hold_by_more_than_the_errors(relation: str, below: int, equal: int, above: int) -> None:
    errors = Quantity(0.0, 1.0, ""), Quantity(0.0, 0.5, "")
    allowed = MULTIPLE * 1.5
    for shift, holds in ((-1.01, below), (-0.99, equal), (0.99, equal), (1.01, above)):
        measured = replace(errors[0], value=shift * allowed)
        assert Row("", "", errors[1], measured, "", relation=relation).agrees == bool(holds)


def test_what_is_not_a_number_agrees_with_nothing() -> None:
    for relation in "=<>":
        for measured in (Quantity(math.nan, 1.0, ""), Quantity(1.0, math.nan, "")):
            assert not Row("", "", estimates.exactly(1.0), measured, "", relation=relation).agrees


def test_a_row_is_a_pure_function_of_its_seed_and_leaves_torch_as_it_was() -> None:
    before = torch.get_rng_state()
    first, again, other = (optimum.generator_loss_at_equilibrium(seed) for seed in (5, 5, 6))
    assert first == again and first.agrees and other.agrees
    assert torch.equal(torch.get_rng_state(), before)


# Measurements ---------------------------------------------------------------------------------------------


def test_means_and_squared_norms_cover_the_truth() -> None:
    truth = torch.tensor([0.3, -0.2, 0.1], dtype=torch.float64)
    covered = {"mean": 0, "norm": 0}
    generator = torch.Generator().manual_seed(0)
    for _ in range(400):
        draws = truth + torch.randn(200, 3, generator=generator, dtype=torch.float64)
        covered["mean"] += estimates.along(draws, truth).agrees(float(truth.norm()))
        covered["norm"] += estimates.squared_norm(draws).agrees(float(truth.square().sum()))
    assert all(360 <= count <= 396 for count in covered.values()), covered  # 95 % of 400, 4 standard errors


def test_expectations_on_the_line_are_exact() -> None:
    for power, moment in ((0, 1.0), (1, 0.0), (2, 1.0), (4, 3.0)):
        found = estimates.expectation(lambda z, power=power: z[:, 0] ** power, NormalPrior(1))
        assert float(found) == pytest.approx(moment, abs=1e-12)


def test_quantities_as_text() -> None:
    assert row.written(Quantity(0.0, 1e-12, "")) == "0 ± 1e-12"
    assert row.written(Quantity(-1.0640571, 0.0049, "")) == "-1.06406 ± 0.005"
    assert row.written(estimates.exactly(20)) == "20"


# Games ----------------------------------------------------------------------------------------------------


def test_players_that_stand_still_do_and_their_gradients_are_autograds() -> None:
    G, p = experiments.Curve(0.1, 1.0, 0.5), experiments.three_modes(0)
    D = torch.nn.Sequential(
        torch.nn.Linear(1, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1), torch.nn.Flatten(0)
    )
    D.double()
    before = experiments.flat(G), experiments.flat(D)
    seen = experiments.watch(G, D, objectives.minimax(), p, seed=1, turns=4, batch=512)
    assert torch.equal(experiments.flat(G), before[0]) and torch.equal(experiments.flat(D), before[1])
    assert seen.g.shape == (4, 3) and seen.d.shape == (4, 13) and len(seen.turns) == 4

    x = p.batch(2, 512)[0].double()
    fake_loss = torch.nn.functional.softplus(D(G(_noise(1, 2)))).mean()
    loss = torch.nn.functional.softplus(-D(x)).mean() + fake_loss
    gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(D.parameters()))])
    torch.testing.assert_close(seen.d[2], gradient)


def _noise(seed: int, step: int) -> torch.Tensor:
    return game.normal((512, 1), stream(seed, 0, step, "d_noise", 0), torch.float64)


def test_the_best_player_is_the_posterior_of_the_real() -> None:
    """The share of real ones among real and fake points of a bin is D* there."""
    p, G = data.gaussian(mean=1.0), experiments.Curve(0.0, 1.0)
    best = experiments.Best(p, pushforward(G, NormalPrior(1)))
    real, fake = (
        p.sample(200_000)[:, 0],
        NormalPrior(1).sample(200_000, torch.Generator().manual_seed(0))[:, 0],
    )
    for centre in (-1.0, 0.0, 0.5, 2.0):
        counts = [int(((x - centre).abs() < 0.05).sum()) for x in (real, fake)]
        share, n = counts[0] / sum(counts), sum(counts)
        with torch.no_grad():
            predicted = float(torch.sigmoid(best(torch.tensor([[centre]], dtype=torch.float64))))
        assert share == pytest.approx(predicted, abs=4 * math.sqrt(predicted * (1 - predicted) / n))


def test_the_package_offers_what_it_says() -> None:
    assert all(hasattr(demonstration, name) for name in demonstration.__all__)


# Texts ----------------------------------------------------------------------------------------------------


def test_no_tex_is_left_in_plain_text(shown: Shown) -> None:
    for r in shown.rows:
        assert not set("$\\{}^") & set(r.claim + "".join(map(row.plain, r.wrong)))
    written = row.plain(
        r"$\theta_d \leftarrow \theta_d + \eta_d \nabla V$, $\pm i/2$, $2\,\text{JSD}(D^* \| D)$"
    )
    assert written == "theta_d <- theta_d + eta_d grad V, +-i/2, 2 JSD(D* || D)"


# the page ---------------------------------------------------------------------------------------------------


def test_the_page_shows_every_row_and_figure_and_needs_nothing_else(shown: Shown) -> None:
    page = checked(shown.page)
    assert len(page.all("th", scope="row")) == len(shown.rows)
    assert all(row.how in page.text for row in shown.rows)
    assert len(page.all("span", **{"class": "good"})) == len(shown.rows) + 1
    assert not page.all("span", **{"class": "bad"})
    pictures = page.all("svg", role="img")
    assert len(pictures) == len(page.all("figure")) == 8
    assert all(picture["aria-label"] and "<" not in picture["aria-label"] for picture in pictures)
    assert "nan" not in shown.page.split("<body>")[1].lower()


def test_the_formulas_of_the_page_are_mathml(shown: Shown) -> None:
    page = checked(shown.page)
    formulas = sum((row.tex + "".join(row.wrong)).count("$") // 2 for row in shown.rows)
    assert len(page.all("math")) >= formulas + len({row.topic for row in shown.rows})
    assert "$" not in page.text and "\\" not in page.text.split("use strict")[0]


def test_every_curve_of_the_page_has_one_name_and_lies_within_its_frame(shown: Shown) -> None:
    curves: list[list[tuple[float, float]]] = []
    for tag, attributes in checked(shown.page).elements:
        if "data-points" in attributes:
            curves.append(json.loads(attributes["data-points"] or ""))
        elif tag == "div" and "data-x" in attributes:
            frame = [json.loads(attributes[f"data-{axis}"] or "")[:2] for axis in "xy"]
            for point in (point for curve in curves for point in curve):
                assert all(
                    low - 1e-5 * abs(low) <= at <= high + 1e-5 * abs(high)
                    for at, (low, high) in zip(point, frame, strict=True)
                )
            curves = []
    for figure in shown.page.split("<figure")[1:]:
        names = re.findall(r"<li data-points.*?</svg>(.*?)<b>", figure, re.DOTALL)
        assert len(set(names)) == len(names) > 0


@pytest.mark.parametrize("scheme, width", [("light", 1280), ("dark", 390)])
def test_a_browser_shows_it(scheme: str, width: int, chromium: Any, shown: Shown, tmp_path: Path) -> None:
    file = tmp_path / "theory.html"
    file.write_text(shown.page)
    tab = Tab(chromium, file.as_uri(), width, scheme)
    assert tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert tab.page.locator("math").first.bounding_box()["height"] > 10
    area = tab.page.locator(".square .area")
    area.scroll_into_view_if_needed()
    box = area.bounding_box()
    assert box["width"] == pytest.approx(box["height"], abs=2)
    tab.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    x, y = tab.page.locator(".square .legend b").nth(2).text_content().replace("−", "-").split(", ")
    assert abs(float(x)) + abs(float(y)) < 0.1  # the orbit that ends at the equilibrium
    assert tab.said == [] and tab.outside() == [file.as_uri()]
    tab.page.close()
