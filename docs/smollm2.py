"""Fill docs/smollm2.md with what the study of config/smollm2.yaml found: pictures, tables, verdicts, machine, time.

  python docs/smollm2.py                                        after `make smollm2`, which calls it
  python docs/smollm2.py --study NAME --page PAGE.md            of another study below results/; pictures beside PAGE

Words stand in the page; only what lies between `<!-- made: WHAT -->` and `<!-- end -->` is written anew. WHAT is
`figure NAME` or `table NAME` (a target of the study), `conclusions`, `contrasts AGAINST`, `flips N`, `ladder`, `sets`,
`concentration` or `time`.
"""

import argparse
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

import pandas as pd

from sftlens import files
from sftlens.dag import recorded, targets
from sftlens.dag.paths import Paths
from sftlens.dag.recorded import RESULTS
from sftlens.dag.targets import TARGETS
from sftlens.errors import DataError, SftlensError
from sftlens.reporting import conclusions, frames, provenance
from sftlens.results import runs

HERE = Path(__file__).resolve().parent
BLOCK = re.compile(r"(<!-- made: (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)
LADDER = ["Strategy", "Setting", "Chosen on dev", "Dev", "ID test", "OOD test", "Training set", "Mastery probed again",
          "KL (nats)"]  # fmt: skip
SHARES = ["Sum of", "Trained on", "Changes", "Top 1 %", "Top 5 %", "Top 20 %", "Top 60 %", "Elements with base 0",
          "Held by them"]  # fmt: skip
FLIPS = ["Trained on", "Test set", "Facts", "Lost (%)", "Gained (%)", "Lost beyond guessing (%)",
         "Gained beyond guessing (%)", "Seed to seed (%)"]  # fmt: skip
CONTRAST = ["Trained on", "n", "Criterion", "Test set", "Difference (points)", "Low", "High", "By posterior"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", default="smollm2", help="its name below results/ (default: %(default)s)")
    parser.add_argument("--page", type=Path, default=HERE / "smollm2.md", help="default: docs/smollm2.md")
    args = parser.parse_args()
    root = Path(RESULTS) / args.study
    makers: dict[str, Callable[[str], str]] = {
        "figure": lambda name: _figure(root, name, args.page),
        "table": lambda name: _table(root, name),
        "conclusions": lambda _: _conclusions(root),
        "contrasts": lambda against: _contrasts(root, against),
        "flips": lambda scale: _flips(root, scale),
        "ladder": lambda _: _ladder(root),
        "sets": lambda _: _sets(root),
        "concentration": lambda _: _concentration(root),
        "time": lambda _: _time(root),
    }

    def made(block: re.Match[str]) -> str:
        what, _, name = block[2].partition(" ")
        if what not in makers:
            raise DataError(f"{args.page}: {block[2]!r} can not be made; use one of {', '.join(makers)}")
        return f"{block[1]}{makers[what](name).strip()}\n{block[3]}"

    text = BLOCK.sub(made, args.page.read_text(encoding="utf-8"))
    files.write_text(args.page, text)


def _figure(root: Path, name: str, page: Path) -> str:
    """Copy a picture beside the page; return it with its caption."""
    picture = page.with_name(f"{page.stem}-{name}.png")
    shutil.copyfile(_there(root / "figures" / f"{name}.png"), picture)
    caption = (root / "figures" / f"{name}.txt").read_text(encoding="utf-8").split("\n\n")[1].strip()
    return f"![{TARGETS.get(name).title}]({picture.name})\n\n*{caption}*"


def _table(root: Path, name: str) -> str:
    return _there(root / "tables" / f"{name}.md").read_text(encoding="utf-8")


def _conclusions(root: Path) -> str:
    """Return the sentences at the head of the report."""
    places = {name: root / f"{TARGETS.get(name).kind}s" / f"{name}.csv" for name in targets.wanted(recorded.made(root))}
    numbers = {name: frames.read_csv(path) for name, path in places.items() if path.is_file()}
    results = files.read_parquet(_there(root / "results.parquet"))
    return "\n".join(f"- {sentence.text}" for sentence in conclusions.conclusions(results, numbers))


def _contrasts(root: Path, against: str) -> str:
    """Return the differences of fully fine-tuned models, or of restored ones, to what `against` names."""
    table = frames.read_csv(_there(root / "tables/contrasts.csv"))
    return _rows(table.loc[(table["Against"] == against) & (table["Strategy"] == "full"), CONTRAST])


def _flips(root: Path, scale: str) -> str:
    """Return what full fine-tuning on `scale` facts lost and gained against the base, over all questions of a test."""
    table = frames.read_csv(_there(root / "tables/flips.csv"))
    table = table[(table["Against"] == frames.BASE) & (table["Strategy"] == "full") & (table["Of"] == "all")]
    return _rows(table.loc[(table["n"].astype(str) == scale) & (table[frames.RATIO].astype(str) == "0"), FLIPS])


def _ladder(root: Path) -> str:
    """Return every setting of every strategy: dev chooses, test is only shown."""
    return _rows(frames.read_csv(_there(root / "figures/tradeoff.csv"))[LADDER])


def _rows(table: pd.DataFrame) -> str:
    """Return a table in Markdown, numbers with two digits, without columns that are empty."""
    if table.empty:
        return "The study has none."
    table = table.replace("", float("nan")).dropna(axis="columns", how="all")
    rows = [list(table), ["---:" if table[name].dtype.kind == "f" else "---" for name in table]]
    for values in table.to_numpy():
        cells = ["-" if x != x else f"{x:.2f}" if isinstance(x, float) else str(x) for x in values]
        rows.append([cell.replace("|", "\\|") for cell in cells])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _time(root: Path) -> str:
    """Return machine and packages, and what the jobs took: by their summaries, drawing by Snakemake's measurements."""
    study = recorded.made(root)
    places = Paths(study)
    products = list(dict.fromkeys(product for asked in targets.wanted(study).values() for product in asked))
    taken: dict[str, list[tuple[float, float, float]]] = {}
    for product in products:
        run = files.read_json(_there(Path(places.summary(product))), dict[str, Any])["run"]
        if "cpu_seconds" in run:
            one = (run["wall_seconds"], run["cpu_seconds"], run["peak_memory_bytes"] / 1e9)
            taken.setdefault(product.stage, []).append(one)
    for path in [path for kind in ("figures", "tables") for path in sorted((root / "logs" / kind).glob("*.tsv"))]:
        job = pd.to_numeric(pd.read_csv(path, sep="\t").iloc[-1], errors="coerce").fillna(0.0)
        taken.setdefault("figures and tables", []).append((job["s"], job["cpu_time"], job["max_rss"] / 1024))
    lines = ["| stage | jobs | wall time (min) | CPU time (min) | peak memory (GB) |", "|---|---:|---:|---:|---:|"]
    whole = [job for jobs in taken.values() for job in jobs]
    for stage, jobs in [*taken.items(), ("all", whole)]:
        wall, cpu, memory = zip(*jobs, strict=True)
        lines.append(f"| {stage} | {len(jobs)} | {sum(wall) / 60:.1f} | {sum(cpu) / 60:.1f} | {max(memory):.1f} |")
    return "\n".join([provenance.made_with(runs.runs(study, products)), "", *lines])


def _sets(root: Path) -> str:
    """Return how many train facts of each bucket belong to each relation, and the answers that most of them share."""
    study = recorded.made(root)
    (name,) = study.models
    table = files.read_parquet(Path(Paths(study).mastery(name)), ["split", "relation", "object", "bucket"])
    table = table[table["split"] == "train"]
    counts = table.groupby(["bucket", "relation"]).size().unstack(fill_value=0)
    rows = counts[[relation for relation in study.facts.relations.id if relation in counts]].reset_index()
    common = table.groupby("bucket")["object"].agg(
        lambda names: ", ".join(f"{k} {100 * v:.0f} %" for k, v in names.value_counts(normalize=True).head(3).items())
    )
    return _rows(rows.assign(**{"Most frequent answers": common.to_numpy()}).astype(str))


def _concentration(root: Path) -> str:
    """Return the shares of Table 3 for two training sets: what was trained, and the same changes permuted."""
    table = frames.read_csv(_there(root / "tables/table3.csv"))
    table = table[table["Trained on"].isin(["D0", "D4"]) & table["Changes"].isin(["as trained", "permuted"])]
    counted = [f"{count:.0f}" if count == count else "-" for count in table["Elements with base 0"]]
    return _rows(table.assign(**{"Elements with base 0": counted})[SHARES])


def _there(path: Path) -> Path:
    if not path.is_file():
        raise DataError(f"{path}: not there; finish the study first, then fill the page again")
    return path


if __name__ == "__main__":
    try:
        main()
    except SftlensError as error:
        sys.exit(f"error: {error}")
