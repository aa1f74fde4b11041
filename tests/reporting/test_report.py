"""The page: self-contained, escaped, complete about what is missing, and the same bytes every time."""

import re
from html import escape
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from fake_results import NOTICE, fake_results, fake_runs
from sftlens.dag.targets import TARGETS
from sftlens.errors import DataError
from sftlens.reporting import report, style
from sftlens.results import collect

SHOWN = [target for target in TARGETS if not target.from_answers and len(collect.numbers(target, fake_results()))]
FIGURES = [target for target in SHOWN if target.draw]

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
    drawn = {target.name: style.drawn(target, collect.numbers(target, fake_results()), NOTICE) for target in FIGURES}
    return {name: style.save(figure, folder / name, formats=["svg"])[0] for name, figure in drawn.items()}


def make(path: Path, **changes: object) -> str:
    arguments = {
        "study": "demo",
        "results": fake_results(),
        "figures": {},
        "notice": NOTICE,
        "missing": [],
    }
    arguments |= {"settings": SETTINGS} | changes
    arguments["numbers"] = {target.name: collect.numbers(target, arguments["results"]) for target in SHOWN}
    report.write(path, **arguments)
    return path.read_text(encoding="utf-8")


def test_a_gain_is_tinted_only_where_its_interval_excludes_zero(tmp_path):
    table = collect.numbers(TARGETS.get("table4"), fake_results())
    keys = ["Model", "Criterion", "Region", "n", "Test set", "Restored (%)"]
    gains = table[keys].assign(**{"Trained on": "D1", "Low": 0.5, "High": 2.0, "Difference (points)": 1.0})
    gains.loc[gains["Restored (%)"] == "20", "Low"] = -0.5
    for given, tinted in ((gains, set(gains["Restored (%)"]) - {"0", "20"}), (gains.iloc[:0], set())):
        path = tmp_path / f"{len(given)}.html"
        numbers = {"table4": table, "gains": given}
        report.write(path, study="s", results=fake_results(), numbers=numbers, figures={}, notice="", missing=[],
                     settings=SETTINGS)  # fmt: skip
        rows = re.findall(r"<tr.*?</tr>", path.read_text().split('<section id="table4">')[1].split("</section>")[0])
        found = [row for row in rows if "--shade" in row]
        assert len(found) == sum(table["Restored (%)"].isin(tinted))
        assert all(row.count("--shade") == 1 for row in found)
        classes = r'class="number (gain|loss)"[^>]*>[\d.]+ <small>\((.)'
        kinds = {re.search(classes, row).groups() for row in found}
        assert kinds == ({("gain", "+"), ("loss", "−")} if tinted else set())
        assert ("Tinted only where" in path.read_text()) is bool(tinted)


def test_what_is_incomplete_is_said_beside_it(tmp_path):
    text = make(tmp_path / "r.html", incomplete={"table2": "Incomplete: 2 of the 9 results behind this are missing."})
    assert "2 of the 9 results" in text.split('<section id="table2">')[1].split("</section>")[0]
    assert text.count("2 of the 9 results") == 1


def test_no_two_parts_have_one_address(tmp_path):
    results = fake_results()
    cost = pd.DataFrame({"Model": ["a"], "Trained on": "D0", "n": "60", "Test set": "ID test", "Low": 0.0, "High": 1.0})
    numbers = {"cost": cost, "table2": collect.numbers(TARGETS.get("table2"), results)}
    path = tmp_path / "r.html"
    report.write(path, study="s", results=results, numbers=numbers, figures={}, notice="", missing=MISSING,
                 settings=SETTINGS, runs=fake_runs())  # fmt: skip
    found = re.findall(r'\bid="([^"]*)"', path.read_text())
    assert len(found) == len(set(found)) > 5


def test_page_is_well_formed_and_asks_nothing_of_the_network(drawn, tmp_path):
    text = make(tmp_path / "r.html", figures=drawn)
    page = Page(text)
    assert page.open == []
    places = [address for address in page.addresses if address.startswith("#")]
    images = [address for address in page.addresses if address not in places]
    assert len(images) == len(FIGURES)
    assert all(address.startswith("data:image/svg+xml;base64,") for address in images)
    assert places and all(f'id="{place[1:]}"' in text for place in places)
    assert not re.search(r"<link|@import|url\(", re.sub(r'<script type="module">.*?</script>', "", text, flags=re.S))


def test_page_has_every_target_under_its_heading(drawn, tmp_path):
    text = make(tmp_path / "r.html", figures=drawn)
    assert set(re.findall(r'<section id="(\w+)">', text)) == {*(target.name for target in SHOWN), "settings"}
    assert all(f"<h3>{escape(target.title)} <a" in text for target in SHOWN)
    # The story, the paper's figures and tables, every number.
    assert text.index('id="exposure"') < text.index('id="table1"') < text.index('id="reliability"')
    assert "No results yet" not in text
    assert "Mean ± SD over 2 seeds." in text


def test_a_table_without_a_number_is_folded(tmp_path):
    claims = pd.DataFrame({"Claim": ["C1", "C2"], "Model": "m", "Verdict": "undecided", "Effect": [float("nan")] * 2})
    for effect, folded in ((float("nan"), True), (1.5, False)):
        numbers = {"claims": claims.fillna({"Effect": effect}) if effect == effect else claims}
        report.write(
            tmp_path / "r.html", study="s", results=fake_results(), numbers=numbers, figures={}, notice="", missing=[],
            settings={},
        )  # fmt: skip
        assert ("<summary>2 rows</summary>" in (tmp_path / "r.html").read_text()) is folded


def test_notice_stands_once_at_the_top(drawn, tmp_path):
    text = make(tmp_path / "r.html", figures=drawn)
    assert text.count(NOTICE) == 1 and text.index(NOTICE) < text.index("<section")
    assert '<div class="box notice' not in make(tmp_path / "r.html", notice="")


def test_a_title_stands_above_a_figure_and_not_in_it(drawn, tmp_path):
    for target in FIGURES:
        words = re.findall(r"<!-- (.*?) -->", drawn[target.name].read_text())
        assert target.title not in words


def test_missing_cells_are_listed_before_the_results(tmp_path):
    text = make(tmp_path / "r.html", missing=MISSING)
    assert text.index("Cells that did not finish") < text.index("<section")
    assert all(word in text for word in MISSING[0].values())
    assert "Cells that did not finish" not in make(tmp_path / "r.html")


def test_a_study_without_results_has_placeholders(tmp_path):
    text = make(tmp_path / "r.html", results=fake_results().iloc[:0], missing=MISSING)
    assert text.count("No results yet") == len(SHOWN)
    assert Page(text).open == []


def test_gains_are_signed_and_not_tinted_without_an_interval(tmp_path):
    text = make(tmp_path / "r.html")
    cell = r'<td class="number">[\d.]+ <small>\({}\)</small>'
    assert re.search(cell.format(r"\+5\.78"), text)
    assert re.search(cell.format(r"−1\.60"), text)
    assert "--shade:" not in text.partition("</style>")[2].partition("<script type")[0]


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
    assert text.index("<details>", text.index('id="settings"')) < text.index("models.tiny.layers")


def test_same_input_gives_the_same_bytes(drawn, tmp_path):
    first = make(tmp_path / "a.html", figures=drawn)
    assert first == make(tmp_path / "b.html", figures=drawn, results=fake_results())


def test_a_figure_that_cannot_be_embedded_is_refused(tmp_path):
    pdf = tmp_path / "fig2.pdf"
    pdf.write_bytes(b"%PDF")
    with pytest.raises(DataError, match="PNG or SVG"):
        make(tmp_path / "r.html", figures={"fig2": pdf})
    assert not (tmp_path / "r.html").exists()
