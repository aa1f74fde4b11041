"""The question set of sftlens check: drawn by its rule, again and again the same."""

import os
from collections import Counter
from pathlib import Path

import pytest

from entity_questions_files import put
from script_calls import ok, refused
from sftlens.data import tables
from sftlens.data.question_sets import shipped
from sftlens.data.relations import RELATIONS

REAL = os.environ.get("ENTITY_QUESTIONS_DIR")


@pytest.mark.skipif(not REAL, reason="real EntityQuestions not given: set ENTITY_QUESTIONS_DIR")
def test_drawn_anew_it_is_the_file_that_comes_with_sftlens(tmp_path: Path) -> None:
    ok("question_set.py", "--entity-questions", str(REAL), "--out", tmp_path / "drawn.csv")
    assert (tmp_path / "drawn.csv").read_bytes() == shipped.FILE.read_bytes()
    ok("question_set.py", "--entity-questions", str(REAL), "--seed", 1, "--out", tmp_path / "other.csv")
    assert (tmp_path / "other.csv").read_bytes() != shipped.FILE.read_bytes()


def test_it_asks_about_every_relation_in_words_of_our_own() -> None:
    facts = tables.facts(shipped.FILE, ["relation", "subject"])
    sizes = Counter(facts["relation"])
    assert list(sizes) == list(RELATIONS) and set(sizes.values()) == {shipped.PER_RELATION}
    assert facts["subject"].is_unique and facts["question"].is_unique
    assert max(Counter(zip(facts["relation"], facts["object"], strict=True)).values()) <= shipped.PER_OBJECT
    for relation, subject, question in zip(facts["relation"], facts["subject"], facts["question"], strict=True):
        assert subject in question and question != RELATIONS[relation].ask(subject)
    norway = facts.set_index("subject").loc["Norway"]
    assert (norway["question"], norway["object"]) == ("Which city is the capital of Norway?", "Oslo")
    assert "MIT License" in shipped.FILE.with_suffix(".txt").read_text(encoding="utf-8")


def test_the_rule(tmp_path: Path) -> None:
    """The most named subjects come first; what is in doubt, shared or given away is left out."""

    def asked(relation: str, subject: str, *answers: str) -> dict[str, object]:
        return {"question": RELATIONS[relation].ask(subject), "answers": list(answers)}

    test = {
        "P36": [asked("P36", f"Land {i}", "Seat") for i in range(9)]
        + [asked("P36", "Oslo County", "Oslo"), asked("P36", "Twin", "Ay"), asked("P36", "Famous", "Bee")]
        + [asked("P36", "Silent")],
        "P26": [asked("P26", "Ada", "Bob Ray"), asked("P26", "Ada Loren", "Bob Ray", "Cy Young")],
        "P19": [asked("P19", "Ada Loren", "Famous")],
        "P20": [asked("P20", "Ada Loren", "Famous")],
    }
    for relation in RELATIONS:
        put(tmp_path, "test", relation, test.get(relation, []))
        put(tmp_path, "dev", relation, [asked("P36", "Twin", "Bee")] if relation == "P36" else [])
        put(tmp_path, "train", relation, [])
    rows = shipped.draw(tmp_path)
    capitals = [row["subject"] for row in rows if row["relation"] == "P36"]
    assert capitals[0] == "Famous" and len(capitals) == 1 + shipped.PER_OBJECT
    assert not {"Oslo County", "Twin", "Silent"} & set(capitals)
    assert [row["relation"] for row in rows if row["subject"] == "Ada Loren"] == ["P19"]
    assert not [row for row in rows if row["subject"] == "Ada"]
    assert "no data set is named" in refused_without_data(tmp_path)


def refused_without_data(tmp_path: Path) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("ENTITY_QUESTIONS_DIR", raising=False)
        return refused("question_set.py", "--out", tmp_path / "x.csv")
