"""Figures that the paper does not have: what fine-tuning cost, and what restoring gave back, with intervals."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

import fake_answers
from fake_results import fake_results
from sftlens import files
from sftlens.dag.targets import TARGETS
from sftlens.reporting import charts, frames, style
from sftlens.reporting.themes.intervals import DIFFERENCE
from sftlens.results import collect
from sftlens.results.answers import Answers
from sftlens.statistics.correlations import spearman

FROM_ANSWERS = ["cost", "gains", "relations"]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("study"))
        study = fake_answers.study()
        fake_answers.make(study)
        found = fake_answers.answers(study)
        for name in FROM_ANSWERS:  # the answers are read on demand
            collect.numbers(TARGETS.get(name), found)
        return found


def drawn(name: str, numbers: pd.DataFrame, narrow: bool = False) -> Figure:
    return style.drawn(TARGETS.get(name), numbers, "", narrow=narrow)


def words(figure: Figure) -> str:
    return " ".join(" ".join(text.get_text() for text in reversed(figure.texts)).split())


def tints(axes: Axes) -> np.ndarray:
    return np.asarray(axes.images[0].get_array())


@pytest.mark.parametrize("name", FROM_ANSWERS)
@pytest.mark.parametrize("narrow", [False, True], ids=["wide", "narrow"])
def test_nothing_is_cut_off(answers, name, narrow):
    figure = drawn(name, collect.numbers(TARGETS.get(name), answers), narrow)
    figure.draw_without_rendering()
    boxes = [axes.get_tightbbox() for axes in figure.axes]
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.x1 + 1 and box.y0 >= 0 for box in boxes)
    drawn(name, collect.numbers(TARGETS.get(name), answers).iloc[:0], narrow)


def test_the_cost_is_the_difference_to_the_base_with_its_paired_interval(answers):
    numbers, contrasts = (collect.numbers(TARGETS.get(name), answers) for name in ("cost", "contrasts"))
    own = contrasts[contrasts["Against"] == frames.BASE]
    keys = ["Model", "Test set", "Trained on", "n"]
    both = numbers.merge(own, on=keys, suffixes=("", " again"), validate="one_to_one")
    assert len(both) == len(numbers) == len(own) == 20
    for name in (DIFFERENCE, "Low", "High"):
        np.testing.assert_array_equal(both[name], both[f"{name} again"])
    axes = drawn("cost", numbers).axes[0]
    points = [line for line in axes.lines if line.get_marker() in {m for _, m in style.LOOKS.values()}]
    hollow = sum(to_hex(line.get_markerfacecolor()) == "#ffffff" for line in points)
    test = numbers[numbers["Test set"] == "ID test"]
    assert hollow == ((test["Low"] <= 0) & (test["High"] >= 0)).sum() and 0 < hollow < 10


def test_a_test_set_with_an_empty_bucket_is_no_empty_panel(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = fake_answers.study()
    fake_answers.make(study)
    for path in [*tmp_path.rglob("mastery.parquet"), *tmp_path.rglob("answers.parquet")]:
        table = files.read_parquet(path)
        files.write_parquet(path, table[(table["split"] != "testood") | (table["bucket"] != "D4")])
    found = fake_answers.answers(study)
    assert set(collect.numbers(TARGETS.get("contrasts"), found)["Test set"]) == {"ID test", "OOD test"}
    for name in ("cost", "gains"):
        numbers = collect.numbers(TARGETS.get(name), found)
        assert set(numbers["Test set"]) == {"ID test"} and numbers[DIFFERENCE].notna().all()


def test_a_gain_is_tinted_only_where_its_interval_excludes_zero(answers):
    numbers = collect.numbers(TARGETS.get("gains"), answers)
    assert len(numbers) == 5 * 2 * 3 * 2
    sure = (numbers["Low"] > 0) | (numbers["High"] < 0)
    assert 0 < sure.sum() < len(numbers)
    figure = drawn("gains", numbers)
    assert sum(int((tints(axes) != 0).sum()) for axes in figure.axes) == sure.sum()
    first = numbers[(numbers["Criterion"] == "relative") & (numbers["Test set"] == "ID test")]
    grid = first.pivot_table(DIFFERENCE, frames.RATIO, "Trained on", sort=False)
    texts = [text.get_text().replace("−", "-") for text in figure.axes[0].texts]
    assert texts[::2] == [f"{value:+.1f}" for value in grid.to_numpy().ravel()]
    assert texts[1] == f"{first['Low'].iloc[0]:.1f} to {first['High'].iloc[0]:.1f}"
    assert len(figure.axes[0].patches) == 5  # the best k of each training set


def test_a_relation_counts_its_own_questions(answers):
    numbers = collect.numbers(TARGETS.get("relations"), answers)
    assert numbers.groupby("Test set")["Relation"].nunique().to_dict() == {"ID test": 10, "OOD test": 14}
    assert set(numbers["n"]) == {"240"} and (numbers["Low"] <= numbers[DIFFERENCE]).all()
    # Every question is of one relation: weighted by their questions the relations make up the mean over all.
    base, full = (
        np.mean([y.mean() for y in answers.contains(one, "test").values()])
        for one in answers.conditions
        if one.ratio is None and (one.train_set, one.scale) in (("base", "0"), ("D0", "240"))
    )
    own = numbers[(numbers["Test set"] == "ID test") & (numbers["Trained on"] == "D0")]
    assert np.average(own[DIFFERENCE], weights=own["Facts"]) == pytest.approx(100 * (full - base))


def test_knowledge_and_format_are_three_panels_with_the_base_in_each():
    numbers = collect.numbers(TARGETS.get("format"), fake_results())
    assert list(dict.fromkeys(numbers["Measure"])) == ["accuracy", "well-formed answers", "mastery, probed again"]
    figure = drawn("format", numbers)
    assert len(figure.axes) == 3
    for axes, (_, own) in zip(figure.axes, numbers.groupby("Measure", sort=False), strict=True):
        base = own.loc[own["Trained on"] == frames.BASE, "Share (%)"].item()
        assert any(np.allclose(np.asarray(line.get_ydata(), dtype=float), base) for line in axes.lines)


def test_kl_against_accuracy_names_the_correlation_within_training_sets():
    numbers = collect.numbers(TARGETS.get("kl_accuracy"), fake_results())
    cells = numbers[numbers["n"] != "0"]
    assert len(cells) == 15
    about = [cells[name] - cells.groupby("Trained on")[name].transform("mean") for name in (frames.KL, frames.ACCURACY)]
    r, low, high = spearman(*about)
    title = drawn("kl_accuracy", numbers).axes[0].get_title(loc="left").replace("−", "-")
    assert f"correlation {r:.2f} ({low:.2f} to {high:.2f}), 15 cells" in title


def test_restoration_is_two_panels_a_test_set_of_changes_from_zero():
    results = fake_results().query("not region.str.startswith('layers')")
    figure = drawn("restoration", collect.numbers(TARGETS.get("restoration"), results))
    assert len(figure.axes) == 4
    for axes in figure.axes:
        lines = [np.asarray(line.get_ydata()) for line in axes.lines][1:]
        assert len(lines) == 10 and all(line[0] == 0 for line in lines)
    styles = {line.get_linestyle() for line in figure.axes[0].lines}
    assert {"-", "--"} <= styles


def test_concentration_is_drawn_as_trained_minus_permuted():
    numbers = collect.numbers(TARGETS.get("concentration"), fake_results())
    figure = drawn("concentration", numbers)
    line = next(line for line in figure.axes[0].lines if len(np.asarray(line.get_ydata())) == 5)
    np.testing.assert_allclose(np.asarray(line.get_ydata(), dtype=float), 1.0)


def test_the_chart_of_the_concentration_has_the_numbers_of_its_figure():
    target = TARGETS.get("concentration")
    numbers = collect.numbers(target, fake_results())
    found = charts.chart(numbers, target.chart)
    value = found["columns"].index("As trained minus permuted (points)")
    assert {row[value] for row in found["rows"]} == {"1.00"} and found["y"] == value
    assert [found["columns"][found[name]] for name in ("x", "line", "panel")] == ["Top k (%)", "Trained on", "Sum of"]
    assert [row[found["low"]] for row in found["rows"]] == ["-"] * len(found["rows"])  # one permutation
    trained = numbers["Changes"] == "as trained"
    noise = numbers[trained].assign(Changes="permuted: SD of a draw")
    noise[[name for name in noise if name.startswith("Top ")]] = 0.25
    found = charts.chart(pd.concat([numbers, noise]), target.chart)
    assert {(row[found["low"]], row[found["high"]]) for row in found["rows"]} == {("0.50", "1.50")}


def test_the_chart_of_the_heat_map_has_the_numbers_of_its_figure():
    target = TARGETS.get("heatmap")
    numbers = collect.numbers(target, fake_results())
    found = charts.chart(numbers, target.chart)
    assert len(found["rows"]) == 2 * len(numbers) and found["columns"][found["panel"]] == "Part"
    image = next(image for axes in drawn("heatmap", numbers).axes for image in axes.images)
    first = [row for row in found["rows"] if row[found["panel"]] == "first 20 %" and row[4] == found["rows"][0][4]]
    shown = [float(row[found["shade"]]) for row in first if row[3] == found["rows"][0][3]]
    np.testing.assert_allclose(np.ma.filled(image.get_array()).ravel(), shown, atol=0.00501)


def test_leaks_and_facts_of_the_training_data_are_taken_out_side_by_side():
    figure = drawn("overlap", collect.numbers(TARGETS.get("overlap"), fake_results()))
    titles = [" ".join(axes.get_title(loc="left").split()) for axes in figure.axes]
    assert titles[:3] == [
        f"invented, in-domain (ID), {name}" for name in ("all questions", "without leak", "not in train")
    ]
    assert len(titles) == 6


def test_an_incomplete_grid_is_said_in_the_figure():
    results = fake_results()
    part = results[~((results["train_set"] == "D1") & (results["scale"] == "240"))]
    for name in ("fig2", "format", "overlap"):
        assert "No result: D1 at n = 240." in words(drawn(name, collect.numbers(TARGETS.get(name), part)))


@pytest.mark.parametrize("name", ["cost", "gains"])
def test_an_incomplete_grid_is_said_in_a_figure_of_answers(answers, name):
    numbers = collect.numbers(TARGETS.get(name), answers)
    numbers = pd.concat([numbers, numbers.assign(n="960")])
    part = numbers[~((numbers["Trained on"] == "D1") & (numbers["n"] == "960"))]
    assert "No result" not in words(drawn(name, numbers))
    assert "No result: D1 at n = 960." in words(drawn(name, part))
