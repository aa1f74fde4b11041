"""The page on results.parquet, docs/results.md: what every column and metric means, from dictionary.yaml."""

from pathlib import Path

from sftlens import yaml_file
from sftlens.errors import DataError
from sftlens.results.collect import COLUMNS

INTRODUCTION = """# The columns and metrics of results.parquet

<!-- made by sftlens config-docs from src/sftlens/results/dictionary.yaml; do not edit -->

`results/<study>/results.parquet` is the one tidy table of a study: one row a number, in the order of the grid. Every
figure and table is a function of it (`intervals` and `contrasts` besides of the answers, `answers.parquet` in a cell's
folder). Wall time, memory and hosts are not in it: they stand in the block `run` of each `summary.json`.

```python
import pandas as pd

results = pd.read_parquet("results/demo/results.parquet")
accuracy = results.query("stage == 'evaluate' and metric == 'contains' and bucket == 'macro' and relation == ''")
accuracy.pivot_table("value", ["train_set", "scale"], "split")
```

## Columns

An axis that does not apply is empty (text), 0 (`seed`) or missing (`ratio`).
"""
_KNOWN = yaml_file.read_mapping(Path(__file__).with_suffix(".yaml"), DataError)
AXES: dict[str, str] = _KNOWN["columns"]
METRICS: dict[str, dict[str, tuple[str, str, str]]] = _KNOWN["metrics"]
"""Stage -> metric -> its unit, what n counts, and what it is."""


def document() -> str:
    """Return docs/results.md. Raises KeyError for a column that nothing is said of."""
    lines = [INTRODUCTION, "| column | type | meaning |", "|---|---|---|"]
    lines += [f"| `{name}` | {dtype} | {AXES[name]} |" for name, dtype in COLUMNS.items()]
    for stage, metrics in METRICS.items():
        lines += [f"\n## `{stage}`\n", "| metric | unit | n | meaning |", "|---|---|---|---|"]
        for name, (unit, count, text) in metrics.items():
            escaped = text.replace("|", "\\|")
            lines.append(f"| `{name}` | {unit or '-'} | {count} | {escaped} |")
    return "\n".join(lines) + "\n"
