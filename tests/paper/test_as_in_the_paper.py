"""With the paper's own numbers as results its figures and tables come out as it prints them, point by point."""

import numpy as np
import pandas as pd
import pytest
import yaml
from matplotlib.axes import Axes

from paper_results import SPLITS, buckets, name, parameters, scaling
from repository import ROOT
from sftlens.config import loading
from sftlens.dag import targets
from sftlens.dag.targets import TARGETS
from sftlens.data.buckets import BUCKETS
from sftlens.paper.printed import read
from sftlens.reporting import frames, layout, style
from sftlens.results import collect

RESULTS = scaling()
SCALES = ["60", "120", "240", "480", "960", "1920", "All"]
PANELS = {
    "fig2": ["LLaMA-3-8B ID", "LLaMA-3-8B OOD", "LLaMA-3-70B ID", "LLaMA-3-70B OOD"],
    "fig6": [f"LLaMA-2-{size} {split}" for size in ("7B", "13B", "70B") for split in ("ID", "OOD")],
}


def printed_figure(name: str) -> pd.DataFrame:
    rows = read("figures")
    return rows[rows["figure"].str.startswith(name.replace("fig", "Fig"))]


def line(axes: Axes, label: str) -> np.ndarray:
    return next(np.asarray(x.get_ydata()) for x in axes.lines if x.get_label() == label)


@pytest.mark.parametrize("figure", ["fig2", "fig6", "fig4", "fig5"])
def test_every_point_and_band_of_the_figures(figure):
    printed, target = printed_figure(figure), TARGETS.get(figure)
    numbers = collect.numbers(target, RESULTS)
    assert len(numbers) == len(printed) == {"fig2": 140, "fig6": 210, "fig4": 35, "fig5": 35}[figure]
    drawn = [axes for axes in style.drawn(target, numbers).axes if axes.axison]
    panels = PANELS.get(figure, ["LLaMA-3-8B"])
    assert len(drawn) == len(panels)
    assert [tick.get_text() for tick in drawn[-1].get_xticklabels()] == SCALES
    unit = frames.KL if figure == "fig5" else frames.ACCURACY
    for axes, panel in zip(drawn, panels, strict=True):
        model, _, split = panel.partition(" ")
        assert axes.get_title(loc="left").startswith(name(model))
        for bucket in BUCKETS:
            wanted = printed[(printed["panel"] == panel) | (len(panels) == 1)]
            wanted = wanted[wanted["train_bucket"] == bucket].set_index("n_train").loc[SCALES]
            np.testing.assert_array_equal(line(axes, bucket).round(2), wanted["mean"].round(2))
            own = numbers[(numbers["Model"] == name(model)) & (numbers["Trained on"] == bucket)]
            own = own[own["Test set"] == frames.SPLITS[SPLITS[split or "ID"]]].set_index("n")
            sd = own.loc[[scale.replace("All", "all") for scale in SCALES], f"{unit} SD"]
            np.testing.assert_array_equal(sd.fillna(0).round(2), wanted["half_band"].fillna(0).round(2))


@pytest.mark.parametrize("figure", ["fig2", "fig6", "fig4", "fig5"])
def test_the_papers_curves_lie_behind_ours(figure):
    target, part = TARGETS.get(f"{figure}_paper"), RESULTS[RESULTS["scale"] != "1920"]
    numbers = collect.numbers(target, part.assign(value=part["value"] + 0.01))
    assert len(numbers) == len(printed_figure(figure))
    unit = frames.KL if figure == "fig5" else frames.ACCURACY
    there = numbers["n"] != "1920"
    np.testing.assert_allclose((numbers[unit] - numbers["As printed"])[there], 0.01 if figure == "fig5" else 1)
    assert numbers[unit][~there].isna().all() and numbers["As printed"].notna().all()
    axes = style.drawn(target, numbers).axes[0]
    lines = {x.get_linestyle() for x in axes.lines if len(np.asarray(x.get_ydata())) == 7}
    assert {"-", "--"} <= lines


def test_the_paper_stands_beside_its_own_models_on_its_own_facts_alone():
    paper = loading.load_file(ROOT / "config/paper.yaml")
    assert {"fig2_paper", "fig4_paper", "fig5_paper", "fig6_paper"} <= set(targets.wanted(paper))
    raw = yaml.safe_load((ROOT / "config/paper.yaml").read_text())
    for changed in (
        {"facts": {"source": "world"}},
        {"models": {f"my-{model}": entry for model, entry in raw["models"].items()}},
    ):
        config = {**raw, **changed, "experiments": {"scaling": {}, "divergence": {}}}
        assert not [x for x in targets.wanted(loading.load(config)) if x.startswith("fig") and x.endswith("_paper")]
    here = {name: raw["models"]["llama-3-8b"][name] for name in ("geometry", "launch")} | {"source": "pretrain"}
    pretrained = loading.load(
        {**raw, "models": {"llama-3-8b": here}, "facts": {"source": "world"}, "experiments": {"scaling": {}}}
    )
    assert "fig2" in targets.wanted(pretrained) and "fig2_paper" not in targets.wanted(pretrained)


def test_table_2_as_it_is_printed():
    target = TARGETS.get("table2")
    table, _ = layout.laid_out(target, collect.numbers(target, buckets()))
    table = table.set_index([("Model", ""), ("Trained on", "")])
    columns = [f"{short}{end}" for short in ("test", "ood") for end in range(5)]
    columns = [*columns[:5], "Acc_test", *columns[5:], "Acc_ood"]
    for _, row in read("table2").iterrows():
        found = list(table.loc[(name(row["model"]), row["train"])])[2:]
        assert found == [f"{row[column]:.2f} ± {row[f'{column}_sd']:.2f}" for column in columns]


def test_tables_3_and_4_as_they_are_printed():
    results = parameters()
    target = TARGETS.get("table3")
    table, _ = layout.laid_out(target, collect.numbers(target, results))
    for (_, found), (_, row) in zip(table.iterrows(), read("table3").iterrows(), strict=True):
        assert [*found[["n", "Trained on"]], *found.iloc[4:]] == [
            str(row["n_train"]), row["train"], *(f"{value:.2f}" for value in row.iloc[2:])
        ]  # fmt: skip
    target = TARGETS.get("table4")
    table, same = layout.laid_out(target, collect.numbers(target, results))
    assert same == "Here: model llama-3-8b, criterion relative, region transformer."
    for (_, found), (_, row) in zip(table.iterrows(), read("table4").iterrows(), strict=True):
        start = read("table4").query("n_train == @row.n_train and restore == '0'").iloc[0]
        cells = [f"{value:.2f}" for value in row.iloc[2:]]
        if row["restore"] != "0":
            gains = (f"{a - b:+.2f}".replace("-", "−") for a, b in zip(row.iloc[2:], start.iloc[2:], strict=True))
            cells = [f"{cell} ({gain})" for cell, gain in zip(cells, gains, strict=True)]
        assert list(found) == [str(row["n_train"]), row["restore"].rstrip("%"), *cells]
