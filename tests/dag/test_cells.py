"""The cells of a study are those of the paper, and the DAG is its grid."""

from collections import Counter
from types import SimpleNamespace

import pytest
import yaml

from demo_study import DEMO, ROOT, changed, demo
from dry_runs import planned, stats
from sftlens.config import loading
from sftlens.dag import cells, contrasts, jobs, recorded, targets
from sftlens.dag.cells import Cell, Product
from sftlens.dag.paths import Paths, options
from sftlens.dag.targets import select
from sftlens.planning import job_list


@pytest.fixture(autouse=True)
def no_data(monkeypatch):
    monkeypatch.delenv("ENTITY_QUESTIONS_DIR", raising=False)


@pytest.fixture(scope="module")
def paper():
    return loading.load_file(ROOT / "config" / "paper.yaml")


def test_environment_names_the_questions(monkeypatch, tmp_path):
    assert loading.load_file(ROOT / "config" / "paper.yaml").facts.path is None
    monkeypatch.setenv("ENTITY_QUESTIONS_DIR", str(tmp_path))
    assert loading.load_file(ROOT / "config" / "paper.yaml").facts.path == str(tmp_path)
    assert demo().facts.path is None


def test_paper_grid_has_every_cell_once(paper):
    asked = [product for product in cells.distinct(paper) if product.stage == "finetune"]
    numbered, every = 5 * 6 * 6 * 5, 5 * 6
    lora = 2 * 5 * 3  # of Table 7, at three learning rates
    assert len(asked) == len(set(asked)) == numbered + every + lora
    assert (
        job_list.cells(select(paper))["scaling"] == numbered + every + 5 * 2 + 1
    )  # n = 0: SFT prompt, few-shot; instruct
    seeds_of_all = {product.cell.seed for product in asked if product.cell.scale == "all"}
    assert seeds_of_all == {0}


def test_cells_that_experiments_share_run_once(paper):
    products = cells.distinct(paper)
    assert len(products) == len(set(products))
    count = Counter(product.stage for product in products)
    n8b = 5 * (6 * 5 + 1)
    assert count["mastery"] == 5
    assert count["evaluate"] == count["finetune"] + 10 + 1  # the instruct model
    assert count["divergence"] == n8b + 1 + 30
    assert count["changes"] == 5 * 2 * 5 + 30
    assert count["restore"] == 5 * 2 * 5 * 7 * 4 + 5 * 5 * (32 // 4)


def test_blocks_cover_all_layers_of_each_model():
    geometry = {**DEMO["models"]["tiny"]["geometry"], "layers": 6}
    study = demo(models__six={"geometry": geometry}, experiments={"blocks": {"scales": [60]}})
    found = {(p.cell.model, p.region, p.ratio) for p in cells.distinct(study) if p.stage == "restore"}
    assert found == {
        ("tiny", "layers0-1", 100.0), ("six", "layers0-3", 100.0), ("six", "layers4-5", 100.0)
    }  # fmt: skip


def test_interpolation_takes_its_measure_from_the_changes_of_the_papers_order():
    study = demo(experiments={"restoration": {"scales": [60], "ratios": [20], "criteria": ["interpolation"]}})
    made = jobs.Jobs(study)
    wildcards = SimpleNamespace(
        model="tiny", train_set="D0", scale="60", seed="0", strategy="full", criterion="interpolation",
        region="transformer", ratio="20",
    )  # fmt: skip
    histogram = made.restore_inputs(wildcards)["histogram"]
    assert histogram == "results/demo/tiny/D0/n60/seed0/full/changes/relative-transformer/histogram.parquet"
    assert {"relative", "interpolation"} == set(made.constraints()["criterion"].split("|"))
    both = demo(
        experiments={"restoration": {"scales": [60], "ratios": [20], "criteria": ["relative", "interpolation"]}}
    )
    assert job_list.jobs(select(both))["changes"] == job_list.jobs(select(study))["changes"] == 5
    against = [c.against for c in contrasts.contrasts(contrasts.conditions(cells.distinct(both)))]
    assert sum(text.startswith("interpolation") for text in against) == 5


def test_experiment_may_leave_out_the_base_model():
    study = demo(experiments={"scaling": {"scales": [60], "base": False}, "divergence": {"scales": [60]}})
    base = [p.stage for p in cells.distinct(study) if p.cell.strategy in (cells.BASE, cells.FEWSHOT)]
    assert base == ["divergence"]


@pytest.mark.parametrize(
    ("product", "path"),
    [
        (Product("finetune", Cell("m", "D0", "60", 3)), "m/D0/n60/seed3/full/finetune.json"),
        (Product("evaluate", Cell("m", "base", "0", 0, "base")), "m/base/n0/seed0/base/evaluate/summary.json"),
        (
            Product("changes", Cell("m", "mixed", "all", 0), "relative", "mlp"),
            "m/mixed/nall/seed0/full/changes/relative-mlp/summary.json",
        ),
        *(
            (
                Product("restore", Cell("m", "D4", "240", 0), "absolute", "transformer", ratio),
                f"m/D4/n240/seed0/full/restore/absolute-transformer/k{shown}/summary.json",
            )
            for ratio, shown in ((0.5, "0.5"), (20.0, "20"), (100.0, "100"), (3, "3"))
        ),
    ],
)
def test_path_of_a_product(product, path):
    study = demo()
    assert Paths(study).summary(product) == f"results/demo/{path}"
    assert Paths(study).log(product).startswith(f"results/demo/logs/{product.cell.path}/")


def test_products_have_paths_of_their_own(paper):
    found = cells.distinct(paper)
    where = Paths(paper)
    assert len({where.summary(product) for product in found}) == len(found)
    assert len({where.log(product) for product in found}) == len(found)


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"experiments__scaling__scales": [60]}, True),
        ({"finetuning__epochs": 2, "evaluation__max_new_tokens": 4}, True),
        ({"study": "other"}, True),
        ({"probing__processes": 4, "probing__batch_tokens": 99}, True),
        ({"probing__samples": 5}, False),
        ({"world__seed": 3}, False),
        ({"models__tiny__pretraining__seed": 1}, False),
        ({"template_choice__seen": 1}, False),
    ],
)
def test_studies_share_the_mastery_of_equal_settings(changes, same):
    equal = Paths(demo(**changes)).mastery("tiny") == Paths(demo()).mastery("tiny")
    assert equal is same


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"experiments__mastery__models": ["tiny"], "evaluation__max_new_tokens": 4}, True),
        ({"experiments__mastery__retest": 50}, False),
        ({"experiments__mastery__answer_probability": True}, False),
        ({"probing__samples": 5}, False),
    ],
)
def test_quality_of_mastery_is_shared_and_its_settings_leave_mastery_alone(changes, same):
    old, new = Paths(demo()), Paths(demo(**changes))
    product = Product("mastery_quality", Cell("tiny", "", "", 0, ""))
    assert (new.summary(product) == old.summary(product)) is same
    assert new.summary(product).startswith(new.mastery_folder("tiny") + "/quality-")
    assert (new.mastery("tiny") == old.mastery("tiny")) is ("probing__samples" not in changes)


def test_exposure_is_drawn_only_where_the_text_was_written_here():
    mine = {**DEMO["models"]["tiny"], "source": "path", "path": "models/mine"}
    study = demo(models={"mine": mine}, experiments={"mastery": {}})
    assert list(targets.wanted(study)) == ["table1", "reliability", "claims_paper"]
    assert "reliability" not in targets.wanted(demo(experiments={"scaling": {"scales": [60]}}))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"experiments__scaling__scales": [60, 240, 480, 960]},
        {"experiments__blocks": {"scales": [480]}},
        {"models__second": {"geometry": DEMO["models"]["tiny"]["geometry"]}},
        {"finetuning__epochs": 2},
        {"models__tiny__launch": {"processes": 2}},
    ],
)
def test_study_may_grow(changes):
    assert recorded.conflict(demo(**changes), recorded.snapshot(demo())) is None


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"facts": {"source": "entity_questions"}}, "facts.source was 'world' and is 'entity_questions'"),
        ({"facts__remove_train_from_test": True}, "facts.remove_train_from_test was False and is True"),
        ({"world__seed": 3}, "world.seed was 2 and is 3"),
        ({"models__tiny__geometry__layers": 3}, "models.tiny.geometry.layers was 2 and is 3"),
        ({"models__tiny__pretraining__seed": 1}, "models.tiny.pretraining.seed was 0 and is 1"),
        (
            {"models__tiny__source": "path", "models__tiny__path": "x"},
            "models.tiny.source was 'pretrain' and",
        ),
    ],
)
def test_other_configuration_of_the_same_name_is_a_conflict(changes, place):
    found = recorded.conflict(demo(**changes), recorded.snapshot(demo()))
    assert found is not None and place in found


def test_options_of_a_script():
    study = demo(finetuning__gradient_checkpointing=True)
    given = options(study.finetuning, ["epochs", "gradient_checkpointing", "allow_smaller", "micro_batch_size"])
    assert given == ["--epochs", "1", "--allow-smaller", "--gradient-checkpointing"]
    assert options(study.facts, ["remove_train_from_test"]) == ["--no-remove-train-from-test"]


@pytest.mark.parametrize("name", ["config", "paper", "own-facts", "doubts"])
def test_snakemake_plans_what_is_counted(tmp_path, name):
    config = ROOT / "config" / f"{name}.yaml"
    found = stats(planned(tmp_path, config))
    counted = job_list.jobs(select(loading.load_file(config)))
    assert found.pop("total") == sum(counted.values())
    assert found == counted
    assert f"total{sum(counted.values()):>18}" in job_list.describe(select(loading.load_file(config)))
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == ["config"]


def test_snakemake_plans_an_imported_model_on_the_embedded_world(tmp_path):
    """One plan for what the shipped studies lack: a model by path, imported mastery, a choice of ratios."""
    values = changed(
        DEMO,
        models={
            "mine": {**DEMO["models"]["tiny"], "source": "path", "path": "models/mine"},
            "known": {**DEMO["models"]["tiny"], "mastery": "known.parquet"},
        },
        experiments={
            "mastery": {"models": ["mine"], "retest": 0},
            "scaling": {"models": ["mine"], "scales": [60]},
            "divergence": {"models": ["known"], "scales": ["all"], "train_sets": ["mixed"]},
            "restoration": {"models": ["mine"], "train_sets": ["D0"], "scales": [60], "ratios": [0.5, 20]},
        },
    )
    (tmp_path / "known.parquet").touch()
    config = tmp_path / "my.yaml"
    config.write_text(yaml.safe_dump(values))
    found = stats(planned(tmp_path, config))
    counted = job_list.jobs(select(loading.load_file(config)))
    assert found.pop("total") == sum(counted.values())
    assert found == counted
    assert (found["world"], found["choose_templates"], found["restore"]) == (1, 1, 2)


def test_snakemake_plans_a_model_by_path_on_the_embedded_world(tmp_path):
    """No model is pretrained, yet the questions come from the world."""
    mine = {**DEMO["models"]["tiny"], "source": "path", "path": "models/mine"}
    config = tmp_path / "my.yaml"
    small = {"scaling": {"scales": [60], "train_sets": ["D0"]}}
    config.write_text(yaml.safe_dump(changed(DEMO, models={"mine": mine}, experiments=small)))
    found = stats(planned(tmp_path, config))
    assert found.pop("total") == sum(found.values())
    assert found == job_list.jobs(select(loading.load_file(config)))
    assert found["world"] == 1 and "choose_templates" not in found


def test_snakemake_refuses_a_misspelt_key_in_one_line(tmp_path):
    config = tmp_path / "my.yaml"
    config.write_text(yaml.safe_dump(changed(DEMO, finetuning__learning_rat=1)))
    run = planned(tmp_path, config)
    assert run.returncode == 1
    message = f"error: {config}: unknown key 'finetuning.learning_rat'; did you mean 'learning_rate'?"
    assert run.stderr.splitlines()[-1] == message
    assert run.stdout == ""
