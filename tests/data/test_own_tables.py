"""Facts from a table of one's own: a study of its relations, or a refusal that names the line."""

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sftlens.config.stages.data import FactsSettings
from sftlens.data import facts
from sftlens.errors import DataError

OWN = """split,relation,subject,object,question,aliases
train,capital,Utopia,Amaurot,What is the capital of Utopia?,
test,capital,Laputa,Lagado,What is the capital of Laputa?,Lagado City|Old Lagado
testood,author,Emma,Austen,Who wrote Emma?,
dev,author,Waverley,Scott,Who wrote Waverley?,
dev,capital,Erewhon,None,What is the capital of Erewhon?,
"""


def own(folder: Path, text: str, **values: Any) -> pd.DataFrame:
    (folder / "own.csv").write_text(text, encoding="utf-8")
    return facts.load(FactsSettings(source="table", path=str(folder / "own.csv"), **values))


def test_a_table_is_a_study_of_its_own_relations(tmp_path: Path) -> None:
    table = own(tmp_path, OWN)
    assert list(table) == list(facts.COLUMNS)
    assert table["fact_id"].tolist() == [
        "train/capital/00000", "dev/capital/00004", "test/capital/00001", "testood/author/00002",
    ]  # fmt: skip
    assert table["aliases"].tolist() == [["Amaurot"], ["None"], ["Lagado", "Lagado City", "Old Lagado"], ["Austen"]]
    spare = facts.spare(FactsSettings(source="table", path=str(tmp_path / "own.csv")))
    assert {name: [item.subject for item in items] for name, items in spare.items()} == {
        "capital": ["Erewhon"], "author": ["Waverley"],
    }  # fmt: skip


def test_the_domain_of_a_tables_relation_is_said_or_shown_by_its_splits(tmp_path: Path) -> None:
    as_published = OWN.replace("testood", "test")
    assert set(own(tmp_path, as_published)["split"]) == {"train", "dev", "test"}
    chosen = own(tmp_path, as_published, relations={"id": ["capital"], "ood": ["author"]})
    assert chosen.equals(own(tmp_path, OWN))
    lines = as_published.splitlines()
    said = "\n".join([lines[0] + ",domain", *(f"{line},{'ood' if 'author' in line else 'id'}" for line in lines[1:])])
    assert own(tmp_path, said).equals(chosen)
    assert set(own(tmp_path, OWN, relations={"id": ["author"]})["relation"]) == {"author"}


def test_a_table_may_bring_ids_and_is_sampled(tmp_path: Path) -> None:
    lines = OWN.splitlines()
    text = "\n".join([f"fact_id,{lines[0]}", *(f"f{i},{line}" for i, line in enumerate(lines[1:]))])
    assert own(tmp_path, text)["fact_id"].tolist() == ["f0", "f4", "f1", "f2"]
    more = OWN + "train,capital,Oz,Emerald City,What is the capital of Oz?,\n"
    assert len(own(tmp_path, more, sample={"train": 1})) == 4


@pytest.mark.parametrize(("change", "words"), [
    (("train,", "training,"), "line 2: column 'split' holds 'training', none of train, dev, test, testood"),
    (("split,", "part,"), "column 'split' is missing"),
    ((",Utopia,", ",,"), "line 2: column 'subject' holds ''"),
    (("dev,author", "train,author"), "relation 'author' is in-domain in some rows and out-of-domain in others"),
    (("Erewhon?", "Utopia?"), None),
    (("test,capital,Laputa,Lagado,What is the capital of Laputa", "train,capital,X,Y,What is the capital of Utopia"),
     "line 3: the question 'What is the capital of Utopia?' stands there twice"),
    (("capital,", "a/b,"), "relation 'a/b' has a slash"),
])  # fmt: skip
def test_a_table_that_cannot_be_a_study_is_refused_with_its_line(
    tmp_path: Path, change: tuple[str, str], words: str | None
) -> None:
    if (
        words is None
    ):  # the same question in two splits is as in EntityQuestions: kept, or removed where it is asked for
        assert len(own(tmp_path, OWN.replace(*change))) == 4
        return
    with pytest.raises(DataError, match=re.escape(words)):
        own(tmp_path, OWN.replace(*change))


def test_a_chosen_relation_without_facts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no fact is of relation 'river'"):
        own(tmp_path, OWN, relations={"id": ["capital", "river"]})
