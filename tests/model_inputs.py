"""What the scripts that read a model are given in tests: two tiny models, tables, templates, and their options."""

from pathlib import Path

import pandas as pd
import yaml

from probe_tables import SENTENCES, facts_table
from sftlens.data.buckets import bucket
from sftlens.files import write_parquet
from tiny import tiny_model

PROBING = ["--samples", "4", "--max-new-tokens", "6"]
GEOMETRY = {"layers": 2, "hidden_size": 32, "intermediate_size": 48, "heads": 4, "kv_heads": 2, "vocab_size": 400}


def write_inputs(folder: Path) -> Path:
    """Write the models `base` and `ft`, facts, templates, a mastery table and a training set; return the folder."""
    tiny_model(folder / "base", std=0.1)
    tiny_model(folder / "ft", std=0.1, seed=1)
    facts = facts_table()
    write_parquet(folder / "facts.parquet", facts)
    entries = {relation: {"templates": sentences} for relation, sentences in SENTENCES.items()}
    (folder / "templates.yaml").write_text(yaml.safe_dump(entries))
    write_parquet(folder / "mastery.parquet", mastery_table(facts))
    write_parquet(folder / "train.parquet", facts[facts["split"] == "train"].iloc[::-1])
    return folder


def mastery_table(facts: pd.DataFrame) -> pd.DataFrame:
    """Return the facts with all buckets among the test facts; those of D4 accept any vowel."""
    hits = [[4 * (i % 5), 0, 0] for i in range(len(facts))]
    table = facts.assign(hits=[row[0] for row in hits], trials=16)
    table["mastery"] = table["hits"] / table["trials"]
    table["bucket"] = [bucket(r) for r in table["mastery"]]
    table["template_hits"] = [
        row[: len(SENTENCES[relation])] for row, relation in zip(hits, facts["relation"], strict=True)
    ]
    table["aliases"] = [[*"aeiou"] if name == "D4" else ["a"] for name in table["bucket"]]
    return table


def mastery_options(inputs: Path, model: str = "base") -> list[object]:
    given = ["--model", inputs / model, "--facts", inputs / "facts.parquet"]
    return [*given, "--templates", inputs / "templates.yaml", *PROBING]


def divergence_options(inputs: Path, finetuned: str = "ft") -> list[object]:
    models = ["--base", inputs / "base", "--finetuned", inputs / finetuned]
    return [*models, "--facts", inputs / "mastery.parquet", "--templates", inputs / "templates.yaml"]
