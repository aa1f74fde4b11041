"""The readers' doubts: a sentence follows from an interval; an experiment has its files and its place on the page."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import fake_answers
from script_calls import ok
from sftlens.commands.study import collect as command
from sftlens.config.study import Study
from sftlens.dag import recorded
from sftlens.dag.cells import products
from sftlens.dag.contrasts import Condition
from sftlens.dag.paths import Paths
from sftlens.dag.targets import TARGETS, wanted
from sftlens.doubts import COLUMNS, DOUBTS, contrast, sentence
from sftlens.errors import ConfigError
from sftlens.results import collect
from sftlens.results.answers import Answers
from sftlens.statistics import crossed

STEPS = DOUBTS.get("steps")


def answers(study: Study, name: str) -> Answers:
    """Return the invented answers of one experiment of a study."""
    fake_answers.make(study)
    asked = wanted(study)[name]
    return Answers(study, asked, collect.collect(study, asked)[0])


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ((3.14, 1.2, 5.0), "Accuracy on ID test is higher after few samples in several epochs than after as many "
         "different samples in one: +3.1 points (1.2 to 5.0, 95 % interval, over seeds)."),
        ((-3.0, -5.0, -1.0), "Accuracy on ID test is lower after few"),
        ((3.0, -0.1, 6.1), "Undecided: accuracy on ID test after few samples in several epochs minus that after as "
         "many different samples in one is +3.0 points (-0.1 to 6.1, 95 % interval, over seeds)."),
        ((3.0, 0.0, 6.0), "Undecided"),
        ((3.0, np.nan, np.nan), "is +3.0 points (no interval)."),
        ((np.nan, np.nan, np.nan), "Undecided: nothing was measured of accuracy on ID test after few"),
    ],
)  # fmt: skip
def test_the_sentence_follows_from_the_interval(numbers: tuple[float, ...], said: str) -> None:
    row = dict(zip(("Estimate", "Low", "High"), numbers, strict=True)) | {"Scope": "over seeds", "Series": "", "X": ""}
    assert said in sentence(STEPS, row)


def test_the_sentence_names_what_the_study_compares() -> None:
    row = {"Estimate": 3.0, "Low": 1.0, "High": 5.0, "Scope": "over seeds", "Series": "D1 minus D3", "X": "35"}
    assert "is higher after training on D1 than after training on D3: " in sentence(DOUBTS.get("geometry"), row)
    for name in ("skill", "flawed", "nulls"):
        assert "restoring 35 %" in sentence(DOUBTS.get(name), row)


def test_a_contrast_pairs_seeds_and_questions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    study = fake_answers.study(experiments={"steps": {"train_sets": ["D0", "D4"]}})
    found = answers(study, "steps")
    few, many = (Condition("one", name, "240", "full") for name in ("D0", "D4"))
    base = next(one for one in found.grid if not one.trained)
    buckets = found.questions("one", "test").buckets
    y = {one: np.stack(list(found.contains(one, "test").values())).astype(float) for one in (few, many, base)}
    macro = [np.mean([100 * (a - b)[:, buckets == k].mean() for k in range(5)]) for a, b in
             ((y[few], y[many]), (y[few], y[base]))]  # fmt: skip
    assert contrast(found, few, many, "test").value == pytest.approx(macro[0])
    assert contrast(found, few, base, "test").value == pytest.approx(macro[1])
    assert contrast(found, few, None, "test").value == pytest.approx(
        np.mean([100 * y[few][:, buckets == k].mean() for k in range(5)])
    )
    inside = np.arange(len(buckets)) < 50
    own = contrast(found, few, many, "test", inside)
    assert own.value == pytest.approx(100 * (y[few] - y[many])[:, inside].mean()) and own.questions == 50
    assert (own.seeds, own.scope) == (3, crossed.OVER_SEEDS) and own.low < own.value < own.high
    missing = contrast(found, Condition("one", "D2", "240", "full"), None, "test")
    assert np.isnan([missing.value, missing.low]).all()


def test_a_plain_mean_has_the_interval_of_one_bucket() -> None:
    y = np.array([[1.0, 0, 1, 1], [0, 0, 1, 1], [1, 0, 1, 0]])
    # SE^2 = var of the seeds' means / 3 + var of the questions' means / 4, by hand.
    seeds, questions = np.var([0.75, 0.5, 0.5], ddof=1) / 3, np.var([2 / 3, 0, 1, 2 / 3], ddof=1) / 4
    found = crossed.mean(y)
    assert (found.value, found.se) == pytest.approx((7 / 12, np.sqrt(seeds + questions)))
    assert np.isnan(crossed.mean(np.zeros((3, 0))).value)


def test_an_experiment_asks_for_its_cells_and_the_base_and_has_figure_table_and_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    study = fake_answers.study(experiments={"steps": {"train_sets": ["D0", "D4"]}})
    asked = products(study)["steps"]
    assert [(p.stage, p.cell.train_set, p.cell.scale, p.cell.seed) for p in asked] == [
        ("evaluate", "base", "0", 0),
        *(("evaluate", name, n, seed) for name in ("D0", "D4") for n in ("60", "240") for seed in (0, 1, 2)),
    ]
    table = collect.numbers(TARGETS.get("steps"), answers(study, "steps"))
    assert list(table) == list(COLUMNS)
    first = table.iloc[0]
    assert (first["Quantity"], first["Series"], first["X"]) == ("D0 minus D4 (points), by n", "ID test", "240")
    bars = TARGETS.get("steps").draw(table, "").axes[0].containers[0][2][0].get_segments()
    np.testing.assert_allclose(bars[0][:, 1], [first["Low"], first["High"]])
    legends = TARGETS.get("steps").draw(table, "").legends
    handles = [handle for legend in legends for handle in legend.legend_handles]
    looks = {(handle.get_color(), handle.get_marker()) for handle in handles}
    assert len(looks) == len(handles) == table["Series"].nunique()
    recorded.record(study)
    for kind in ("figure", "table"):
        ok("collect.py", "invented", f"--{kind}", "steps")
    root = Path("results/invented")
    assert {p.name for p in (root / "figures").iterdir()} == {
        *(f"steps.{end}" for end in ("svg", "png", "pdf", "csv", "txt")), "steps-narrow.svg"
    }  # fmt: skip
    said = sentence(STEPS, first)
    assert "is lower after few samples" in said  # training on D0 loses: see fake_answers
    for path in (root / "figures/steps.txt", root / "tables/steps.md", root / "tables/steps.txt"):
        assert said in path.read_text(encoding="utf-8")
    assert (root / "figures/steps.csv").read_bytes() == (root / "tables/steps.csv").read_bytes()
    ok("collect.py", "invented", "--partial")
    page = (root / "partial/report.html").read_text(encoding="utf-8")
    assert '<h2 class="part">The readers&#39; doubts</h2>' in page and STEPS.limit in page and "is lower after" in page


def test_a_whole_report_looks_for_nothing_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    study = fake_answers.study(experiments={"steps": {"train_sets": ["D0", "D4"]}})
    fake_answers.make(study)
    recorded.record(study)
    for kind in ("figure", "table"):
        for name in (name for name in wanted(study) if kind in TARGETS.get(name).kinds):
            ok("collect.py", "invented", f"--{kind}", name)
    ok("collect.py", "invented", "--results")
    monkeypatch.setattr(command, "_incomplete", lambda *of: pytest.fail("a complete study lacks nothing"))
    ok("collect.py", "invented", "--report")
    assert Path("results/invented/report.html").is_file()


def test_a_part_of_a_study_shows_the_models_that_are_there_and_full_fine_tuning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    entry = {"source": "path", "path": "models/one", "geometry": fake_answers.GEOMETRY}

    def two(strategies: list[str]) -> Study:
        parts = {"own": {"buckets": ["D4"], "answers": "own"}}, {"new": {"buckets": ["D0"]}}
        asked = {
            "steps": {"train_sets": ["D0", "D4"], "strategies": strategies}, "dose": {"train_sets": ["D0", "dose"]},
            "own": {"train_sets": ["own", "D4"]}, "nulls": {},
        }  # fmt: skip
        return fake_answers.study(
            models={"one": entry, "two": entry}, probing={"keep_texts": True}, experiments=asked,
            recipes={name: {"parts": part} for name, part in zip(("own", "dose"), parts, strict=True)},
        )  # fmt: skip

    study = two(["full", "lora"])
    fake_answers.make(study)
    whole, alone = (collect.numbers(TARGETS.get("steps"), answers(one, "steps")) for one in (study, two(["full"])))
    assert whole.equals(alone) and set(whole["Model"]) == {"one", "two"}
    recorded.record(study)
    for suffix in (".parquet", ".json"):
        Path(Paths(study).mastery("two")).with_suffix(suffix).unlink()
    ok("collect.py", "invented", "--partial")
    table = pd.read_csv("results/invented/partial/tables/steps.csv", dtype={"X": str})
    assert set(table["Model"]) == {"one"}


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"domains": {"train_sets": ["D0", "D4", "D3"]}}, r"domains.*: train_sets goes by pairs"),
        ({"geometry": {"train_sets": ["D0"]}}, r"geometry.*: train_sets names one training set"),
        ({"nulls": {"criteria": ["relative"]}}, r"nulls.*: criteria lacks `equal-size`"),
        ({"nulls": {"criteria": ["equal-size"]}}, r"nulls.*: criteria lacks `relative`"),
        ({"skill": {"ratios": []}}, r"skill.*: ratios is empty"),
        ({"skill": {"train_sets": ["D0"]}}, r"experiments\.skill: train_sets: 'D0' is no task"),
        ({"own": {"train_sets": ["D4", "D3"]}}, r"experiments\.own: .*'D4' comes first and has no answers of the"),
    ],
)  # fmt: skip
def test_a_sentence_that_would_have_nothing_to_compare_is_refused(asked: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        fake_answers.study(experiments=asked)


def test_pretrained_models_that_have_nothing_to_compare_are_refused() -> None:
    model = {"source": "pretrain", "geometry": fake_answers.GEOMETRY}
    given = {"models": {"one": model}, "evaluation": {"reprobe": 0}}
    with pytest.raises(ConfigError, match=r"experiments\.flawed: 'one' is taught nothing falsely; set models\.one\."):
        fake_answers.study(**given, experiments={"flawed": {"train_sets": ["D0"]}})
    with pytest.raises(ConfigError, match=r"experiments\.capacity: models of several sizes are compared; add another"):
        fake_answers.study(**given, experiments={"capacity": {"train_sets": ["D0"]}})


def test_an_experiment_that_cannot_be_is_refused_in_one_line() -> None:
    with pytest.raises(ConfigError, match=r"'experiments\.steps': train_sets names two training sets"):
        fake_answers.study(experiments={"steps": {"train_sets": ["D0"]}})
    with pytest.raises(ConfigError, match=r"experiments\.steps\.train_sets.*'repeated'"):
        fake_answers.study(experiments={"steps": {}})
