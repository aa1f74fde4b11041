"""The paper's figures and tables as named targets, and the products that each is drawn from."""

from sftlens.config.study import Study
from sftlens.dag.cells import Product, distinct, products
from sftlens.dag.contrasts import ANSWERED

FIGURES = ("fig2", "fig4", "fig5", "exposure", "restoration", "concentration", "heatmap")
TABLES = (
    "table1", "table2", "table3", "table4", "reliability", "judgements", "table9", "table10", "table11"
)  # fmt: skip
INTERVALS = ("intervals", "contrasts")
"""Tables that are made from the answers to the questions, not from the summaries."""
EXPERIMENTS = {
    "exposure": "mastery", "reliability": "mastery",
    "fig2": "scaling", "fig4": "scaling", "fig5": "divergence",
    "table2": "scaling", "table3": "concentration", "table4": "restoration",
    "judgements": "scaling",
    "restoration": "restoration", "concentration": "concentration", "heatmap": "concentration",
    "table9": "concentration", "table10": "concentration", "table11": "blocks",
}  # fmt: skip


def wanted(study: Study) -> dict[str, list[Product]]:
    """Return the products behind each figure and table that the study has experiments for."""
    found = {"table1": [product for product in distinct(study) if product.stage == "mastery"]}
    for name, experiment in EXPERIMENTS.items():
        asked = list(dict.fromkeys(products(study).get(experiment, [])))
        if name == "exposure":  # known only where the text that the model learnt from was written here
            asked = [product for product in asked if study.models[product.cell.model].source == "pretrain"]
        if asked:
            # How many examples a cell really had stands in the summary of its training.
            cells = dict.fromkeys(product.cell for product in asked if product.cell.trained)
            found[name] = [*(Product("finetune", cell) for cell in cells), *asked]
    answered = [product for product in distinct(study) if product.stage in ("mastery", *ANSWERED)]
    if any(product.stage in ANSWERED for product in answered):
        found |= dict.fromkeys(INTERVALS, answered)
    return {name: found[name] for name in (*FIGURES, *TABLES, *INTERVALS) if found.get(name)}
