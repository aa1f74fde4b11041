"""The page: self-contained, escaped, complete about what is missing, and the same bytes every time."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from fake_results import NOTICE, fake_results
from sftlens.errors import DataError
from sftlens.reporting import figures, report, tables

SETTINGS = {"study": "demo", "models": {"tiny": {"layers": 2}}, "scales": [60, 240]}
MISSING = [{"cell": "tiny/D3/n480/seed1/full", "stage": "finetune", "log": "logs/demo/D3.log"}]


class Page(HTMLParser):
    """Collect a page's addresses, cells and open tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data")]
        if tag not in ("meta", "img", "link", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("figures")
    return {n: figures.save(figures.draw(n, fake_results(), NOTICE), folder / n)[1] for n in figures.NAMES}


def make(path: Path, **changes: object) -> str:
    arguments = {
        "study": "demo",
        "results": fake_results(),
        "figures": {},
        "intervals": {},
        "notice": NOTICE,
        "missing": [],
    }
    arguments |= {"settings": SETTINGS} | changes
    arguments["results"] = dict.fromkeys(report.CAPTIONS, arguments["results"])
    report.write(path, **arguments)
    return path.read_text(encoding="utf-8")


def test_page_is_well_formed_and_asks_nothing_of_the_network(drawn, tmp_path):
    text = make(tmp_path / "r.html", figures=drawn)
    page = Page(text)
    assert page.open == []
    assert len(page.addresses) == len(figures.NAMES)
    assert all(address.startswith("data:image/svg+xml;base64,") for address in page.addresses)
    assert not re.search(r"<script|<link|@import|url\(", text)


def test_page_has_every_target_under_its_heading(drawn, tmp_path):
    text = make(tmp_path / "r.html", figures=drawn)
    for name in (*figures.NAMES, *tables.NAMES):
        assert f'<section id="{name}">' in text
        assert report.CAPTIONS[name][0] in text
    assert "No results yet" not in text
    assert "Mean ± SD over 2 seeds." in text


def test_notice_stands_at_the_top_and_under_each_table(drawn, tmp_path):
    text = make(tmp_path / "r.html", figures=drawn)
    assert text.index(NOTICE) < text.index("<section")
    assert text.count(NOTICE) == 1 + len(tables.NAMES) + len(figures.NAMES)
    assert '<div class="box">' not in make(tmp_path / "r.html", notice="")


def test_missing_cells_are_listed_before_the_results(tmp_path):
    text = make(tmp_path / "r.html", missing=MISSING)
    assert text.index("Cells that did not finish") < text.index("<section")
    assert all(word in text for word in MISSING[0].values())
    assert "Cells that did not finish" not in make(tmp_path / "r.html")


def test_a_study_without_results_has_placeholders(tmp_path):
    text = make(tmp_path / "r.html", results=fake_results().iloc[:0], missing=MISSING)
    assert text.count("No results yet") == len(report.CAPTIONS)
    assert Page(text).open == []


def test_gains_are_signed_and_coloured(tmp_path):
    text = make(tmp_path / "r.html")
    cell = r'<td class="number {}" style="--much:0\.\d\d">[\d.]+ <small>\({}\)</small>'
    assert re.search(cell.format("gain", r"\+5\.78"), text)
    assert re.search(cell.format("loss", r"−1\.60"), text)


def test_everything_is_escaped(tmp_path):
    evil = '<b>&"'
    results = pd.concat([fake_results(), fake_results().assign(model=evil)])
    missing = [{"cell": evil, "stage": evil, "log": evil}]
    changes = {
        "study": evil,
        "results": results,
        "notice": evil,
        "missing": missing,
        "settings": {evil: evil},
    }
    text = make(tmp_path / "r.html", **changes)
    assert "<b>" not in text
    assert Page(text).open == []


def test_settings_are_folded_away_as_full_keys(tmp_path):
    text = make(tmp_path / "r.html")
    assert "models.tiny.layers" in text and "60, 240" in text
    assert text.index("<details>", text.index("How to read")) < text.index("models.tiny.layers")


def test_same_input_gives_the_same_bytes(drawn, tmp_path):
    shuffled = fake_results().sample(frac=1, random_state=3, ignore_index=True)
    first = make(tmp_path / "a.html", figures=drawn)
    assert first == make(tmp_path / "b.html", figures=drawn, results=shuffled)


def test_a_figure_that_cannot_be_embedded_is_refused(tmp_path):
    pdf = tmp_path / "fig2.pdf"
    pdf.write_bytes(b"%PDF")
    with pytest.raises(DataError, match="PNG or SVG"):
        make(tmp_path / "r.html", figures={"fig2": pdf})
    assert not (tmp_path / "r.html").exists()
