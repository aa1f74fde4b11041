"""Recipes and tasks as values of the axis `train_sets`: what their cells are given, and what is refused."""

import json
from types import SimpleNamespace

import pytest
import yaml

from demo_study import DEMO, changed, demo
from dry_runs import planned, stats
from sftlens.config import loading
from sftlens.dag.cells import quota_needs
from sftlens.dag.jobs import Jobs
from sftlens.errors import ConfigError

DOSE = {"parts": {"new": {"share": 20, "buckets": ["D0"]}, "known": {"share": 80, "buckets": ["D2", "D3", "D4"]}}}
RECIPES = {"dose20": DOSE, "mine": {"parts": {"own": {"file": "own.csv"}}}}
TASKS = {
    "gsm8k": {"train": "g/train.jsonl", "test": "g/test.jsonl"},
    "xsum": {"train": "x/a", "test": "x/b", "sample": 9},
}
AXES = {"train_sets": ["D2", "dose20", "mine", "gsm8k", "xsum"], "scales": [60], "seeds": [0]}
STUDY = {"recipes": RECIPES, "tasks": TASKS, "experiments": {"scaling": AXES, "restoration": {**AXES, "ratios": [20]}}}


def cell(train_set: str, **own: str) -> SimpleNamespace:
    axes = {"model": "tiny", "train_set": train_set, "scale": "60", "seed": "0", "strategy": "full"}
    return SimpleNamespace(**axes | own)


def test_what_the_cells_of_recipes_and_tasks_are_given() -> None:
    jobs = Jobs(demo(**STUDY))
    assert jobs.sets.inputs(cell("gsm8k")) == {"examples": "g/train.jsonl"}
    assert jobs.sets.inputs(cell("mine"))["files"] == ["own.csv"]
    options = jobs.sets.options(cell("dose20"))
    assert json.loads(options[1]) == DOSE and options[2] == "--mastery"
    assert jobs.sets.options(cell("D2")) == ["--mastery", jobs.mastery(cell("D2"))]

    trained = jobs.finetune_options(cell("xsum"))
    assert trained[trained.index("--task") + 1] == "xsum" and trained[trained.index("--max-length") + 1] == "1024"
    plain = jobs.finetune_options(cell("dose20"))
    assert plain[plain.index("--task") + 1] == "closed_book_qa" and plain[plain.index("--max-length") + 1] == "256"

    asked = jobs.evaluate_options(cell("xsum"))
    wanted = {"task": "xsum", "file": "x/b", "sample": 9, "max_new_tokens": 128, "max_length": 1024}
    assert json.loads(asked[asked.index("--task-test") + 1]) == wanted and "--train" not in asked
    assert jobs.evaluate_inputs(cell("xsum"))["test_xsum"] == "x/b"
    restore = cell("gsm8k", criterion="relative", region="transformer", ratio="20")
    assert (
        "--task-test" in jobs.restore_options(restore) and jobs.restore_inputs(restore)["test_gsm8k"] == "g/test.jsonl"
    )
    tuned = Jobs(demo(**STUDY | {"tasks": {"gsm8k": TASKS["gsm8k"] | {"dev": "g/dev.jsonl"}, "xsum": TASKS["xsum"]}}))
    asked = tuned.evaluate_options(cell("gsm8k"))
    assert json.loads(asked[asked.index("--task-test") + 1])["dev"] == "g/dev.jsonl"
    assert tuned.restore_inputs(restore)["dev_gsm8k"] == "g/dev.jsonl"
    base = cell("base", scale="0", strategy="base")
    assert jobs.evaluate_options(base).count("--task-test") == 2  # the reference of both tasks
    for other in (cell("D2"), cell("base", scale="0", strategy="fewshot")):
        assert "--task-test" not in jobs.evaluate_options(other)


def test_snakemake_plans_them(tmp_path) -> None:
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(changed(DEMO, **STUDY)))
    said = planned(tmp_path, tmp_path / "study.yaml")
    assert said.returncode and "error: key 'recipes.mine.parts.own.file': own.csv: no such file" in said.stderr
    for name in ("own.csv", "g/train.jsonl", "g/test.jsonl", "x/a", "x/b"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("question,answer\n")
    jobs = stats(planned(tmp_path, tmp_path / "study.yaml"))
    assert jobs["training_order"] == jobs["finetune"] == jobs["restore"] == 5 and jobs["evaluate"] == 7


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"experiments__scaling__train_sets": ["dose2"]},
            "scaling.train_sets: there is no training set 'dose2'; did you mean 'dose20'",
        ),
        (
            {"tasks": {}},
            "no training set 'gsm8k'; choose one of: D0, D1, D2, D3, D4, mixed, dose20, mine; a task needs its files",
        ),
        ({"tasks__gsm9k": TASKS["gsm8k"]}, "key 'tasks': there is no task 'gsm9k'; did you mean 'gsm8k'?"),
        ({"tasks__gsm8k": {"train": "a"}}, "key 'tasks.gsm8k.test' is missing"),
        ({"recipes__D0": DOSE}, "recipe 'D0': use letters"),
        (
            {"recipes__dose20__parts__known__share": 70},
            "key 'recipes.dose20': the shares of its parts sum to 90, not to 100",
        ),
        (
            {"recipes__dose20__parts__known__bucket": ["D1"]},
            "unknown key 'recipes.dose20.parts.known.bucket'; did you mean 'buckets'",
        ),
        ({"recipes__dose20__parts__known__buckets": ["D0", "D4"]}, "parts 'new' and 'known' could take the same fact"),
        ({"recipes__dose20__order": ["new"]}, "key 'recipes.dose20': `order` must name each part once: new, known"),
        ({"recipes__mine__parts__own__buckets": ["D0"]}, "`file` and `buckets` exclude each other"),
        (
            {"recipes__dose20__parts__known__answers": "own"},
            "recipes.dose20: `answers: own` needs `probing.keep_texts: true`",
        ),
        ({"finetuning__early_stopping": {}}, "key 'tasks.gsm8k.dev' is missing; early stopping looks at its examples"),
        (
            {"experiments__scaling__strategies": ["early-stopping"]},
            "key 'tasks.gsm8k.dev' is missing; early stopping looks at its examples",
        ),
        ({"probing__quota": 2}, "experiments.scaling.train_sets: `dose20` needs every train fact probed"),
        (
            {"experiments__scaling__strategies": ["drop-unknown"], "experiments__scaling__train_sets": ["gsm8k"]},
            "drop-unknown",
        ),
    ],
)
def test_what_cannot_be_is_one_line(changes, message) -> None:
    with pytest.raises(ConfigError) as caught:
        loading.load(changed(changed(DEMO, **STUDY), **changes), "my.yaml")
    assert message in str(caught.value) and str(caught.value).startswith("my.yaml: ")


def test_parts_may_share_a_bucket_where_their_relations_differ() -> None:
    parts = {"one": {"share": 50, "relations": ["P131"]}, "others": {"share": 50, "except_relations": ["P131"]}}
    assert demo(recipes={"halves": {"parts": parts}}).recipes["halves"].parts["one"].share == 50


def test_a_quota_of_probing_asks_for_no_facts_of_a_task() -> None:
    study = demo(**{**STUDY, "recipes": {}, "experiments": {"scaling": {**AXES, "train_sets": ["D2", "gsm8k"]}}},
                 probing__quota=2)  # fmt: skip
    assert quota_needs(study, "tiny") == {"D2": 60}
