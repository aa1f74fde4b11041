"""Tables as they are printed: the paper's layout, Markdown and LaTeX."""

import pandas as pd
import pytest
from pylatexenc.latexwalker import LatexWalkerParseError

import latex_tables
from fake_results import NOTICE, fake_results
from sftlens.dag.targets import TARGETS, of_kind
from sftlens.reporting import layout
from sftlens.results import collect

TABLES = [name for name in of_kind("table") if not TARGETS.get(name).from_answers]


def seeds(number: int) -> pd.DataFrame:
    """The invented study with so many seeds, their values 2 points apart."""
    one = fake_results().query("seed == 0")
    return pd.concat([one, *(one.assign(seed=i, value=one["value"] + 0.02 * i) for i in range(1, number))])


def printed(name: str, results: pd.DataFrame) -> pd.DataFrame:
    target = TARGETS.get(name)
    return layout.laid_out(target, collect.numbers(target, results))[0]


def test_test_sets_stand_side_by_side_as_in_the_paper():
    table = printed("table2", fake_results())
    assert [column[0] for column in table][3:] == ["ID test"] * 6 + ["OOD test"] * 6
    assert [column[1] for column in table][3:9] == ["D0", "D1", "D2", "D3", "D4", "Macro"]
    table = printed("table4", fake_results().query("not region.str.startswith('layers')"))
    assert list(table[("Restored (%)", "")]) == ["0", "1", "5", "20", "40", "60"] * 2
    assert table[("ID test", "D0")].iloc[3] == "29.32 (+5.78)" and table[("OOD test", "D4")].iloc[3] == "49.20 (−1.00)"


def test_an_sd_is_printed_from_three_seeds_on():
    two, three = (printed("table2", seeds(number)).iloc[2][("ID test", "D4")] for number in (2, 3))
    assert "±" not in two and three.endswith(" ± 2.00")
    target = TARGETS.get("table2")
    words = [layout.markdown(target, collect.numbers(target, seeds(number))) for number in (2, 3)]
    assert "Mean over 2 seeds." in words[0] and "Mean ± SD over 3 seeds." in words[1]


def test_a_row_a_layer_and_what_is_the_same_everywhere_is_said_once():
    target = TARGETS.get("table9")
    table, same = layout.laid_out(target, collect.numbers(target, fake_results()))
    assert same == "Here: model invented, criterion relative, region transformer."
    assert list(table[("Layer", "")]) == ["0", "1"] and list(table)[2:4] == [("n = 480", "D0"), ("n = 480", "D1")]


def test_a_cell_without_a_number_is_a_dash():
    results = fake_results()
    part = results[~((results["train_set"] == "D3") & (results["split"] == "testood"))]
    row = printed("table2", part).set_index(("Trained on", "")).loc["D3"]
    assert row[("OOD test", "D0")] == "-" and row[("ID test", "D0")] != "-"


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("results", [fake_results(), fake_results().iloc[:0]], ids=["all", "none"])
def test_markdown_and_latex_hold_every_row_and_the_notice_once(name, results):
    target = TARGETS.get(name)
    numbers = collect.numbers(target, results)
    rows, _ = layout.laid_out(target, numbers)
    text = layout.markdown(target, numbers, NOTICE)
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == len(rows) + 2 and text.count(NOTICE) == 1
    assert len({line.replace(r"\|", "").count("|") for line in lines}) == 1
    code = layout.latex(target, numbers, NOTICE)
    assert all(rule in code for rule in (r"\toprule", r"\midrule", r"\bottomrule", rf"\label{{tab:{name}}}"))
    assert code.count(NOTICE) == 1 and code.count("{") == code.count("}")
    # Outside of commands and mathematics nothing is left that LaTeX would take for something else.
    assert not [
        line
        for line in code.splitlines()
        if "_" in line.replace(r"\_", "") and not line.startswith(("\\caption", "\\label"))
    ]


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("models", [1, 6], ids=["short", "over pages"])
def test_latex_reads_the_same_cells_in_every_row(name, models):
    target = TARGETS.get(name)
    named = (fake_results().assign(model=f"m_{i} & 5 % of #{i}") for i in range(models))
    numbers = collect.numbers(target, pd.concat(named))
    rows, _ = layout.laid_out(target, numbers)
    wanted = [[str(cell).replace("−", "-") for cell in row] for row in rows.to_numpy(dtype=object).tolist()]
    assert latex_tables.rows(layout.latex(target, numbers, NOTICE)) == wanted


def test_latex_that_is_not_read_as_written_is_noticed():
    target = TARGETS.get("table9")
    code = layout.latex(target, collect.numbers(target, fake_results()), NOTICE)
    before, _, after = code.rpartition(" & ")
    with pytest.raises(AssertionError, match="cells in a table"):
        latex_tables.rows(f"{before} & & {after}")
    with pytest.raises(LatexWalkerParseError):
        latex_tables.rows(code.replace("\\end{tabular}", ""))


def test_what_latex_takes_for_something_else_is_written_out():
    target = TARGETS.get("table9")
    code = layout.latex(
        target, collect.numbers(target, fake_results()).replace({"Layer": {"0": "a_b & 5 % of $x^2 <"}})
    )
    assert r"a\_b \& 5 \% of \$x$^2$ $<$" in code.replace(r"\textasciicircum 2", "$^2$")
