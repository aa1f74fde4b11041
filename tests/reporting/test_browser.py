"""The page in a real browser: what a reader can do with it, by pointer, by key, by ear, on a phone and on paper."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

import browser as chromium
from fake_results import MODEL, NOTICE, fake_results, fake_runs
from sftlens.dag.targets import TARGETS
from sftlens.reporting import report
from sftlens.reporting.frames import RATIO
from sftlens.reporting.themes.intervals import DIFFERENCE
from sftlens.results import collect

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'{{ 7 * 7 }}"
ROWS = 600
DRAWN = [
    target.name
    for target in TARGETS
    if target.chart and not target.from_answers and len(collect.numbers(target, fake_results()))
]


def differences() -> pd.DataFrame:
    """Return invented contrasts, too many to stand in the page as rows."""
    draw = np.random.default_rng(0)
    value = draw.normal(0, 10, ROWS)
    return pd.DataFrame({
        "Model": MODEL, "Strategy": "full", "Trained on": [f"D{i % 5}" for i in range(ROWS)],
        "n": [("60", "240", "1920")[i % 3] for i in range(ROWS)], "Criterion": "", "Region": "", RATIO: "0",
        "Test set": [("ID test", "OOD test")[i % 2] for i in range(ROWS)], "Against": "Base model (n = 0)",
        DIFFERENCE: value, "Low": value - 1, "High": value + 1, "Scope": "over seeds",
    })  # fmt: skip


def gains() -> pd.DataFrame:
    """Return invented gains of restoring: those of D0 and D1 exclude zero, those of D2 do not."""
    rows = [
        {"Model": MODEL, "Criterion": criterion, "Region": "transformer", "n": "480", "Test set": test, RATIO: ratio,
         "Trained on": trained, DIFFERENCE: value, "Low": value - 4, "High": value + 4, "Seeds": 2, "Facts": 300,
         "Scope": "this model only"}
        for criterion in ("relative", "random") for test in ("ID test", "OOD test") for ratio in ("1", "20")
        for trained, value in (("D0", 12.5), ("D1", -6.0), ("D2", 3.0))
    ]  # fmt: skip
    return pd.DataFrame(rows)


def write(path: Path, results: pd.DataFrame, **changes: str) -> Path:
    image = path.with_name("figure.svg")
    image.write_text('<svg xmlns="http://www.w3.org/2000/svg" width="600" height="300"><path d="M0 0h600v300z"/></svg>')
    numbers = {target.name: collect.numbers(target, results) for target in TARGETS if not target.from_answers}
    numbers |= {"contrasts": differences(), "gains": gains()}
    report.write(
        path, study=changes.get("study", "layout"), results=results, numbers=numbers,
        figures={target.name: image for target in TARGETS if target.draw}, notice=changes.get("notice", NOTICE),
        missing=[{"cell": "m/D3/n480/seed1/full", "stage": "finetune", "log": "D3.log", "reason": "error: no memory",
                  "tail": "step 3\nerror: no memory"}],
        settings={"study": "layout"}, runs=fake_runs(),
        bases=[{"model": MODEL, "source": "org/m at 0", "hashes": "a 0"}],
    )  # fmt: skip
    return path


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("page") / "report.html", fake_results())


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium.browser() as found:
        yield found


@pytest.fixture
def page(browser: Browser, written: Path) -> Iterator[Page]:
    with chromium.opened(browser, written, permissions=["clipboard-read", "clipboard-write"]) as page:
        yield page


def column(page: Page, table: str, name: str) -> list[str]:
    """Return the texts of a column of a table that is shown."""
    return page.evaluate(
        """([table, name]) => {
          const found = document.querySelector(`[data-name="${table}"] table`);
          const i = [...found.tHead.rows[0].cells].findIndex((head) => head.textContent === name);
          return [...found.tBodies[0].rows].map((row) => row.cells[i].firstChild?.textContent ?? "");
        }""",
        [table, name],
    )


def unfold(page: Page, target: str) -> None:
    page.evaluate("(name) => { for (const d of document.querySelectorAll(`#${name} details`)) d.open = true; }", target)
    page.locator(f"#{target} .wide").scroll_into_view_if_needed()
    page.locator(f"#{target} table.dataTable").wait_for()


def choice(page: Page, target: str, name: str = "Trained on") -> Locator:
    return page.locator(f"#{target}").get_by_role("combobox", name=name, exact=True)


def number(text: str) -> float:
    return float(text.replace("−", "-"))


def test_every_part_opens_without_a_request_or_an_error(page: Page) -> None:
    chromium.visit(page)
    assert page.locator(".chart").count() == len(DRAWN) + 1 > 8  # and gains
    assert "no memory" in page.locator("#missing details pre").inner_text()


def test_a_table_sorts_by_key_and_pointer_and_says_so(page: Page) -> None:
    unfold(page, "contrasts")
    values = sorted(differences()[DIFFERENCE].round(2))
    head = page.locator("#contrasts th", has_text=DIFFERENCE)
    head.click()
    expect(head).to_have_attribute("aria-sort", "ascending")
    assert [number(text) for text in column(page, "contrasts", DIFFERENCE)[:20]] == values[:20]
    head.locator("[role=button]").press("Enter")
    expect(head).to_have_attribute("aria-sort", "descending")
    assert number(column(page, "contrasts", DIFFERENCE)[0]) == values[-1]
    scale = page.locator("#contrasts th", has_text="n").nth(1)
    scale.click()  # as numbers: 1,920 after 240
    expect(scale).to_have_attribute("aria-sort", "ascending")
    assert set(column(page, "contrasts", "n")) == {"60"}


def test_a_table_filters_by_a_column_and_by_any_word(page: Page) -> None:
    unfold(page, "contrasts")
    choice(page, "contrasts").select_option("D2")
    assert set(column(page, "contrasts", "Trained on")) == {"D2"}
    page.locator("#contrasts").get_by_role("searchbox", name="Filter").fill("OOD")
    assert set(column(page, "contrasts", "Test set")) == {"OOD test"}
    assert page.locator("#contrasts .dt-info").inner_text() == f"{ROWS // 10} rows of {ROWS}"


def test_a_table_is_copied_and_saved_as_it_is_filtered(page: Page, tmp_path: Path) -> None:
    unfold(page, "contrasts")
    choice(page, "contrasts").select_option("D2")
    with page.expect_download() as download:
        page.locator("#contrasts").get_by_role("button", name="CSV").click()
    download.value.save_as(tmp_path / "saved.csv")
    with (tmp_path / "saved.csv").open(encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert download.value.suggested_filename == "contrasts.csv"
    expected = differences().query("`Trained on` == 'D2'")[DIFFERENCE].round(2)
    assert [float(row[DIFFERENCE]) for row in rows] == list(expected)
    page.locator("#contrasts").get_by_role("button", name="Copy as Markdown").click()
    lines = page.evaluate("navigator.clipboard.readText()").splitlines()
    assert lines[1].startswith("| --- |") and len(lines) == 2 + ROWS // 5 and "| D2 |" in lines[2]


def test_a_mark_says_its_value_interval_and_cell_and_leads_to_the_jobs_behind_it(page: Page) -> None:
    page.locator("#fig2 .chart").scroll_into_view_if_needed()
    page.locator("#fig2 .panels svg").first.wait_for()
    mark = page.locator("#fig2 [role=graphics-symbol][aria-label^='D3, '][aria-label*='n = 240']").first
    mark.hover()
    numbers = collect.numbers(TARGETS.get("fig2"), fake_results())
    row = numbers[(numbers["Trained on"] == "D3") & (numbers["n"] == "240") & (numbers["Test set"] == "ID test")].iloc[
        0
    ]
    says = f"{row['Accuracy (%)']:.2f} ± {row['Accuracy (%) SD']:.2f}"
    assert says in page.locator("#vg-tooltip-element").inner_text()
    assert says in page.locator("#fig2 output").inner_text() and "Seeds: 2" in page.locator("#fig2 output").inner_text()
    page.locator("#fig2").get_by_role("link", name="the cells behind it").click()
    assert set(column(page, "cells", "Trained on")) == {"D3"} and set(column(page, "cells", "n")) == {"240"}
    assert len(column(page, "cells", "Seed")) == 4
    assert choice(page, "cells").input_value() == "D3"


def test_marks_are_reached_by_key_and_lines_switched_off(page: Page) -> None:
    page.locator("#fig2 .chart").scroll_into_view_if_needed()
    page.locator("#fig2 .panels svg").first.wait_for()
    marks = page.locator("#fig2 [role=graphics-symbol][aria-label]")
    assert page.locator("#fig2 [role=graphics-symbol][tabindex='0']").count() == 1
    before = marks.count()
    page.locator("#fig2 [role=graphics-symbol][tabindex='0']").focus()
    first = page.locator("#fig2 output").inner_text()
    page.keyboard.press("ArrowRight")
    second = page.locator("#fig2 output").inner_text()
    label = page.evaluate("document.activeElement.getAttribute('aria-label')")
    assert first != second and label.split("\n")[0] in second
    page.locator("#fig2").get_by_role("checkbox", name="D3").uncheck()
    page.wait_for_function("document.querySelectorAll('#fig2 [aria-label^=\"D3\"]').length === 0")
    assert marks.count() == before - 6
    page.locator("#fig2").get_by_role("checkbox", name="D3").check()
    page.wait_for_function("document.querySelectorAll('#fig2 [aria-label^=\"D3\"]').length === 6")


def test_a_map_shows_its_numbers_and_tints_those_that_are_sure(page: Page) -> None:
    page.locator("#gains .chart").scroll_into_view_if_needed()
    page.locator("#gains .panels svg").first.wait_for()
    sure = page.locator("#gains [role=graphics-symbol][aria-label*='Trained on = D0']").first
    unsure = page.locator("#gains [role=graphics-symbol][aria-label*='Trained on = D2']").first
    sure.hover()
    assert "Difference (points) 12.50 (8.50 to 16.50)" in page.locator("#gains output").inner_text()
    colours = [mark.get_attribute("fill") for mark in (sure, unsure)]
    low, high = ([int(part) for part in re.findall(r"\d+", str(colour))] for colour in colours)
    assert max(high) - min(high) < 12 < max(low) - min(low) and low[2] > low[0]  # grey; blue
    assert "+12.5" in page.locator("#gains .panels").first.inner_text()
    assert page.locator("#gains [role=graphics-symbol][aria-label*='Trained on = ']").count() == len(gains()) // 2
    choice(page, "gains .chart", "Criterion").select_option("random")
    page.wait_for_function("document.querySelector('#gains [aria-label*=\"Criterion: random\"]')")


def test_a_row_leads_to_the_jobs_behind_it(page: Page) -> None:
    table = page.locator("#table2 .wide")
    table.scroll_into_view_if_needed()
    row = table.locator("tbody tr", has_text="D1").first
    row.locator("a.cells").focus()
    page.keyboard.press("Enter")
    assert set(column(page, "cells", "Trained on")) == {"D1"} and set(column(page, "cells", "n")) == {"480"}
    assert page.evaluate("location.hash") == "#cells"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_without_a_name_or_hard_to_read(browser: Browser, written: Path, scheme: str) -> None:
    with chromium.opened(browser, written, color_scheme=scheme) as page:
        chromium.visit(page)
        assert not (found := chromium.violations(page)), found
        assert chromium.is_dark(page) is (scheme == "dark")


def test_a_phone_shows_a_number_of_every_table_and_scrolls_one_way(browser: Browser, written: Path) -> None:
    with chromium.opened(browser, written, viewport=chromium.PHONE, has_touch=True, is_mobile=True) as page:
        chromium.visit(page)
        assert not (found := chromium.hard_on_a_phone(page)), found


def test_on_paper_nothing_is_folded_paged_or_cut(browser: Browser, written: Path) -> None:
    with chromium.opened(browser, written, viewport=chromium.PAPER) as page:
        chromium.visit(page)
        page.evaluate("for (const part of document.querySelectorAll('details')) part.open = false")
        page.emulate_media(media="print")
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert page.locator("details:not([open])").count() == 0
        assert page.locator("img.static").first.is_visible() and not page.locator(".chart").first.is_visible()
        assert len(column(page, "cells", "n")) == len(fake_runs())
        assert not (found := chromium.cut_off(page)), found
        page.evaluate("dispatchEvent(new Event('afterprint'))")
        assert page.locator("details:not([open])").count() > 0


def test_without_scripts_the_page_shows_the_same(browser: Browser, written: Path) -> None:
    with chromium.opened(browser, written, java_script_enabled=False) as page:
        assert page.locator("#fig2 img").is_visible() and not page.locator("#fig2 .chart").is_visible()
        assert page.locator("#table2 td.number").first.is_visible()


def test_what_a_stranger_wrote_stays_text(browser: Browser, tmp_path: Path) -> None:
    results = pd.concat([fake_results(), fake_results().assign(model=HOSTILE)])
    path = write(tmp_path / "hostile.html", results, study=HOSTILE, notice=HOSTILE)
    with chromium.opened(browser, path) as page:
        chromium.visit(page)
        choice(page, "fig2 .chart", "Model").select_option(HOSTILE)
        mark = page.locator("#fig2 [role=graphics-symbol][aria-label^='D3, ']").first
        mark.hover()
        assert HOSTILE in page.locator("#vg-tooltip-element").inner_text()
        page.locator("#fig2").get_by_role("link", name="the cells behind it").click()
        assert page.locator("img[src=x]").count() == 0
