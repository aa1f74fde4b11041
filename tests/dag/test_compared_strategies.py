"""The comparison of strategies: equal numbers of settings, and what is measured to choose and to judge each."""

from collections import Counter

import pytest

from demo_study import ROOT, demo
from sftlens.config import loading
from sftlens.dag.cells import distinct, products, way
from sftlens.dag.contrasts import conditions, contrasts
from sftlens.dag.jobs import Jobs
from sftlens.errors import ConfigError
from sftlens.strategies import STRATEGIES

AXES = {"train_sets": ["D2"], "scales": [60], "seeds": [0], "strategies": ["full", "kl"], "learning_rates": [3e-5]}
POSTHOC = {"criteria": ["relative", "spectral"], "ratios": [20, 100]}


def test_the_shipped_comparison_has_every_strategy_at_equal_budget():
    asked = products(loading.load_file(ROOT / "config/strategies.yaml"))["strategies"]
    trained = {(p.cell.strategy, p.cell.seed) for p in asked if p.stage == "evaluate" and p.cell.trained}
    assert set(Counter(way(strategy)[0] for strategy, _ in trained).values()) == {3 * 3}  # settings, seeds
    assert {way(strategy)[0] for strategy, _ in trained} == set(STRATEGIES.names())
    assert set(Counter(p.criterion for p in asked if p.stage == "restore").values()) == {3 * 3}


def test_every_cell_is_measured_and_post_hoc_methods_start_from_full_fine_tuning():
    study = demo(experiments={"strategies": {**AXES, **POSTHOC}}, evaluation__dev_facts=50)
    asked = [(p.stage, p.cell.strategy) for p in products(study)["strategies"]]
    cells = ["full", "full@3e-05", "kl", "kl@3e-05"]
    assert Counter(asked) == {
        **{(stage, name): 1 for stage in ("evaluate", "divergence") for name in ["base", *cells]},
        **{("changes", name): 1 for name in cells},
        ("restore", "full"): 4,
    }
    against = {c.condition.strategy: c.reference.strategy for c in contrasts(conditions(distinct(study)))
               if c.against.startswith("full")}  # fmt: skip
    assert against == {"kl": "full", "kl@3e-05": "full@3e-05"}


def test_dev_facts_are_asked_where_a_setting_is_chosen_and_nowhere_else():
    study = demo(experiments={"strategies": {**AXES, **POSTHOC}}, evaluation__dev_facts=50)
    jobs = Jobs(study)
    cell = next(p.cell for p in jobs.products if p.stage == "evaluate" and p.cell.trained)
    options = jobs.evaluate_options(cell)
    assert options[options.index("--dev-facts") + 1] == "50"
    assert options[options.index("--dev") + 1] == jobs.paths.facts == jobs.evaluate_inputs(cell)["dev"]
    without = Jobs(demo()).evaluate_options(cell)
    assert "--dev" not in without and "--dev-facts" not in without
    with pytest.raises(ConfigError, match=r"experiments\.strategies: .* set evaluation\.dev_facts"):
        demo(experiments={"strategies": AXES})
