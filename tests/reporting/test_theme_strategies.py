"""Strategies compared: dev chooses, test judges, a pilot is paid for, and the picture can be read."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import compared_strategies
from script_calls import ok
from sftlens.dag.contrasts import Condition
from sftlens.dag.targets import TARGETS, wanted
from sftlens.reporting import frames, style
from sftlens.results import choosing, collect
from sftlens.results.answers import Answers
from sftlens.statistics import crossed


@pytest.fixture
def answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Answers:
    monkeypatch.chdir(tmp_path)
    study, _ = compared_strategies.make(compared_strategies.CONFIG)
    products = wanted(study)["strategies"]
    return Answers(study, products, collect.collect(study, products)[0])


def test_dev_chooses_and_of_equal_settings_the_first(answers: Answers) -> None:
    table = collect.numbers(TARGETS.get("tradeoff"), answers)
    picked = table[table["Chosen on dev"] == "yes"].set_index("Strategy")["Setting"].to_dict()
    assert picked == {"full": "lr 3e-05", "kl": "lr 3e-05", "masked": "lr 3e-05", "relative": "k = 60 %"}
    one, other = (Condition("one", "mixed", "8", name) for name in ("full", "kl"))
    assert choosing.best([other, one], {one: 0.5, other: 0.5}) == other and choosing.best([one], {}) is None


def test_each_strategy_has_one_row_with_its_price_and_its_difference_to_full(answers: Answers) -> None:
    table = collect.numbers(TARGETS.get("strategies"), answers).set_index("Strategy")
    assert table.index.tolist() == [frames.BASE, "full", "kl", "masked", "relative"]
    assert table["Settings"].tolist() == [1, 2, 2, 2, 2]
    # The pilot of masked is trained by full; a restoration is paid for besides the training.
    assert table["Seconds"].tolist()[1:] == [2.0, 2.0, 4.0, 2.5]
    assert table.loc["kl", ["KL (nats)", "Norm of the change", "Training set"]].tolist() == [
        1.25,
        3.0,
        pytest.approx(81),
    ]
    low, high = table.loc["kl", ["Training set low", "Training set high"]]
    assert high - 81 == pytest.approx(81 - low) == pytest.approx(4.302652729696142 / np.sqrt(3))
    minus = [name for name in table if name.startswith("OOD test minus full")]
    assert table.loc[[frames.BASE, "full"], minus].isna().all(axis=None)
    cell = {name: Condition("one", "mixed", "8", f"{name}@3e-05") for name in ("full", "kl")}
    own, full = (np.stack(list(answers.contains(cell[name], "testood").values())) for name in ("kl", "full"))
    buckets = answers.questions("one", "testood").buckets
    found = crossed.accuracy(100.0 * own - 100.0 * full, buckets)
    assert table.loc["kl", minus].tolist() == pytest.approx([found.value, found.low, found.high])


def test_the_targets_are_files_of_the_study_and_stand_on_its_page(answers: Answers) -> None:
    for kind, name in (("figure", "tradeoff"), ("table", "strategies")):
        ok("collect.py", "compared", f"--{kind}", name)
    root = Path(answers.paths.root)
    again = frames.read_csv(root / "tables/strategies.csv")
    assert again["Strategy"].tolist()[-1] == "relative" and again["n"].tolist()[0] == "8"
    assert {path.suffix for path in (root / "figures").glob("tradeoff.*")} == {".png", ".svg", ".pdf", ".csv", ".txt"}


def test_every_strategy_has_a_panel_and_no_two_words_lie_upon_each_other(answers: Answers) -> None:
    target = TARGETS.get("tradeoff")
    numbers = collect.numbers(target, answers)
    # As many as there are, in a study of all of them.
    more = [numbers.assign(Strategy=numbers["Strategy"] + f" {i}") for i in range(3)]
    base = numbers[numbers["Strategy"] == frames.BASE]
    rows = numbers[numbers["Strategy"] != frames.BASE]
    crowded = pd.concat([base, rows, *(part[~part["Strategy"].str.startswith(frames.BASE)] for part in more)])
    for table in (numbers, crowded):
        figure = style.drawn(target, table, "A notice.")
        with style.applied():
            figure.draw_without_rendering()
        panels = [axes for axes in figure.axes if axes.axison]
        assert [axes.get_title("left") for axes in panels] == list(dict.fromkeys(table["Strategy"]))[1:]
        boxes = [axes.get_window_extent() for axes in panels] + [
            axes._left_title.get_window_extent() for axes in panels
        ]
        boxes += [part.get_window_extent() for part in (*figure.texts, *figure.legends)]
        shown = [box for box in boxes if box.width > 1]
        pairs = [(a, b) for i, a in enumerate(shown) for b in shown[i + 1 :] if a.padded(-1).overlaps(b.padded(-1))]
        assert not pairs
        assert all(
            box.x0 >= 0 and box.x1 <= figure.bbox.x1 and box.y0 >= 0 and box.y1 <= figure.bbox.y1 for box in shown
        )
        greys = {artist.get_color() for axes in panels for artist in axes.lines}
        assert all(colour.lower() in ("#111111", style.GREY, "#c4c4c4") for colour in greys)


def test_a_study_without_a_mean_over_the_ood_buckets_says_so_in_each_panel(answers: Answers) -> None:
    target = TARGETS.get("tradeoff")
    numbers = collect.numbers(target, answers).assign(**{frames.SPLITS["testood"]: float("nan")})
    figure = style.drawn(target, numbers, "")
    said = [text.get_text() for axes in figure.axes for text in axes.texts]
    strategies = [name for name in dict.fromkeys(numbers["Strategy"]) if name != frames.BASE]
    assert said == [f"{name}: no mean\nover the OOD buckets" for name in strategies]
