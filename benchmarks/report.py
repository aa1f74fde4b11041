"""What figures, tables and the report of a large study take, and how fast its page is in a browser.

  python benchmarks/report.py [--cells 10000] [--out FOLDER] [--page FILE]

Invented results of so many cells (models x train sets x scales x seeds x stages, as `collect` counts them) become every
figure, table and the page. Limits: 60 s and 2 GB for all of it; 20 MB for the page, its first paint within 2 s, a
filter of its largest table within 200 ms (headless Chromium).
"""

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

import numpy as np
import pandas as pd
from playwright.sync_api import sync_playwright

from browser import CHROMIUM
from fake_results import fake_results
from sftlens.dag.contrasts import ANSWERED
from sftlens.dag.targets import TARGETS
from sftlens.reporting import frames, layout, report, style
from sftlens.results import collect

PLACE = [*frames.CELL, "stage", "criterion", "region", "ratio"]
MODELS = 8
FILTER = """async ([column, value]) => {
  const box = document.querySelector('[data-name="cells"]');
  const select = box.previousElementSibling.querySelector(`select[data-column="${column}"]`);
  const start = performance.now();
  select.value = value;
  select.dispatchEvent(new Event("change"));
  await new Promise(requestAnimationFrame);
  return performance.now() - start;
}"""
SEARCH = """async (text) => {
  const field = document.querySelector('[data-name="cells"] input[type=search]');
  const start = performance.now();
  field.value = text;
  field.dispatchEvent(new Event("input"));
  await new Promise(requestAnimationFrame);
  return performance.now() - start;
}"""


def large(cells: int) -> pd.DataFrame:
    """Return invented results of about so many cells: MODELS models, and as many seeds as it takes."""
    one = fake_results()
    each = len(one[PLACE].drop_duplicates())
    copies = max(1, round(cells / each / MODELS))
    parts = [
        one.assign(model=f"model-{model}", seed=one["seed"] + 2 * copy)
        for model in range(MODELS)
        for copy in range(copies)
    ]
    return pd.concat(parts, ignore_index=True)


def runs_of(results: pd.DataFrame) -> pd.DataFrame:
    """Return a job for each cell."""
    found = results[PLACE].drop_duplicates(ignore_index=True)
    files = ["/".join(map(str, row)) for row in found.itertuples(index=False)]
    return found.assign(
        file=files, version=1, inputs="model 0123456789ab, facts 0123456789ab, templates 0123456789ab",
        packages="torch 2", finished="2026-01-01 00:00:00", seconds=60.0, gigabytes=40.0, gpus=1, machine="1 x H100",
    )  # fmt: skip


def from_answers(results: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return frames in the form of the targets that are made from answers: one row a condition and split, or two."""
    rows = results[results["stage"].isin(ANSWERED) & (results["bucket"] == "macro") & (results["metric"] == "contains")]
    rows = frames.named(rows.drop_duplicates(["model", "train_set", "scale", "criterion", "region", "ratio", "split"]))
    table = rows[["Model", "Trained on", "n", "Criterion", "Region", "Test set"]].copy()
    table[frames.RATIO] = [f"{ratio:g}" for ratio in rows["ratio"].fillna(0)]
    for name in (frames.ACCURACY, "Low", "High", "SE", "df", "Low by relation", "High by relation"):
        table[name] = np.random.default_rng(0).normal(50, 10, len(table))
    differences = table.rename(columns={frames.ACCURACY: "Difference (points)"}).assign(
        Against="D0", Scope="over seeds"
    )
    return {"intervals": table, "contrasts": pd.concat([differences, differences.assign(Against="k = 0")])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=10_000)
    parser.add_argument("--out", type=Path, help="a folder that keeps what is made")
    parser.add_argument("--page", type=Path, help="measure this page in a browser, and nothing else")
    args = parser.parse_args()
    if args.page:
        browse(args.page)
        return
    with tempfile.TemporaryDirectory() as scratch:
        measure(args.out or Path(scratch), args.cells)


def measure(folder: Path, cells: int) -> None:
    results = large(cells)
    runs = runs_of(results)
    start, cpu = time.perf_counter(), time.process_time()
    numbers, slow = from_answers(results), []
    for target in TARGETS:
        before = time.process_time()
        if not target.from_answers:
            numbers[target.name] = collect.numbers(target, results)
        elif target.name not in numbers:
            continue
        stem = folder / f"{target.kind}s" / target.name
        if target.draw:
            style.save(style.drawn(target, numbers[target.name]), stem, target.title)
        else:
            layout.markdown(target, numbers[target.name], "")
            layout.latex(target, numbers[target.name], "")
        frames.write_csv(numbers[target.name], stem.with_suffix(".csv"))
        slow.append((time.process_time() - before, target.name))
    figures = {target.name: folder / f"figures/{target.name}.svg" for target in TARGETS if target.draw}
    before = time.process_time()
    report.write(folder / "report.html", study="large", results=results, numbers=numbers, figures=figures, notice="",
                 missing=[], settings={}, runs=runs)  # fmt: skip
    page = time.process_time() - before
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{len(runs):,} cells, {len(results):,} numbers")
    spent, clock = time.process_time() - cpu, time.perf_counter() - start
    print(f"figures, tables, report: {spent:.1f} s of CPU time, {clock:.1f} s by the clock (limit 60), "
          f"{memory:.2f} GB (limit 2); the page alone {page:.1f} s of CPU time")  # fmt: skip
    print("the slowest: " + ", ".join(f"{name} {seconds:.1f} s" for seconds, name in sorted(slow)[:-6:-1]))
    print(f"report.html: {(folder / 'report.html').stat().st_size / 1e6:.1f} MB (limit 20)")
    if not CHROMIUM:
        print("no Chromium: what the page takes in a browser was not measured")
        return
    browse(folder / "report.html")


def browse(path: Path) -> None:
    """Measure a page in headless Chromium: by the clock, and in CPU time of the thread that shows it."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        session = page.context.new_cdp_session(page)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})

        def spent() -> float:
            metrics = {entry["name"]: entry["value"] for entry in session.send("Performance.getMetrics")["metrics"]}
            return 1000 * metrics["TaskDuration"]

        page.goto(path.resolve().as_uri(), wait_until="commit")
        page.wait_for_function("performance.getEntriesByName('first-contentful-paint').length", timeout=120_000)
        paint, paint_cpu = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"), spent()
        page.locator("#cells .wide").scroll_into_view_if_needed(timeout=120_000)
        page.locator("#cells table.dataTable").wait_for(timeout=120_000)
        print(f"first paint {paint:.0f} ms (limit 2000), at most {paint_cpu:.0f} ms of CPU time")
        # The first filter prepares the table; it is not counted among the five.
        for how, script, given in (
            ("a column", FILTER, [["Trained on", value] for value in ("D3", "D1", "D2", "D4", "D0", "")]),
            ("a word", SEARCH, ["D3", "divergence", "model-3", "restore", "D1", ""]),
        ):
            clock, cpu = [], []
            for value in given:
                before = spent()
                clock.append(page.evaluate(script, value))
                cpu.append(spent() - before)
            print(f"a filter of every cell by {how}: {max(clock[1:]):.0f} ms (limit 200), "
                  f"{max(cpu[1:]):.0f} ms of CPU time, the slowest of five")  # fmt: skip
        browser.close()


if __name__ == "__main__":
    main()
