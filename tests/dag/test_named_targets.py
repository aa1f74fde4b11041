"""Figures and tables of a study as named targets: those its grid has, and what is said of the others."""

import pytest

from demo_study import ROOT, demo
from dry_runs import planned
from sftlens.config import loading
from sftlens.dag import targets
from sftlens.doubts import DOUBTS
from sftlens.errors import ConfigError


def test_figures_and_tables_follow_the_experiments():
    every = targets.TARGETS.names()
    of_others = {"table8", "fig6", "fig2_paper", "fig4_paper", "fig5_paper", "fig6_paper", "table5"}
    of_others |= {"tradeoff", "strategies", "table7", *DOUBTS.names()}
    without = {"table11", "during", *of_others}
    assert list(targets.wanted(demo())) == [name for name in every if name not in without]
    blocks = demo(experiments__blocks={"scales": [480]}, evaluation__during=[5])
    assert list(targets.wanted(blocks)) == [name for name in every if name not in of_others]
    assert list(targets.wanted(demo(experiments={"divergence": {"scales": [60]}}))) == [
        "table1",
        "losses",
        "trainings",
        "fig5",
        "claims_paper",
    ]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("fig9", "there is no file or target 'fig9'; did you mean 'fig5'? choose one of: claims, table1,"),
        ("table11", "study demo has nothing to draw table11 from; add experiments.blocks"),
        (
            "fig6",
            "study demo has nothing to draw fig6 from; it shows models of LLaMA-2, by their names (llama-2-7b);",
        ),
    ],
)
def test_a_target_that_there_is_not_is_refused_with_those_there_are(tmp_path, target, message):
    run = planned(tmp_path, ROOT / "config" / "config.yaml", "--nocolor", target)
    assert run.returncode != 0 and message in run.stderr and "Traceback" not in run.stderr


def test_the_papers_figures_and_tables_are_one_target_that_names_what_the_grid_lacks():
    names, lacking = targets.paper(demo())
    assert names == ["table1", "fig2", "fig4", "table2", "fig5", "table3", "table9", "table10", "table4", "table6"]
    assert lacking.startswith("not in the grid of study demo: table8 (it shows models of LLaMA-2")
    assert "table11 (add experiments.blocks)" in lacking and "\n" not in lacking
    with pytest.raises(ConfigError, match="not in the grid of study demo: table1"):
        targets.paper(demo(experiments={}))


def test_a_study_of_others_has_the_figure_of_the_appendix_and_one_of_both_has_two():
    both = targets.wanted(loading.load_file(ROOT / "config/paper.yaml"))
    for name, family in (("fig2", "llama-3"), ("table1", "llama-3"), ("fig6", "llama-2"), ("table8", "llama-2")):
        assert {product.cell.model[:7] for product in both[name]} == {family}
