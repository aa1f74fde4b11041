"""A headless Chromium for tests of pages, and what a page did that no page of this project may do."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PHONE = {"width": 390, "height": 844}


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
