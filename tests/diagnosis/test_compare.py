"""sftlens compare on the tables that programs leave, and on tables of users."""

import json
from pathlib import Path

import pandas as pd
import pytest

from script_calls import ok, refused
from sftlens.files import read_json, write_parquet

BASE, TUNED, REPAIRED = "base", "fine-tuned", "absolute 5 %"


def cell(path: Path, right: list[bool], **columns: list[str]) -> Path:
    """Write answers as a study's cell has them."""
    ids = [f"test/P17/{i:05}" for i in range(len(right))]
    table = pd.DataFrame({"fact_id": ids, "split": "test", "bucket": "D4", "output": [f"out {x}" for x in right]})
    path.parent.mkdir(parents=True, exist_ok=True)
    write_parquet(path, table.assign(contains=right, **columns))
    return path


def repaired(folder: Path) -> Path:
    """Write answers.csv and report.json as a repair does: 40 facts, of which fine-tuning lost half and repair none."""
    right = {BASE: [True] * 40, TUNED: [i % 2 == 0 for i in range(40)], REPAIRED: [True] * 39 + [False]}
    table = pd.DataFrame({"question": [f"Where was N{i} born?" for i in range(40)], "answers": "Oslo | Oslo city"})
    for name, answers in right.items():
        table[f"{name}: answer"] = [" Oslo" if value else " Rome" for value in answers]
        table[f"{name}: right"] = answers
    folder.mkdir()
    table.to_csv(folder / "answers.csv", index=False)
    (folder / "report.json").write_text("{}")
    return folder


def test_examples_of_a_task_are_compared_by_their_own_score(tmp_path: Path) -> None:
    splits, facts = ["test"] * 30 + ["gsm8k"] * 10, [True] * 30 + [None] * 10
    for name, right in (("a", 8), ("b", 3)):
        solved = [None] * 30 + [i < right for i in range(10)]
        cell(tmp_path / name / "answers.parquet", facts, split=splits, final_number=solved)
    for column, count, difference in (("contains", 30, 0.0), ("final_number", 10, -0.5)):
        options = ["--score", column, "--csv", tmp_path / "c.csv"]
        ok("compare.py", tmp_path / "a", tmp_path / "b", *options)
        table = pd.read_csv(tmp_path / "c.csv").set_index("group")
        assert table.loc["all", ["questions", "difference"]].tolist() == [count, difference]


def test_two_cells_are_compared_by_split_and_bucket(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    splits = ["test"] * 50 + ["testood"] * 40 + ["train"] * 10
    a = cell(tmp_path / "a" / "answers.parquet", [True] * 100, split=splits)
    b = cell(tmp_path / "b" / "answers.parquet", [i >= 20 and i < 90 for i in range(100)], split=splits)
    ok("compare.py", a, b.parent, "--json", tmp_path / "c.json", "--csv", tmp_path / "c.csv", "--examples", 2)
    said = capsys.readouterr().out
    assert "right -> wrong (2 of 20):" in said and "test/P17/00001: 'out True' -> 'out False'" in said
    assert f"verdict on {tmp_path}/b: lost" in said
    table = pd.read_csv(tmp_path / "c.csv").set_index("group")
    # What was trained on is shown and does not enter the verdict.
    assert table["questions"].to_dict() == {"all": 90, "test": 50, "testood": 40, "train": 10, "D4": 90}
    assert table["right_to_wrong"].to_dict() == {"all": 20, "test": 20, "testood": 0, "train": 10, "D4": 20}
    assert table.loc["all", "difference"] == pytest.approx(-20 / 90, abs=1e-5) and table.loc["all", "high"] < -0.1
    whole = read_json(tmp_path / "c.json")["comparisons"][0]
    assert whole["verdict"] == "lost" and whole["groups"][0]["verdict"] == "lost"
    assert len(whole["right_to_wrong"]) == 20 and not whole["wrong_to_right"]


def test_a_repair_is_compared_with_the_base_and_one_of_its_models_with_another_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = repaired(tmp_path / "one")
    ok("compare.py", first, "--json", tmp_path / "c.json")
    found = read_json(tmp_path / "c.json")["comparisons"]
    assert [(c["first"], c["second"]) for c in found] == [
        (f"{first}:base", f"{first}:fine-tuned"),
        (f"{first}:base", f"{first}:absolute 5 %"),
    ]
    assert [c["verdict"] for c in found] == ["lost", "too little evidence"]
    assert found[1]["groups"][0]["enough"] > 40 and "about" in found[1]["sentence"]
    assert found[0]["right_to_wrong"][0] == {
        **{"question": "Where was N1 born?", "accepted": "Oslo | Oslo city", "first": " Oslo", "second": " Rome"},
        **{"was": 1.0, "is": 0.0},
    }
    assert "Where was N1 born? [Oslo | Oslo city]: 'Oslo' -> 'Rome'" in capsys.readouterr().out
    # Beside other files a file stands for its last model, unless one is named.
    ok("compare.py", f"{first}/answers.csv:fine-tuned", first / "report.json", "--json", tmp_path / "c.json")
    found = read_json(tmp_path / "c.json")["comparisons"]
    assert [(c["first"], c["second"]) for c in found] == [
        (f"{first}/answers.csv:fine-tuned", f"{first}/report.json:absolute 5 %")
    ]
    assert found[0]["verdict"] == "kept" and "right more often" in found[0]["sentence"]
    assert len(found[0]["wrong_to_right"]) == 19


def test_an_interval_ends_where_shares_do(tmp_path: Path) -> None:
    a, b = cell(tmp_path / "a.parquet", [True] * 3), cell(tmp_path / "b.parquet", [False, False, True])
    ok("compare.py", a, b, "--csv", tmp_path / "c.csv")
    row = pd.read_csv(tmp_path / "c.csv").iloc[0]
    assert (row["low"], row["high"], row["verdict"]) == (-1, pytest.approx(0.768, abs=1e-3), "too little evidence")


def test_a_users_own_tables_need_a_question_and_a_judgement(tmp_path: Path) -> None:
    for name, values in (("a", [1, 0.5, 0]), ("b", [1, 1, 0.5])):
        lines = [json.dumps({"question": f"Q{i}", "score": value}) for i, value in enumerate(values)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    ok("compare.py", tmp_path / "a.jsonl", tmp_path / "b.jsonl", "--csv", tmp_path / "c.csv")
    row = pd.read_csv(tmp_path / "c.csv").iloc[0]
    assert (row["questions"], row["right_to_wrong"], row["wrong_to_right"], row["verdict"]) == (
        3,
        0,
        2,
        "too little evidence",
    )


def test_what_cannot_be_compared_is_named(tmp_path: Path) -> None:
    a = cell(tmp_path / "a.parquet", [True, False])
    other = tmp_path / "b.csv"
    other.write_text("question,right\nWho?,yes\n")
    assert "b.csv, line 2: column 'right' holds 'yes'; write true, false or" in refused("compare.py", a, other)
    other.write_text("question,right\nWho?,true\n")
    message = refused("compare.py", a, other)
    assert "b.csv: shares no fact with" in message and "'test/P17/00000'" in message and "'Who?'" in message
    other.write_text("question,right\nWho?,true\nWho?,false\n")
    assert "'Who?' stands there twice" in refused("compare.py", other, other)
    for column in ("fact_id", "split", "bucket"):
        row = {"fact_id": "a", "question": "Who?", "right": True, column: ["x"]}
        (tmp_path / "lists.jsonl").write_text(json.dumps(row))
        message = refused("compare.py", tmp_path / "lists.jsonl", tmp_path / "lists.jsonl")
        assert f"lists.jsonl, line 1: column {column!r} holds ['x']; write one text or number" in message
    other.write_text("question,text\nWho?,true\n")
    assert "no column 'right' or 'first_line' or 'contains'" in refused("compare.py", a, other)
    assert "holds the answers of one model" in refused("compare.py", a)
    assert "neither answers.parquet nor answers.csv" in refused("compare.py", a, tmp_path)
    repaired(tmp_path / "one")
    message = refused("compare.py", tmp_path / "one", f"{tmp_path}/one/answers.csv:mine")
    assert "holds no model 'mine'; it has base, fine-tuned, absolute 5 %" in message
