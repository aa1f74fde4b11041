"""The figures: bands, gaps, references, the notice, and the same bytes every time."""

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from fake_results import NOTICE, fake_results
from repository import ROOT
from sftlens.dag.targets import TARGETS, of_kind
from sftlens.errors import ConfigError
from sftlens.reporting import curves, style
from sftlens.results import collect

FIGURES = [name for name in of_kind("figure") if not TARGETS.get(name).from_answers]


def draw(name: str, results: pd.DataFrame, notice: str = "") -> Figure:
    target = TARGETS.get(name)
    return style.drawn(target, collect.numbers(target, results), notice)


def macro(results: pd.DataFrame, bucket: str, split: str = "test") -> pd.DataFrame:
    rows = results[(results["stage"] == "evaluate") & (results["bucket"] == "macro")]
    rows = rows[rows["metric"] == "contains"]
    rows = rows[(rows["train_set"] == bucket) & (rows["split"] == split)]
    return rows.groupby(rows["scale"].astype(int))["value"].agg(["mean", "std"]) * 100


def line(figure: Figure, name: str, panel: int = 0) -> np.ndarray:
    return next(np.asarray(x.get_ydata()) for x in figure.axes[panel].lines if x.get_label() == name)


def words(figure: Figure) -> str:
    return " ".join(" ".join(text.get_text() for text in reversed(figure.texts)).split())


def test_unknown_figure_is_named_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"no target 'fig99'; did you mean 'fig\d'\? .*fig2.*table1"):
        TARGETS.get("fig99")


@pytest.mark.parametrize("panel", [0, 1])
def test_line_is_the_mean_and_band_one_sd(panel):
    third = fake_results().query("seed == 1 and scale != '0'")
    results = pd.concat([fake_results(), third.assign(seed=2, value=third["value"] + 0.01)])
    figure = draw("fig2", results)
    expected = macro(results, "D0", ("test", "testood")[panel])
    np.testing.assert_allclose(line(figure, "D0", panel), expected["mean"])
    edge = figure.axes[panel].collections[0].get_paths()[0].vertices
    for x, (mean, sd) in enumerate(expected.to_numpy()):
        heights = edge[edge[:, 0] == x][:, 1]
        assert heights.min() == pytest.approx(mean - sd)
        assert heights.max() == pytest.approx(mean + sd)


def test_two_seeds_are_dots_and_no_band():
    results = fake_results()
    figure = draw("fig2", results)
    assert not figure.axes[0].collections
    rows = results.query("stage == 'evaluate' and metric == 'contains' and bucket == 'macro' and split == 'test'")
    rows = rows[rows["train_set"] == "D0"]
    dots = next(np.asarray(x.get_ydata()) for x in figure.axes[0].lines if x.get_marker() == ".")
    for scale, values in enumerate(dots.reshape(2, -1).T):
        own = rows[rows["scale"] == ("60", "240", "480")[scale]]["value"] * 100
        assert sorted(values) == pytest.approx(sorted(own))
    assert "the two seeds of a point" in words(figure)


def test_base_model_is_a_dashed_and_its_five_shots_a_dotted_level():
    levels = [x for x in draw("fig2", fake_results()).axes[0].lines if x.get_linestyle() == "--"]
    assert len(levels) == 2
    assert [round(float(np.asarray(x.get_ydata())[0]), 1) for x in levels] == [37.4, 39.9]


def test_a_missing_cell_is_a_gap():
    results = fake_results()
    part = results[~((results["train_set"] == "D1") & (results["scale"] == "240"))]
    figure = draw("fig2", part)
    assert list(np.isnan(line(figure, "D1"))) == [False, True, False]
    assert "No result: D1 at n = 240." in words(figure) and "No result" not in words(draw("fig2", results))


def test_a_training_set_at_an_n_of_its_own_lacks_nothing():
    results = fake_results()
    alone = results[results["train_set"] == "D1"].assign(train_set="mixed")
    alone = alone[alone["scale"] == "240"].assign(scale="120")
    assert "No result" not in words(draw("fig2", pd.concat([results, alone])))


def test_one_seed_has_no_band_and_says_so():
    results = fake_results()
    figure = draw("fig2", results[results["seed"] == 0])
    assert not figure.axes[0].collections
    assert "no spread is shown" in words(figure)


def test_a_set_smaller_than_n_is_hollow_and_explained():
    assert "Hollow marker" in words(draw("fig4", fake_results()))
    results = fake_results()
    assert "Hollow" not in words(draw("fig4", results[results["train_set"] != "D2"]))


def test_axis_holds_the_scales_in_order_and_all_last():
    results = fake_results()
    whole = results[(results["scale"] == "480") & (results["seed"] == 0)].assign(scale="all")
    axes = draw("fig2", pd.concat([whole, results])).axes[0]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0", "60", "240", "480", "All"]


def test_panels_are_models_by_test_sets_and_a_model_has_one_axis():
    results = pd.concat([fake_results().assign(model=m) for m in ("A-8B", "A-70B")])
    figure = draw("fig2", results)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles[::2] == ["A-8B, in-domain (ID)", "A-70B, in-domain (ID)"]
    assert len({axes.get_ylim() for axes in figure.axes[:2]}) == 1
    assert len(draw("fig5", results).axes) == 2


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("share", [0, 1, 200])
def test_a_figure_of_nothing_or_little_still_draws_with_the_notice(name, share, tmp_path):
    figure = draw(name, fake_results().iloc[:share], NOTICE)
    assert NOTICE in words(figure)
    style.save(figure, tmp_path / name)


@pytest.mark.parametrize("narrow", [False, True], ids=["wide", "narrow"])
@pytest.mark.parametrize("name", FIGURES)
def test_nothing_is_cut_off_and_no_word_lies_on_another(name, narrow):
    target = TARGETS.get(name)
    figure = style.drawn(target, collect.numbers(target, fake_results()), NOTICE * 3, narrow=narrow)
    figure.draw_without_rendering()
    page = figure.bbox
    assert not narrow or figure.get_size_inches()[0] == 4.2
    boxes = [text.get_window_extent() for text in figure.texts]
    boxes += [axes.get_tightbbox() for axes in figure.axes]
    assert all(box.x0 >= page.x0 and box.x1 <= page.x1 + 1 for box in boxes)
    assert all(box.y0 >= page.y0 and box.y1 <= page.y1 for box in boxes)
    panels, texts = boxes[len(figure.texts) :], boxes[: len(figure.texts)]
    assert not any(a.overlaps(b) for a in texts for b in panels)


def test_names_at_the_line_ends_keep_apart():
    heights = curves.spread_out([1.0, 1.0, 1.1, 5.0], 0.5)
    assert min(np.diff(heights)) > 0.45
    assert heights[3] == 5.0


def test_files_carry_the_notice_and_are_the_same_in_another_process(tmp_path):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path; from fake_results import *\n"
        "from sftlens.dag import targets; from sftlens.reporting import style\n"
        "from sftlens.results import collect; target = targets.TARGETS.get('fig2')\n"
        "figure = style.drawn(target, collect.numbers(target, fake_results()), NOTICE)\n"
        "style.save(figure, Path(sys.argv[2]), target.title, NOTICE)"
    )
    for i in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": i, "SOURCE_DATE_EPOCH": f"{i}000000"}
        here = str(ROOT / "tests")
        subprocess.run([sys.executable, "-c", code, here, str(tmp_path / i)], check=True, env=environment)
    for suffix in style.FORMATS:
        data = (tmp_path / f"1.{suffix}").read_bytes()
        assert data == (tmp_path / f"2.{suffix}").read_bytes()
        assert NOTICE.encode() in data


def test_a_layout_that_ends_in_another_last_bit_gives_the_same_bytes(tmp_path):
    for name in ("as it is", "nudged"):
        figure = draw("fig2", fake_results())
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        for axes in figure.axes if name == "nudged" else []:
            axes.set_position([np.nextafter(value, 1) for value in axes.get_position(original=True).bounds])
        style.save(figure, tmp_path / name)
    for suffix in style.FORMATS:
        assert (tmp_path / f"as it is.{suffix}").read_bytes() == (tmp_path / f"nudged.{suffix}").read_bytes()


def test_a_colour_and_a_marker_have_one_meaning_each():
    colours, markers = zip(*style.LOOKS.values(), strict=True)
    assert len({*markers, style.OTHER[1]}) == len(markers) + 1
    linear = [_lab(colour) for colour in (*colours, style.GREY)]
    apart = [np.linalg.norm(a - b) for i, a in enumerate(linear) for b in linear[:i]]
    assert min(apart) > 20  # in CIELAB, where 2 is just seen


def test_words_in_a_colour_can_be_read_on_white():
    for colour, _ in style.LOOKS.values():
        assert 1.05 / (style.luminance(*style.ink(colour)) + 0.05) >= 4.5


def _lab(colour: str) -> np.ndarray:
    """Return CIELAB of an sRGB colour (D65)."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    matrix = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = np.array(matrix) @ linear / [0.9505, 1, 1.089]
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])
