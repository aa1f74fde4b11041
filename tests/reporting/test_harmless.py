"""What a stranger wrote into questions, answers and names does nothing in a browser or in a spreadsheet."""

import csv
import io
import json
import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

import pandas as pd
import pytest

from sftlens.data import rows
from sftlens.gate import csv_text, printable
from sftlens.reporting import html
from sftlens.reporting.html import Cell, Table

HOSTILE = "</td><script>alert(1)</script><img src=x onerror=alert(2)>\"'><!--{{ 7 * 7 }}"
POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {}; base-uri 'none'; form-action 'none'"
)
SCRIPT = re.compile(r'<script type="module">(.*?)</script>', re.S)
DATA = re.compile(r'<script type="application/json">\{\{ [\w.]+\|tojson \}\}</script>')
PAGES = [name for name in html.PAGES.list_templates(["html"]) if name.endswith(("page.html", "report.html"))]


@pytest.mark.parametrize("name", html.PAGES.list_templates(["html"]))
def test_no_page_lets_anything_through_unescaped(name: str) -> None:
    loaded = html.PAGES.loader
    assert loaded
    text = DATA.sub("", loaded.get_source(html.PAGES, name)[0])  # in which `<` is written otherwise
    if name == "reporting/page.html":
        text = text.replace('<script type="module">{{ script.text }}</script>', "")
    assert not re.search(r"\|\s*safe|autoescape|<script|javascript:|\son\w+=", text)
    if "<body>" not in text and "{% macro" not in text:
        assert '{% extends "reporting/page.html" %}' in text  # which has the policy


@pytest.mark.parametrize("charts", [True, False])
def test_a_page_runs_its_own_scripts_alone_and_asks_nothing_of_the_network(tmp_path: Path, charts: bool) -> None:
    html.write(tmp_path / "page.html", "reporting/page.html", charts=charts, title=HOSTILE)
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    found = SCRIPT.findall(text)
    assert len(found) == 2 + charts
    hashes = [f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'" for script in found]
    policy = POLICY.format(" ".join(hashes))
    assert f'<meta http-equiv="Content-Security-Policy" content="{policy}">' in text
    assert text.index("Content-Security-Policy") < text.index("<title>") < text.index("<style>")
    text = SCRIPT.sub("", text)
    assert "<script" not in text and "<img" not in text and "{{ 7 * 7 }}" in text


def test_what_comes_as_data_ends_no_element() -> None:
    table = Table([Cell(HOSTILE)], [("", [Cell(HOSTILE, HOSTILE, "number", "", HOSTILE)])] * (html.LISTED + 1))
    macro = "{% from 'reporting/table.html' import table %}{{ table(given) }}"
    text = html.PAGES.from_string(macro).render(given=table)
    data = re.search(r'<script type="application/json">(.*?)</script>', text)
    assert data and not re.search("[<>&']", data[1])
    assert json.loads(data[1])[0][0][:2] == [HOSTILE, HOSTILE]
    assert text.count("<tr") == 1 + html.LEAD and text.count("<script") == 1


def test_cells_of_tables_are_escaped() -> None:
    table = Table([Cell(HOSTILE)], [("group", [Cell(HOSTILE, HOSTILE)])], HOSTILE)
    macro = "{% from 'reporting/table.html' import table %}{{ table(given) }}"
    text = html.PAGES.from_string(macro).render(given=table)
    assert "<script" not in text and "<img" not in text and "&lt;script&gt;" in text
    assert not re.search(r'="[^"]*onerror=[^"]*"[^>]*onerror', text) and "49" not in text


def test_a_text_does_nothing_in_a_terminal() -> None:
    assert printable("Who?\x1b]0;title\x07\x1b[2J\r\x9b31m\tAda\n") == "Who? ]0;title  [2J  31m Ada\n"


def test_a_table_does_nothing_in_a_spreadsheet(tmp_path: Path) -> None:
    formulas = ["=cmd|' /C calc'!A0", "+1+cmd", "-1+cmd", "@SUM(A1)", "\t=1", "\uff1d1", "'=1"]
    harmless = ["plain", "-1.5", "+3", "-12 %", "-", "'tis", "a=b"]
    table = pd.DataFrame({"question": formulas + harmless, "=head": 1, "value": -0.123456789})
    text = csv_text(table)
    head, *found = list(csv.reader(io.StringIO(text)))
    assert head == ["question", "'=head", "value"]
    assert [row[0] for row in found] == [f"'{formula}" for formula in formulas] + harmless
    assert {row[2] for row in found} == {"-0.123456789"}
    assert csv_text(table, "%.3g").splitlines()[1].endswith(",-0.123")
    # Read again, it is what it was.
    (tmp_path / "x.csv").write_text(text)
    assert [row["question"] for _, row in rows.rows(tmp_path / "x.csv")] == formulas + harmless
