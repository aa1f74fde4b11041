"""Dev facts: asked beside the test questions, so that a setting is chosen on them and never on test."""

from pathlib import Path

import pandas as pd
import pytest

from probe_tables import facts_table
from script_calls import ok, refused
from sftlens.files import read_json
from tiny import tiny_model


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dev")
    tiny_model(folder / "m")
    facts = facts_table(("train", "test", "testood"))
    facts.assign(bucket="D2").to_parquet(folder / "mastery.parquet")
    dev = facts[facts["split"] == "train"].assign(split="dev")
    dev["fact_id"] = "dev " + dev["fact_id"]
    pd.concat([facts, dev]).to_parquet(folder / "facts.parquet")
    return folder


def test_dev_facts_have_answers_and_accuracy_of_their_own(files: Path) -> None:
    given = ["--model", files / "m", "--facts", files / "mastery.parquet", "--max-new-tokens", 4]
    ok("evaluate.py", *given, "--out", files / "plain")
    ok("evaluate.py", *given, "--out", files / "dev", "--dev", files / "facts.parquet", "--dev-facts", 3)
    plain, answers = (pd.read_parquet(files / name / "answers.parquet") for name in ("plain", "dev"))
    assert answers[answers["split"] != "dev"].reset_index(drop=True).equals(plain)
    asked = answers[answers["split"] == "dev"]
    assert len(asked) == 3 and set(asked["bucket"]) == {""} and asked["fact_id"].str.startswith("dev ").all()
    rows = pd.DataFrame(read_json(files / "dev/summary.json", dict)["metrics"])
    found = rows[(rows["split"] == "dev") & (rows["metric"] == "contains")]
    assert found["value"].tolist()[0] == asked["contains"].mean() and set(found["bucket"]) == {"all"}
    assert "dev_facts" not in read_json(files / "plain/summary.json", dict)["settings"]


def test_dev_facts_without_their_number_or_table_are_refused(files: Path) -> None:
    given = ["--model", files / "m", "--facts", files / "mastery.parquet", "--out", files / "no"]
    assert "--dev: is missing, but --dev-facts is given" in refused("evaluate.py", *given, "--dev-facts", 3)
    dev = ["--dev", files / "mastery.parquet"]
    assert "--dev-facts: is missing, but --dev is given" in refused("evaluate.py", *given, *dev)
    assert "mastery.parquet: has no facts of split dev" in refused("evaluate.py", *given, *dev, "--dev-facts", 3)
