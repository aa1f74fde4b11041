"""Results as a Hugging Face dataset: a folder of Parquet files and a card, ready for `load_dataset` and the Hub."""

from pathlib import Path

import pandas as pd
import yaml

from sftlens import files
from sftlens.config.study import Study
from sftlens.dag.cells import Product
from sftlens.dag.paths import Paths
from sftlens.results.answers import ANSWERS
from sftlens.results.collect import COLUMNS
from sftlens.results.dictionary import AXES

SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def write(folder: Path, study: Study, results: pd.DataFrame, products: list[Product]) -> int:
    """Write `results/results.parquet`, `answers/*.parquet` and README.md; return how many rows the results have.

    `results` is the tidy table; `products` are those that have answers: a file each, with the axes of the product
    beside every answer, so that a reader needs no folder names.
    """
    paths = Paths(study)
    files.write_parquet(folder / "results/results.parquet", results)
    for product in products:
        answers = files.read_parquet(Path(paths.summary(product)).with_name(ANSWERS))
        axes = product.axes | {"ratio": float("nan") if product.ratio is None else product.ratio}
        for place, (name, value) in enumerate(axes.items()):
            answers.insert(place, name, value)
        name = product.path.removesuffix("/summary.json").replace("/", "__")
        files.write_parquet(folder / "answers" / f"{name}.parquet", answers)
    files.write_text(folder / "README.md", _card(study, results, bool(products)))
    return len(results)


def _card(study: Study, results: pd.DataFrame, answered: bool) -> str:
    configs = [{"config_name": "results", "data_files": "results/*.parquet", "default": True}]
    if answered:
        configs.append({"config_name": "answers", "data_files": "answers/*.parquet"})
    front = {
        "pretty_name": f"sftlens study {study.study}",
        "language": ["en"],
        "license": "unknown",
        "tags": ["sftlens", "supervised-fine-tuning", "model-knowledge"],
        "size_categories": [next((name for most, name in SIZES if len(results) < most), "1M<n<10M")],
        "configs": configs,
    }
    lines = ["---", yaml.safe_dump(front, sort_keys=False, allow_unicode=True).rstrip(), "---", ""]
    lines += [f"# Study {study.study}", "", *([study.notice, ""] if study.notice else [])]
    lines += [
        f"What supervised fine-tuning did to what {', '.join(study.models)} know, measured by sftlens: one row a "
        "number (`results`), and one row an answer of a model to a question (`answers`). Choose a licence before you "
        "publish it: that of the questions, and of the models.",
        "", "## Columns of `results`", "", "| column | type | meaning |", "|---|---|---|",
        *(f"| `{name}` | {dtype} | {AXES[name]} |" for name, dtype in COLUMNS.items()), "",
        "What each metric means, its unit, and what `n` counts: docs/results.md of sftlens.", "",
    ]  # fmt: skip
    return "\n".join(lines)
