"""What a study was made from: files may move, what they hold may not change, and what made nothing does not count."""

import shutil
from pathlib import Path

import pytest

from demo_study import DEMO, demo
from entity_questions_files import data_set, file_of, zipped
from sftlens.dag import recorded
from sftlens.dag.paths import Paths


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ENTITY_QUESTIONS_DIR", raising=False)
    return tmp_path


def asking(path: Path | None, **changes: object):
    source = {"facts__source": "entity_questions", "facts__path": path and str(path)}
    return demo(**source, models__tiny__source="path", models__tiny__path="/models/tiny", **changes)


def test_where_data_and_models_lie_does_not_matter(here: Path):
    first = data_set(here / "first")
    study = asking(first)
    recorded.record(study)
    snapshot, held = recorded.snapshot(study), recorded.read_data(here / "results" / study.study)
    moved = Path(shutil.copytree(first, here / "disk/moved"))
    for place in (moved, zipped(first, here / "questions.zip"), zipped(first, here / "below.zip", "EntityQuestions/")):
        other = demo(
            facts__source="entity_questions", facts__path=str(place), models__tiny__source="path",
            models__tiny__path="/scratch/tiny",
        )  # fmt: skip
        assert recorded.conflict(other, snapshot, held) is None
        assert Paths(other).facts == Paths(study).facts
        assert Paths(other).base("tiny") == Paths(study).base("tiny")
        assert Paths(other).mastery("tiny") == Paths(study).mastery("tiny")


def test_other_questions_in_the_same_place_are_refused(here: Path):
    study = asking(data_set(here / "questions"))
    recorded.record(study)
    snapshot, held = recorded.snapshot(study), recorded.read_data(here / "results" / study.study)
    path = file_of(here / "questions", "train", "P17")
    path.write_text(path.read_text().replace("P17 object 1", "another object"))
    recorded.content.cache_clear()  # another process
    assert "facts.path: the questions in" in (recorded.conflict(study, snapshot, held) or "")


def test_results_stay_where_they_are_once_the_data_are_gone(here: Path):
    study = asking(data_set(here / "questions"))
    recorded.record(study)
    before = Paths(study).mastery("tiny")
    shutil.rmtree(here / "questions")
    recorded.content.cache_clear()
    held = recorded.read_data(here / "results" / study.study)
    for gone in (study, asking(None)):
        assert Paths(gone).mastery("tiny") == before
        assert recorded.conflict(gone, recorded.snapshot(study), held) is None


def test_a_hub_id_says_which_model_it_is():
    def of(name: str):
        return demo(models__tiny={**DEMO["models"]["tiny"], "source": "hub", "path": name, "revision": "0" * 40})

    assert Paths(of("org/one")).base("tiny") != Paths(of("org/two")).base("tiny")
    assert "models.tiny.path" in (recorded.conflict(of("org/two"), recorded.snapshot(of("org/one"))) or "")


def test_only_a_study_that_made_something_is_kept_apart(here: Path):
    """After a typo and a first job that failed, the corrected configuration may run."""
    study = demo()
    root = here / "results" / study.study
    recorded.record(study)
    (root / "logs").mkdir()
    (root / "logs/facts.log").write_text("error: no such folder")
    (root / "partial").mkdir()
    (root / "partial/report.html").write_text("nothing")
    (root / "tiny/D0").mkdir(parents=True)  # Snakemake makes the folders of a job's outputs before it starts
    assert recorded.read_snapshot(root) is None
    (root / "tiny/D0/order-seed0.parquet").write_text("")
    assert recorded.read_snapshot(root) == recorded.snapshot(study)


def test_a_run_finds_its_results_where_it_put_them(here: Path):
    """Files that a run makes are not there when its paths are first computed."""
    study = demo()
    before = Paths(study).mastery("tiny")
    templates = here / Paths(study).templates("tiny")
    templates.parent.mkdir(parents=True)
    templates.write_text("P17: {templates: ['{subject} lies in']}")
    recorded.content.cache_clear()
    assert Paths(study).mastery("tiny") == before


def test_a_comment_among_the_templates_moves_nothing(tmp_path):
    path = tmp_path / "templates.yaml"
    places = set()
    for text in (
        "P17: {templates: ['{subject} is in']}",
        "# why\nP17:\n  templates: ['{subject} is in']\n",
        "P17: {templates: ['{subject} at']}",
    ):
        path.write_text(text)
        places.add(Paths(demo(templates=str(path))).world)
    assert len(places) == 2
