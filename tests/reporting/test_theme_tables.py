"""The tables: right numbers, gaps that stay gaps, and the same bytes every time."""

import subprocess
import sys

import pandas as pd
import pytest

from fake_results import MODEL, NOTICE, fake_results
from sftlens.dag.targets import TARGETS
from sftlens.data.buckets import BUCKETS
from sftlens.errors import ConfigError
from sftlens.reporting import frames
from sftlens.results import collect
from sftlens.strategies import STRATEGIES, Strategy

NAMES = [target.name for target in TARGETS if not target.from_answers]
ENVIRONMENT = {"pandas", "numpy", "matplotlib", "jinja2", "torch", "transformers"}


def build(name: str, results: pd.DataFrame) -> pd.DataFrame:
    return collect.numbers(TARGETS.get(name), results)


def without(results: pd.DataFrame, **cell: object) -> pd.DataFrame:
    hit = pd.Series(True, results.index)
    for axis, value in cell.items():
        hit &= results[axis] == value
    return results[~hit]


def row(table: pd.DataFrame, **key: str) -> pd.Series:
    for axis, value in key.items():
        table = table[table[axis.replace("_", " ")] == value]
    assert len(table) == 1
    return table.iloc[0]


def test_the_list_of_targets_needs_no_more_than_the_workflow_has():
    code = "import sys; from sftlens.dag import targets; names = targets.TARGETS.names(); print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert not ENVIRONMENT & set(loaded)


@pytest.mark.parametrize("name", NAMES)
def test_no_results_give_an_empty_table(name):
    table = build(name, fake_results().iloc[:0])
    assert table.empty and "Model" in table
    assert frames.seeds_note(table) == ""


@pytest.mark.parametrize("name", NAMES)
def test_any_half_of_the_results_builds(name):
    results = fake_results()
    for part in range(5):
        build(name, results.sample(frac=0.5, random_state=part))


@pytest.mark.parametrize("name", NAMES)
def test_order_of_the_rows_does_not_matter(name, tmp_path):
    results = fake_results()
    frames.write_csv(build(name, results), tmp_path / "a.csv")
    shuffled = results.sample(frac=1, random_state=7).sort_values(
        ["criterion", "region"], key=lambda names: names.map(list(dict.fromkeys(results[names.name])).index)
    )
    frames.write_csv(build(name, shuffled), tmp_path / "b.csv")
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_table1_counts():
    train = row(build("table1", fake_results()), Split="Train")
    assert [train[b] for b in BUCKETS] == [700, 500, 378, 540, 384]
    assert train["Total"] == 2502


def test_table1_without_a_bucket_has_no_total():
    part = without(fake_results(), stage="mastery", split="test", bucket="D3")
    test = frames.as_text(build("table1", part)).set_index("Split").loc["ID test"]
    assert (test["D3"], test["Total"], test["D0"]) == ("-", "-", "310")


def test_table2_is_mean_and_sd_at_the_largest_scale():
    results = fake_results()
    cell = row(build("table2", results), Test_set="OOD test", Trained_on="D1")
    values = results.query(
        "stage == 'evaluate' and split == 'testood' and bucket == 'D3' and train_set == 'D1' and scale == '480'"
    )["value"]
    assert cell["n"] == "480" and cell["Seeds"] == 2
    assert cell["D3"] == pytest.approx(values.mean() * 100)
    assert cell["D3 SD"] == pytest.approx(values.std(ddof=1) * 100)


def test_table2_names_the_base_and_the_real_size_of_a_set():
    table = build("table2", fake_results())
    assert list(table["Trained on"][:3]) == [frames.BASE, frames.FEWSHOT, "D0"]
    assert row(table, Test_set="ID test", Trained_on="D2")["Examples"] == 378


def test_table2_keeps_a_row_for_a_set_that_did_not_finish():
    text = frames.as_text(build("table2", without(fake_results(), train_set="D3", scale="480")))
    cell = row(text, Test_set="ID test", Trained_on="D3")
    assert cell["Macro"] == cell["D0"] == cell["Macro SD"] == "-"


def test_table3_is_in_percent_by_ratio():
    table = build("table3", fake_results())
    cell = row(table, n="60", Trained_on="D0", Changes="as trained")
    assert cell["Top 1 %"] == pytest.approx(71.0)
    tops = [name for name in table if name.startswith("Top") and "SD" not in name]
    assert tops == [f"Top {k} %" for k in (1, 5, 20, 40, 60)]


def test_table3_shows_how_far_one_permutation_may_be_off():
    results = fake_results()
    spread = results[results["metric"] == "null_share_of_change"]
    table = build("table3", pd.concat([results, spread.assign(metric="null_sd_share_of_change", value=0.014, n=3)]))
    assert row(table, n="60", Trained_on="D0", Changes="permuted: SD of a draw")["Top 1 %"] == pytest.approx(1.4)
    rest = table[table["Changes"] != "permuted: SD of a draw"].reset_index(drop=True)
    pd.testing.assert_frame_equal(rest, build("table3", results))
    assert TARGETS.get("concentration").draw(table, "").axes


def test_table3_counts_elements_with_a_base_of_zero_where_there_are_any():
    """Of no model that we train; a dequantised one has them, and they may hold all of the sum of r."""
    results = fake_results()
    where = {"stage": "changes", "train_set": "D0", "scale": "60", "criterion": "relative", "region": "transformer"}
    template = results[(results["metric"] == "share_of_change") & (results["train_set"] == "D0")].iloc[:1]
    made = template.assign(**where, ratio=float("nan"), metric="zero_base_share_of_change")
    none = build("table3", pd.concat([results, made.assign(value=0.0, n=0)]))
    pd.testing.assert_frame_equal(none, build("table3", results))
    table = build("table3", pd.concat([results, made.assign(value=0.9995, n=120)]))
    cell = row(table, n="60", Trained_on="D0", Changes="as trained")
    assert (cell["Elements with base 0"], cell["Held by them"]) == (120, pytest.approx(99.95))
    assert frames.as_text(table).set_index("Changes").loc["permuted", "Elements with base 0"].eq("-").all()


def test_table4_gains_are_against_the_same_cells_unrestored():
    results = fake_results()
    table = build("table4", results)
    where = {"Test_set": "ID test", "Criterion": "relative", "Region": "transformer"}
    start = row(table, **where, **{"Restored_(%)": "0"})
    after = row(table, **where, **{"Restored_(%)": "20"})
    plain = results.query(
        "stage == 'evaluate' and metric == 'contains' and split == 'test' and bucket == 'macro' "
        "and scale == '480' and train_set == 'D0' and seed == 0"
    )["value"].item()
    assert start["D0"] == pytest.approx(plain * 100)  # seed 0 alone: seed 1 was not restored
    assert after["D0 gain"] == pytest.approx(after["D0"] - start["D0"]) and after["D0 gain"] > 5
    assert after["D3 gain"] < 0
    assert pd.isna(start["D0 gain"])


def test_places_are_summed_over_what_a_table_leaves_out():
    layers, modules = (build(name, fake_results()) for name in ("table9", "table10"))
    cell = row(layers, Trained_on="D0", Layer="1")
    assert cell["Parameters (%)"] == pytest.approx(50) and cell["Restored part (%)"] == pytest.approx(50)
    assert cell["Unchanged (%)"] == pytest.approx(30)  # half of one module, a tenth of the other, equally large
    cell = row(modules, Trained_on="D0", Module="q_proj")
    assert cell["Restored part (%)"] == pytest.approx(80) and cell["Sum of d^2 (%)"] == pytest.approx(60)


def test_table11_is_the_blocks_against_none():
    table = build("table11", fake_results())
    names = ["none", "layers 0-0", "layers 1-1"]
    assert [name for name in table if name in names] == names
    cell = row(table, Test_set="ID test", Trained_on="D2")
    assert cell["layers 0-0 gain"] == pytest.approx(cell["layers 0-0"] - cell["none"]) and cell["layers 0-0 gain"] < -5


def test_table6_is_the_training_set_after_restoring():
    results = fake_results()
    table = build("table6", results)
    start, after = (row(table, Criterion="relative", Region="transformer", **{"Restored_(%)": k}) for k in ("0", "20"))
    asked = results.query("split == 'train' and bucket == 'all' and train_set == 'D0' and scale == '480' and seed == 0")
    assert start["D0"] == pytest.approx(asked.query("stage == 'evaluate'")["value"].item() * 100)
    assert after["D0 gain"] == pytest.approx(after["D0"] - start["D0"]) and after["D0 gain"] > 5


def test_table5_is_the_score_of_a_task_for_models_trained_on_it():
    results = fake_results()
    cell = {"train_set": "xsum", "scale": "480", "seed": 0, "strategy": "full", "split": "xsum", "bucket": "all"}
    first = results.iloc[:1].assign(**cell)
    at = {"criterion": "relative", "region": "transformer", "ratio": 20.0, "stage": "restore"}
    rows = []
    for task, metric, plain, restored in (("xsum", "rouge2", 0.195, 0.186), ("gsm8k", "final_number", 0.58, 0.59)):
        own = first.assign(metric=metric, train_set=task, split=task)
        rows += [own.assign(stage="evaluate", value=plain), own.assign(value=restored, **at)]
    rows.append(first.assign(metric="rouge2", stage="evaluate", train_set="D0", value=0.9))  # not trained on it
    table = build("table5", pd.concat([results, *rows]))
    start, after = (row(table, **{"Restored_(%)": k}) for k in ("0", "20"))
    assert (start["XSum ROUGE-2"], after["XSum ROUGE-2"]) == (pytest.approx(19.5), pytest.approx(18.6))
    assert after["XSum ROUGE-2 gain"] == pytest.approx(-0.9) and after["GSM8K accuracy gain"] == pytest.approx(1.0)
    assert frames.as_text(table)["XSum ROUGE-1"].eq("-").all()


def test_figures_2_and_6_and_tables_1_and_8_share_the_models_out():
    both = pd.concat([fake_results().assign(model=name) for name in ("llama-3-8b", "Llama-2-7b-hf", "own")])
    for name in ("fig2", "table1"):
        assert list(dict.fromkeys(build(name, both)["Model"])) == ["llama-3-8b", "own"]
    for name in ("fig6", "table8"):
        assert list(dict.fromkeys(build(name, both)["Model"])) == ["Llama-2-7b-hf"]


def test_restorations_stand_beside_what_they_revert():
    table = build("restoration", fake_results())
    where = {"Test_set": "ID test", "Trained_on": "D1", "Criterion": "interpolation"}
    cell = row(table, **where, **{"Restored_(%)": "20"})
    assert cell["d^2 reverted (%)"] == pytest.approx(100 * 20 / 110)
    start = row(table, **where, **{"Restored_(%)": "0"})
    assert start["d^2 reverted (%)"] == 0 and start[frames.ACCURACY] < cell[frames.ACCURACY]


def test_table4_without_the_unrestored_evaluation_has_no_gain():
    part = without(fake_results(), stage="evaluate", train_set="D1", scale="480", seed=0)
    text = frames.as_text(build("table4", part))
    assert set(text["D1 gain"]) == {"-"}
    assert row(text, Test_set="ID test", Criterion="relative", **{"Restored_(%)": "5"})["D1"] != "-"


def test_other_strategies_do_not_enter_and_unknown_ones_are_refused(monkeypatch):
    results = fake_results()
    other = results[results["strategy"] == "full"].assign(strategy="prompt-tuning", value=0.0)
    both = pd.concat([results, other])
    with pytest.raises(ConfigError, match="no strategy 'prompt-tuning'"):
        build("fig2", both)
    STRATEGIES.names()
    monkeypatch.setitem(STRATEGIES._entries, "prompt-tuning", type("Prompts", (Strategy,), {"name": "prompt-tuning"}))
    for name in NAMES:
        pd.testing.assert_frame_equal(build(name, both), build(name, results))


@pytest.mark.parametrize("name", NAMES)
def test_rows_of_single_relations_do_not_enter(name):
    results = fake_results()
    single = [results.assign(relation=relation, value=results["value"] / 3) for relation in ("P17", "P19")]
    both = pd.concat([single[0], results, single[1]], ignore_index=True)
    pd.testing.assert_frame_equal(build(name, both), build(name, results))


def test_csv_is_plain_with_fixed_decimals(tmp_path):
    frames.write_csv(build("fig5", fake_results()), tmp_path / "fig5.csv")
    lines = (tmp_path / "fig5.csv").read_text().splitlines()
    assert lines[0] == "Model,Test set,Trained on,n,Examples,KL (nats),KL (nats) SD,Seeds"
    assert lines[1] == f"{MODEL},ID test,Base model (n = 0),0,-,1.5200,-,1"


def test_the_words_beside_a_file_hold_title_caption_and_notice():
    target = TARGETS.get("table2")
    words = frames.words(target, collect.numbers(target, fake_results()), NOTICE).split("\n\n")
    assert words == [target.title, f"{target.caption} Mean ± SD over 2 seeds.", f"{NOTICE}\n"]


def test_what_no_seed_changes_has_no_sd():
    tables = {name: build(name, fake_results()) for name in ("table9", "table4", "judgements")}
    assert "Parameters (%) SD" not in tables["table9"] and "Restored part (%) SD" in tables["table9"]
    assert not [name for name in tables["table4"] if name.endswith(" SD")]
    assert "Leak SD" not in tables["judgements"]


def test_models_and_criteria_are_in_the_order_of_the_configuration_and_modules_in_that_of_a_block():
    first, second = fake_results().assign(model="z"), fake_results().assign(model="a")
    table = build("table4", pd.concat([first, second]))
    assert list(dict.fromkeys(table["Model"])) == ["z", "a"]
    assert list(dict.fromkeys(table["Criterion"])) == ["relative", "interpolation"]
    other = fake_results().replace({"module": {"up_proj": "k_proj", "q_proj": "up_proj"}})
    assert list(dict.fromkeys(build("table10", other)["Module"])) == ["k_proj", "up_proj"]
    every = pd.concat([fake_results().replace({"module": {"up_proj": name}}) for name in frames.MODULES[::-1]])
    assert list(dict.fromkeys(build("table10", every)["Module"])) == list(frames.MODULES)


def test_tiny_negative_gain_is_not_minus_zero():
    assert frames.as_text(pd.DataFrame({"D0 gain": [-0.0004]}))["D0 gain"].item() == "0.00"
    rows = [("Change (points)", 0.123456), ("Accuracy (%)", 0.123456), ("Cosine", 0.123456), ("KL (nats)", 0.123456)]
    table = pd.DataFrame(rows, columns=["Quantity", "Estimate"])
    assert frames.as_text(table)["Estimate"].tolist() == ["0.12", "0.12", "0.1235", "0.1235"]


def test_scales_are_in_reading_order():
    assert frames.scales(["all", "1920", "60", "240", "60"]) == ["60", "240", "1920", "all"]


@pytest.mark.parametrize(
    ("seeds", "sentence"),
    [
        ([2, 2], "Mean ± SD over 2 seeds."),
        ([3, 5, 1], "Mean ± SD over 3 to 5 seeds. Points from a single seed have no spread."),
        ([1], "One seed each, so no spread is shown."),
    ],
)
def test_the_sentence_about_seeds(seeds, sentence):
    assert frames.seeds_note(pd.DataFrame({"Seeds": seeds, "D0 SD": 0.1})) == sentence


def test_a_table_without_sd_does_not_speak_of_it():
    assert frames.seeds_note(pd.DataFrame({"Seeds": [2, 1]})) == "Mean over up to 2 seeds."
