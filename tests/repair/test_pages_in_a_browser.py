"""The pages of check and repair in a real browser: by pointer, by ear, on a phone, in the dark and on paper."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

import browser as chromium
import repair_models
from script_calls import ok

QUICK = ["--max-new-tokens", 6, "--task-max-new-tokens", 6, "--few-shot", "prompts=1", "shots=1", "samples=1"]
QUICK += ["max_new_tokens=6"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium.browser() as found:
        yield found


@pytest.fixture(scope="module")
def pages(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the page of each program; the browser comes first, so that without one no model is trained."""
    top = tmp_path_factory.mktemp("pages")
    made = repair_models.make(top / "models")
    models = [made / "base", made / "tuned", "--facts", made / "facts.csv", "--task", made / "task.jsonl"]
    with suppress(SystemExit):  # lost facts are a status of their own
        ok("check.py", *models, *QUICK, "--floor-facts", 20, "--out", top / "check")
    ok("repair.py", *models, *QUICK, "--criterion", "absolute", "--ratio", 5, "--ratio", 20, "--out", top / "repair")
    return {name: top / name / "report.html" for name in ("check", "repair")}


@pytest.mark.parametrize("name", ["check", "repair"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_asks_nothing_of_the_network_and_has_names_and_contrast(
    browser: Browser, pages: dict[str, Path], name: str, scheme: str
) -> None:
    with chromium.opened(browser, pages[name], color_scheme=scheme) as page:
        chromium.visit(page)
        assert not (found := chromium.violations(page)), found
        assert chromium.is_dark(page) is (scheme == "dark")


def test_lost_facts_are_sorted_and_rows_named(browser: Browser, pages: dict[str, Path]) -> None:
    with chromium.opened(browser, pages["check"]) as page:
        table = page.locator("[data-name=flips] table.dataTable").first
        table.scroll_into_view_if_needed()
        head = table.locator("th", has_text="accepted")
        head.click()
        expect(head).to_have_attribute("aria-sort", "ascending")
        accepted = [text.partition(" |")[0] for text in table.locator("tbody td:nth-child(2)").all_inner_texts()]
        assert accepted == sorted(accepted) and len(accepted) > 4
        assert table.locator("tbody th[scope=row]").count() == len(accepted)


@pytest.mark.parametrize("name", ["check", "repair"])
def test_a_phone_shows_a_number_of_every_table_and_whole_names(
    browser: Browser, pages: dict[str, Path], name: str
) -> None:
    with chromium.opened(browser, pages[name], viewport=chromium.PHONE, has_touch=True, is_mobile=True) as page:
        chromium.visit(page)
        assert not (found := chromium.hard_on_a_phone(page)), found


@pytest.mark.parametrize("name", ["check", "repair"])
def test_on_paper_nothing_is_folded_or_cut(browser: Browser, pages: dict[str, Path], name: str) -> None:
    with chromium.opened(browser, pages[name], viewport=chromium.PAPER) as page:
        chromium.visit(page)
        page.evaluate("for (const part of document.querySelectorAll('details')) part.open = false")
        page.emulate_media(media="print")
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert page.locator("details:not([open])").count() == 0
        assert not (found := chromium.cut_off(page)), found
