"""The page on results.parquet says something of every column and metric that there is."""

from fake_results import fake_results
from repository import ROOT
from sftlens.results import dictionary
from sftlens.results.collect import COLUMNS


def test_the_page_is_made_from_the_code() -> None:
    page = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    assert page == dictionary.document(), "run `python scripts/config_docs.py`"


def test_every_column_is_described() -> None:
    assert list(dictionary.AXES) == list(COLUMNS)
    assert set(fake_results()) <= set(COLUMNS)


def test_every_metric_is_described_under_its_stage() -> None:
    found = fake_results()[["stage", "metric"]].drop_duplicates().itertuples(index=False)
    assert [(stage, metric) for stage, metric in found if metric not in dictionary.METRICS[stage]] == []
