"""docs/smollm2.md is filled from a study's results: what a block names is what it holds, and words stay."""

import re
import runpy
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

import compared_strategies
from repository import ROOT
from script_calls import ok
from sftlens import files
from sftlens.config import loading
from sftlens.dag import targets
from sftlens.dag.targets import TARGETS

PROGRAM = str(ROOT / "docs/smollm2.py")
PAGE = """# A study
<!-- made: ladder -->
Not run yet.
<!-- end -->
Words in between.
<!-- made: table strategies -->
<!-- end -->
<!-- made: contrasts k = 0 -->
<!-- end -->
<!-- made: figure tradeoff -->
<!-- end -->
<!-- made: conclusions -->
<!-- end -->
<!-- made: time -->
<!-- end -->
"""


def fill(*args: object) -> None:
    with patch("sys.argv", [PROGRAM, *map(str, args)]):
        runpy.run_path(PROGRAM, run_name="__main__")


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished study in the current folder, with its picture and its table."""
    monkeypatch.chdir(tmp_path)
    study, paths = compared_strategies.make(compared_strategies.CONFIG)
    ok("collect.py", study.study, "--figure", "tradeoff")
    for table in ("strategies", "contrasts"):
        ok("collect.py", study.study, "--table", table)
    ok("collect.py", study.study, "--results")
    summary = next(Path(paths.root).rglob("finetune.json"))
    took = {"wall_seconds": 90.0, "cpu_seconds": 60.0, "peak_memory_bytes": 2e9}
    files.write_json(summary, files.read_json(summary, dict[str, Any]) | {"run": took})
    log = Path(paths.root) / "logs/figures/tradeoff.tsv"
    log.parent.mkdir(parents=True)
    log.write_text("s\tmax_rss\tcpu_time\n90.0\t1024.0\t30.0\n")
    return Path(paths.root)


def test_a_page_is_filled_with_results_and_again_with_the_same(study: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    fill("--study", study.name, "--page", page)
    text = page.read_text()
    assert "| full | lr 3e-05 | yes | 60.00 |" in text and "Not run yet" not in text
    assert "Words in between." in text and (study / "tables/strategies.md").read_text().strip() in text
    assert "](page-tradeoff.png)" in text and (tmp_path / "page-tradeoff.png").stat().st_size > 1000
    assert "| mixed | 8 | relative | ID test |" in text and "| kl | " not in text.split("Words")[1].split("k = 0")[1]
    assert "| finetune | 1 | 1.5 | 1.0 | 2.0 |" in text and "| all | 2 | 3.0 | 1.5 | 2.0 |" in text
    assert "test facts choose nothing" in text and "\n*\n" not in text  # a caption is one paragraph
    assert "- Fine-tuning cost most on mixed" in text
    fill("--study", study.name, "--page", page)
    assert page.read_text() == text


def test_every_block_of_the_page_is_a_target_of_its_study() -> None:
    page = (ROOT / "docs/smollm2.md").read_text(encoding="utf-8")
    named = set(re.findall(r"<!-- made: (figure|table) (\S+) -->", page))
    asked = targets.wanted(loading.load_file(ROOT / "config/smollm2.yaml"))
    assert named and named <= {(TARGETS.get(name).kind, name) for name in asked}


@pytest.mark.parametrize(
    ("block", "message"),
    [("table table1", "table1.md: not there; finish the study"), ("luck", "'luck' can not be made")],
)
def test_a_page_that_cannot_be_filled_stays_as_it_was(study: Path, tmp_path: Path, block: str, message: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"<!-- made: {block} -->\nNot run yet.\n<!-- end -->\n")
    before = page.read_text()
    with pytest.raises(SystemExit, match=message):
        fill("--study", study.name, "--page", page)
    assert page.read_text() == before
