"""Which results of a study do not belong together: of an older version of their stage, or made with other packages."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sftlens.config.study import Study
from sftlens.dag.cells import Product
from sftlens.dag.paths import Paths
from sftlens.files import read_json
from sftlens.results.unfinished import made
from sftlens.runtime.provenance import SCHEMA_VERSION
from sftlens.runtime.result_version import RESULT_VERSION

PACKAGES = ("torch", "transformers", "deepspeed")
"""Those whose versions may change a result."""
NAMED = 3


def notes(study: Study, products: Iterable[Product]) -> list[str]:
    """Return a sentence on older results among those that exist, and one on versions of packages; none where all agree.

    Older results come about where the workflow was told not to make them again (`--touch`, `--rerun-triggers mtime`).
    """
    older: list[str] = []
    versions: dict[str, Counter[str]] = {package: Counter() for package in PACKAGES}
    paths = Paths(study)
    for product in products:
        if made(paths, product):
            summary = read_json(Path(paths.summary(product)), dict[str, Any])
            now, then = RESULT_VERSION[product.stage], summary.get("result_version")
            if summary.get("schema") != SCHEMA_VERSION or then != now:
                what = f"{product.stage} {then}, now {now}" if then else f"{product.stage} without a version"
                cell = product.cell.path if product.cell.train_set else product.cell.model
                older.append(f"{cell} ({what})")
            for package, version in summary.get("run", {}).get("packages", {}).items():
                if package in versions:
                    versions[package][version] += 1
    found = []
    if older:
        more = f" and {len(older) - NAMED} more" if len(older) > NAMED else ""
        found.append(
            f"{len(older)} result(s) were made by an older version and stand beside newer ones: "
            f"{', '.join(older[:NAMED])}{more}. Run the workflow to make them again."
        )
    mixed = {package: counts for package, counts in versions.items() if len(counts) > 1}
    if mixed:
        listed = (
            f"{package} {', '.join(f'{version} ({count} results)' for version, count in sorted(counts.items()))}"
            for package, counts in mixed.items()
        )
        found.append(f"Results were made with different versions of {'; '.join(listed)}.")
    return found
