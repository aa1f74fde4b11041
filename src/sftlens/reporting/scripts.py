"""The scripts of a page: two well-kept libraries that Python packages carry, and the few lines that join them.

They lie in the page itself, and its Content-Security-Policy names the hash of each, so that a browser runs these and
nothing else. Vega (a chart is drawn from a description, read by an interpreter, so that no text is ever run as a
script) comes with vl-convert-python, DataTables with itables.
"""

import hashlib
import re
from base64 import b64encode
from functools import cache
from importlib import resources
from typing import NamedTuple

from markupsafe import Markup


class Script(NamedTuple):
    """A script and its SHA-256 in base64, which a Content-Security-Policy names."""

    text: Markup
    hash: str


def scripts(*, charts: bool) -> list[Script]:
    """Return the scripts of a page with tables, and perhaps charts, in the order in which they run."""
    return [*([_charts()] if charts else []), _tables(), _page()]


BUNDLE = "window.vegaEmbed = vegaEmbed;"
"""What a page needs of Vega, Vega-Lite and Vega-Embed."""


@cache
def _charts() -> Script:
    import vl_convert

    return _script(vl_convert.javascript_bundle(BUNDLE))


@cache
def _tables() -> Script:
    text = resources.files("itables").joinpath("html/dt_bundle.js").read_text(encoding="utf-8")
    # What a module exports is seen by those that import it from a file; in a page it needs a name.
    exported = re.search(r"export\{[^}]*?(\w+) as default[^}]*\}", text)
    assert exported, "itables: its bundle exports no default"
    return _script(text.replace(exported[0], f"window.DataTable={exported[1]}"))


@cache
def _page() -> Script:
    return _script(resources.files("sftlens.reporting").joinpath("page.js").read_text(encoding="utf-8"))


def _script(text: str) -> Script:
    # These would end a script element, or hide its end; in a text or a pattern of the script they mean the same so.
    for mark, meant in (("</script", r"<\/script"), ("<script", r"\x3Cscript"), ("<!--", r"\x3C!--")):
        text = text.replace(mark, meant)
    # A browser hashes what lies between the tags, with line ends as it reads them.
    text = text.replace("\r\n", "\n").replace("\r", "\n").strip()
    digest = b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return Script(Markup(text), digest)
