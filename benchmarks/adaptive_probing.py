"""Adaptive probing against the fixed protocol: agreement, kappa, sizes of buckets, training sets, and CPU time.

  make demo; python benchmarks/adaptive_probing.py
  python benchmarks/adaptive_probing.py --model DIR --facts facts.parquet --templates config/relations.yaml

The fixed protocol probes the facts several times, with other seeds; the adaptive method once, on the first facts. Its
buckets are compared with those of each fixed probe, and those with one another. Agreement in one bucket is twice the
facts that both put there over the sum of those that either does (specific agreement: Spitzer & Fleiss, Brit. J.
Psychiatry 125, 1974). `generate(num_return_sequences=10)` is timed on some facts; `--generate 0` leaves it out.
"""

import argparse
import tempfile
import time
from pathlib import Path

import _common
import numpy as np
import pandas as pd
from _common import Setup
from probing import by_generate

from sftlens.config.stages.mastery import ProbingSettings
from sftlens.data import relations, training_sets
from sftlens.data.buckets import BUCKETS
from sftlens.mastery import mastery_table, probing
from sftlens.mastery.completions import Probe
from sftlens.mastery.quality import retest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", type=Path, default=Path("config/config.yaml"), help="configuration of a study")
    parser.add_argument("--model", type=Path, help="with --facts and --templates: instead of a study")
    parser.add_argument("--facts", type=Path, help="facts table of scripts/facts.py")
    parser.add_argument("--templates", type=Path, help="completion templates (YAML)")
    parser.add_argument("--max-templates", type=int, help="the first so many templates of each relation")
    parser.add_argument("--max-new-tokens", type=int, default=12, help="longest completion, tokens")
    parser.add_argument("--probes", type=int, default=3, help="fixed probes, each with another seed")
    parser.add_argument("--most", type=int, default=10**9, help="facts that are probed")
    parser.add_argument("--calibration-facts", type=int, default=200, help="those of them that calibrate")
    parser.add_argument("--margin", type=float, default=2.0, help="how much surer than two full probes agree")
    parser.add_argument("--generate", type=int, default=12, help="facts that `generate` is timed on")
    args = parser.parse_args()
    settings = ProbingSettings(max_new_tokens=args.max_new_tokens, max_templates=args.max_templates)
    if args.model:
        setup = _common.of_files(str(args.model), args.model, args.facts, args.templates, settings)
    else:
        setup = _common.of_study(args.study)
    compare(setup, args.probes, args.most, args.calibration_facts, args.generate, args.margin)


def compare(setup: Setup, probes: int, most: int, calibrating: int, generated: int, margin: float) -> None:
    """Probe the facts by both methods, and print how well their buckets agree and what they cost."""
    facts, settings = setup.facts.head(most).reset_index(drop=True), setup.settings
    sentences = relations.first_templates(setup.sentences, settings.max_templates)
    fixed, seconds = [], []
    for seed in range(probes):
        start = time.process_time()
        asked = Probe(setup.model, setup.tokenizer, sentences, settings.model_copy(update={"seed": seed}))
        fixed.append(mastery_table.probe(asked, facts))
        seconds.append(time.process_time() - start)
    chosen = {"method": "adaptive", "calibration_facts": calibrating, "seed": probes, "margin": margin}
    with tempfile.TemporaryDirectory() as state:
        prober = probing.Prober(
            lambda: (setup.model, setup.tokenizer), {"model": "m"}, sentences, settings.model_copy(update=chosen),
            Path(state),
        )  # fmt: skip
        start = time.process_time()
        found = probing.probe(facts, prober)
        adaptive = time.process_time() - start
    print(
        f"adaptive probing, {setup.name}: {len(facts)} facts, {calibrating} of them probed in full, "
        f"{settings.samples} samples of {settings.max_new_tokens} tokens a template; {_common.machine()}"
    )
    tables = [table["bucket"].map(BUCKETS.index).to_numpy() for table in fixed]
    ours = found.table["bucket"].map(BUCKETS.index).to_numpy()
    learned = found.table["trials"].to_numpy() == fixed[0]["trials"].to_numpy()
    say("two fixed probes", [(a, b) for i, a in enumerate(tables) for b in tables[i + 1 :]])
    say("adaptive, fixed", [(ours, other) for other in tables])
    share = found.table["trials"].sum() / fixed[0]["trials"].sum()
    print(f"  samples drawn: {share:.3f} of the fixed protocol's; facts probed in full: {learned.mean():.3f}")
    sizes(found, tables)
    training(fixed, found.table)
    whole = sum(seconds) / probes
    print(f"  CPU time, adaptive / fixed: {adaptive / whole:.2f} ({adaptive:.0f} s, {whole:.0f} s)")
    if generated:
        few = Setup(setup.name, setup.model, setup.tokenizer, facts, sentences, settings)
        part = facts.sample(min(generated, len(facts)), random_state=0).reset_index(drop=True)
        start = time.process_time()
        by_generate(few, part, 16)
        each = (time.process_time() - start) / len(part)
        print(
            f"  CPU time a fact, of generate's {each:.2f} s on {len(part)} facts: fixed "
            f"{whole / len(facts) / each:.2f}, adaptive {adaptive / len(facts) / each:.2f}"
        )


def say(name: str, pairs: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """Print the agreement of pairs of probes, added up."""
    counts = np.zeros((len(BUCKETS), len(BUCKETS)))
    for pair in pairs:
        np.add.at(counts, pair, 1)
    found = retest.agreement(counts)
    with np.errstate(invalid="ignore"):
        each = 2 * np.diag(counts) / (counts.sum(0) + counts.sum(1))
    buckets = ", ".join(f"{bucket} {value:.3f}" for bucket, value in zip(BUCKETS, each, strict=True))
    print(f"  {name}: same bucket {found['retest_agreement']:.4f}, kappa {found['kappa']:.4f}; {buckets}")


def sizes(found: probing.Probed, tables: list[np.ndarray]) -> None:
    """Print the sizes of the buckets: of fixed probes, as assigned, and estimated without bias."""
    assert found.adaptive
    rows = [row for row in found.adaptive["metrics"] if row["metric"] == "facts_in_full"]
    for number, bucket in enumerate(BUCKETS):
        estimates = [row for row in rows if row["bucket"] == bucket]
        half = sum((row["high"] - row["low"]) ** 2 for row in estimates) ** 0.5 / 2
        mean, own = np.mean([(table == number).sum() for table in tables]), (found.table["bucket"] == bucket).sum()
        unbiased = sum(row["value"] for row in estimates)
        print(f"  {bucket}: fixed {mean:.1f}, adaptive {own}, unbiased {unbiased:.0f} +- {half:.0f}")


def training(fixed: list[pd.DataFrame], adaptive: pd.DataFrame, scale: int = 60) -> None:
    """Print how many facts the training sets of one seed share: of two fixed probes, of an adaptive and a fixed one."""

    def drawn(table: pd.DataFrame, bucket: str) -> set[str]:
        train = table[table["split"] == "train"]
        order = training_sets.order(train, bucket, 0, "m")
        return set(order["fact_id"].head(scale))

    for bucket in BUCKETS:
        if min((t["bucket"].eq(bucket) & t["split"].eq("train")).sum() for t in [*fixed, adaptive]) < scale:
            continue
        sets, own = [drawn(table, bucket) for table in fixed], drawn(adaptive, bucket)
        twice = np.mean([len(a & b) for i, a in enumerate(sets) for b in sets[i + 1 :]]) / scale
        print(f"  {bucket} at n = {scale}: two fixed probes share {twice:.2f}, adaptive and fixed "
              f"{np.mean([len(own & other) for other in sets]) / scale:.2f}")  # fmt: skip


if __name__ == "__main__":
    _common.run(main)
