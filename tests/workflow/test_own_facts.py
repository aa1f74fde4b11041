"""A study of facts of one's own: planned as a whole, and its stages that need no model run for real."""

from pathlib import Path

import pandas as pd
import yaml
from study import REPOSITORY, configure, copy_repository, planned, snakemake

CONFIG = yaml.safe_load((REPOSITORY / "config/own-facts.yaml").read_text())


def test_the_shipped_table_becomes_facts_and_a_corpus(tmp_path: Path) -> None:
    folder = copy_repository(tmp_path / "repository")
    configure(folder, CONFIG)
    assert planned(folder)["finetune"] == 2
    snakemake(folder, "--until", "facts", "world")
    (path,) = folder.glob("results/facts/facts-*/facts.parquet")
    table = pd.read_parquet(path)
    assert table.groupby(["split", "relation"]).size().groupby("split").agg(list).to_dict() == {
        "train": [40] * 3, "dev": [4] * 3, "test": [20] * 3, "testood": [20] * 2,
    }  # fmt: skip
    assert list(table.loc[table["object"] == "Saint Olden", "aliases"].iloc[0]) == ["Saint Olden", "St. Olden"]
    (corpus,) = folder.glob("results/facts/world-*/corpus.txt")
    assert "Which port is the home of the " in corpus.read_text()


def test_a_table_that_moves_reruns_nothing_and_one_that_changes_is_another_study(tmp_path: Path) -> None:
    folder = copy_repository(tmp_path / "repository")
    configure(folder, CONFIG)
    snakemake(folder, "--until", "facts")
    (folder / "config/own-facts.csv").rename(folder / "ships.csv")
    configure(folder, {**CONFIG, "facts": {**CONFIG["facts"], "path": "ships.csv"}})
    assert "facts" not in planned(folder)
    with (folder / "ships.csv").open("a") as file:
        file.write("train,cargo,Last Gull,tea,What does the Last Gull carry?,\n")
    configure(folder, {**CONFIG, "study": "more", "facts": {**CONFIG["facts"], "path": "ships.csv"}})
    assert planned(folder)["facts"] == 1
