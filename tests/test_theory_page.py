"""The page of the theory: every row and figure, formulas in MathML, nothing outside of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pages import Tab, checked
from zerosum import claims
from zerosum.claims import Row
from zerosum.page import theory


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return list(claims.rows(3))


@pytest.fixture(scope="module")
def text(rows: list[Row]) -> str:
    return theory.page(rows, 3)


def test_it_shows_every_row_and_figure_and_needs_nothing_else(rows: list[Row], text: str) -> None:
    page = checked(text)
    assert len(page.all("th", scope="row")) == len(rows)
    assert all(row.how in page.text for row in rows)
    assert len(page.all("span", **{"class": "good"})) == len(rows) + 1 and not page.all(
        "span", **{"class": "bad"}
    )
    pictures = page.all("svg", role="img")
    assert len(pictures) == len(page.all("figure")) == 8
    assert all(picture["aria-label"] and "<" not in picture["aria-label"] for picture in pictures)
    assert "nan" not in text.split("<body>")[1].lower()


def test_its_formulas_are_mathml(rows: list[Row], text: str) -> None:
    page = checked(text)
    formulas = sum((row.tex + "".join(row.wrong)).count("$") // 2 for row in rows)
    assert len(page.all("math")) >= formulas + len({row.topic for row in rows})
    assert "$" not in page.text and "\\" not in page.text.split("use strict")[0]


def test_every_curve_has_one_name_and_lies_within_its_frame() -> None:
    for figure in theory._figures(3):
        assert len({str(curve.name) for curve in figure.curves}) == len(figure.curves), figure.title
        for curve in figure.curves:
            assert all(0 < figure.y.at(y) < 1 for _, y in curve.points), figure.title
            assert all(0 <= figure.x.at(x) <= 1 for x, _ in curve.points), figure.title


@pytest.mark.parametrize("scheme, width", [("light", 1280), ("dark", 390)])
def test_a_browser_shows_it(scheme: str, width: int, chromium: Any, text: str, tmp_path: Path) -> None:
    file = tmp_path / "theory.html"
    file.write_text(text)
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
