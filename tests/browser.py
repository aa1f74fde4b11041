"""A headless Chromium for tests of pages, and what a page did that no page of this project may do."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PHONE = {"width": 390, "height": 844}
PAPER = {"width": 703, "height": 1000}
"""A4 without its margins."""


@contextmanager
def browser() -> Iterator[Browser]:
    """Yield a browser; skip where there is none, but for CI."""
    if not CHROMIUM:
        message = "no Chromium; apt-get install chromium"
        pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)
    with sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@contextmanager
def opened(browser: Browser, path: Path, **context: Any) -> Iterator[Page]:
    """Yield a page from a file; fail if it asked the network for anything, or the console heard of an error."""
    said: list[str] = []
    with browser.new_context(**({"viewport": {"width": 1400, "height": 900}} | context)) as made:
        page = made.new_page()
        page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: said.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (said.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: said.append(f"request: {request.url}") if asks(request.url, path) else None)
        page.goto(path.as_uri())
        yield page
        assert not said, said


def asks(url: str, path: Path) -> bool:
    """Whether a request is for more than the page itself and what lies in it."""
    return url.partition("#")[0] != path.as_uri() and not url.startswith(("data:", "blob:"))


def visit(page: Page) -> None:
    """Unfold and look at every part of a page, so that all of its tables and charts are made."""
    page.evaluate("for (const part of document.querySelectorAll('details')) part.open = true")
    for box in page.locator(".wide, .chart").all():
        box.scroll_into_view_if_needed()
    page.wait_for_function("[...document.querySelectorAll('.chart')].every((box) => box.querySelector('.panels svg'))")
    page.wait_for_function(
        "[...document.querySelectorAll('.wide:has(thead)')].every((box) => box.querySelector('table.dataTable'))"
    )


def violations(page: Page) -> str:
    """Return what axe finds against the page, as text: names, roles, contrast of 4.5."""
    found = Axe().run(page).response["violations"]
    listed = [(v["id"], v["help"], v["nodes"][0]["html"][:200], v["nodes"][0]["failureSummary"]) for v in found]
    return json.dumps(listed, indent=1) if listed else ""


def is_dark(page: Page) -> bool:
    return page.evaluate("parseInt(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0]) < 60")


def hard_on_a_phone(page: Page) -> list[str]:
    """Return the tables that show no number unless they are scrolled, or whose rows are named a letter a line.

    And `the page`, where it is wider than the screen.
    """
    found = page.evaluate("""() => [...document.querySelectorAll('.wide:has(td.number)')].filter((box) => {
      const edge = box.getBoundingClientRect().right, rows = [...box.querySelectorAll('tbody tr')];
      const seen = rows.slice(0, 3).some((row) =>
        [...row.querySelectorAll('td.number')].some((cell) => cell.getBoundingClientRect().right <= edge + 1));
      const names = rows.map((row) => row.querySelector('th')).filter((name) => name && name.textContent.length > 20);
      return !seen || names.some((name) => name.getBoundingClientRect().width < 100);
    }).map((box) => box.getAttribute('aria-label'))""")
    return found + ["the page"] * (page.evaluate("document.documentElement.scrollWidth") > PHONE["width"])


def cut_off(page: Page) -> list[str]:
    """Return the tables and images that paper cuts."""
    return page.evaluate("""() => [...document.querySelectorAll('.wide table, figure img')].filter((part) =>
      part.getBoundingClientRect().right > innerWidth + 1 || (part.caption && part.scrollWidth > part.clientWidth + 1))
      .map((part) => part.caption?.textContent ?? part.alt)""")
