"""Two tiny models with facts and templates on disk, and the mastery script on them, for tests of probing."""

import multiprocessing
from multiprocessing.process import BaseProcess
from pathlib import Path

import pandas as pd
import yaml

from probe_tables import SENTENCES, facts_table
from script_calls import ok
from sftlens.files import write_parquet
from tiny import tiny_model

SETTINGS = ["--samples", "4", "--max-new-tokens", "4"]
SMALL_BATCHES = ["--batch-tokens", "60"]


def make(folder: Path, subjects: int = 8) -> Path:
    """Write the models `base` and `ft`, facts.parquet and templates.yaml."""
    tiny_model(folder / "base", std=0.1)
    tiny_model(folder / "ft", std=0.1, seed=1)
    write_parquet(folder / "facts.parquet", facts_table(subjects=subjects))
    entries = {relation: {"templates": sentences} for relation, sentences in SENTENCES.items()}
    (folder / "templates.yaml").write_text(yaml.safe_dump(entries))
    return folder


def options(inputs: Path, out: Path, *more: object, model: str = "base", facts: Path | None = None) -> list[object]:
    given = ["--model", inputs / model, "--facts", facts or inputs / "facts.parquet"]
    return [*given, "--templates", inputs / "templates.yaml", *SETTINGS, "--out", out, *more]


def started(arguments: list[object]) -> BaseProcess:
    """Start the script in a process of its own, which has everything imported already."""
    process = multiprocessing.get_context("fork").Process(target=ok, args=("mastery.py", *arguments))
    process.start()
    return process


def without(facts: pd.DataFrame, fact_id: str) -> pd.DataFrame:
    return facts[facts["fact_id"] != fact_id].reset_index(drop=True)
