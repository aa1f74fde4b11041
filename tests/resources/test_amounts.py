"""How much a study asks follows from its relations, its facts and its templates; none of these numbers is code."""

from pathlib import Path
from typing import Any

import pytest

from demo_study import demo
from sftlens.config.stages.data import FactsSettings
from sftlens.dag import paths
from sftlens.errors import SftlensError
from sftlens.resources import amounts
from sftlens.resources.costs import Costs
from sftlens.resources.job import Job
from sftlens.resources.requests import Resources

PUBLISHED = {"train": 75_944, "test": 9_555, "testood": 11_613}


def published(**facts: Any) -> Any:
    return demo(facts={"source": "entity_questions", "path": "data", **facts})


def test_the_shipped_relations_give_the_papers_numbers() -> None:
    assert amounts.relations(demo()) == {"train": 10, "test": 10, "testood": 14}
    assert amounts.questions(demo()) == {"train": 3000, "test": 1000, "testood": 840}
    assert amounts.questions(published()) == PUBLISHED
    assert amounts.questions(published(sample={"train": 5}))["train"] == 50


def test_chosen_relations_and_another_templates_file_count_for_themselves(tmp_path: Path) -> None:
    choice = {"id": ["P17", "P19", "P206"], "ood": ["P26"], "questions": {"P206": "Where is [X]?"}}
    study = published(relations=choice, sample={"train": 7, "testood": 2})
    assert amounts.relations(study) == {"train": 3, "test": 3, "testood": 1}
    assert amounts.questions(study) == {"train": 21, "test": 9_555 * 3 // 10, "testood": 2}
    (tmp_path / "t.yaml").write_text(
        "P17: {templates: ['{subject} a', '{subject} b']}\nP19: {templates: ['{subject}']}\n"
    )
    few = demo(templates=str(tmp_path / "t.yaml"))
    assert amounts.templates(few, few.models["tiny"]) == 2
    assert amounts.templates(demo(), demo().models["tiny"]) == 21
    choosing = Job("choose_templates", "tiny")
    assert Costs(few).of(choosing).cpu_seconds < Costs(demo()).of(choosing).cpu_seconds


def test_a_table_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "own.tsv"
    rows = [("train", "a"), ("train", "b"), ("train", "b"), ("dev", "a"), ("test", "a"), ("testood", "c")]
    path.write_text("split\trelation\n" + "".join(f"{split}\t{name}\n" for split, name in rows))
    study = demo(facts={"source": "table", "path": str(path)})
    assert amounts.relations(study) == {"train": 2, "test": 1, "testood": 1}
    assert amounts.questions(study) == {"train": 3, "test": 1, "testood": 1}


def test_a_table_that_cannot_be_read_is_refused_before_planning(tmp_path: Path) -> None:
    study = demo(facts={"source": "table", "path": str(tmp_path / "own.csv")})
    with pytest.raises(SftlensError, match=r"own\.csv: no such file"):
        Resources(study)


def test_every_setting_of_how_facts_are_prepared_reaches_its_jobs() -> None:
    """`allow_unknown_aliases` never did: a list of names by hand had forgotten it."""
    study = published(allow_unknown_aliases=True, relations={"id": ["P17"]})
    for options in (paths.fact_options(study), paths.world_options(study)):
        flags = {word.removeprefix("--").removeprefix("no-").replace("-", "_") for word in options if word[:2] == "--"}
        assert {name for name in FactsSettings.model_fields if name not in ("source", "path", "aliases")} <= flags
        assert "--allow-unknown-aliases" in options
