"""The page on results.parquet, docs/results.md: what every column and metric means, from dictionary.yaml."""

from pathlib import Path

from sftlens import yaml_file
from sftlens.errors import DataError
from sftlens.results.collect import COLUMNS

_KNOWN = yaml_file.read_mapping(Path(__file__).with_suffix(".yaml"), DataError)
AXES: dict[str, str] = _KNOWN["columns"]
METRICS: dict[str, dict[str, tuple[str, str, str]]] = _KNOWN["metrics"]
"""Stage -> metric -> its unit, what n counts, and what it is."""


def document() -> str:
    """Return docs/results.md. Raises KeyError for a column that nothing is said of."""
    lines = [_KNOWN["introduction"], "| column | type | meaning |", "|---|---|---|"]
    lines += [f"| `{name}` | {dtype} | {AXES[name]} |" for name, dtype in COLUMNS.items()]
    for stage, metrics in METRICS.items():
        lines += [f"\n## `{stage}`\n", "| metric | unit | n | meaning |", "|---|---|---|---|"]
        for name, (unit, count, text) in metrics.items():
            escaped = text.replace("|", "\\|")
            lines.append(f"| `{name}` | {unit or '-'} | {count} | {escaped} |")
    return "\n".join(lines) + "\n"
