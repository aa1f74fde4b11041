"""Peak memory of probing and of answering: bounded by the token budget, whatever the number of facts.

  make demo; python benchmarks/probing_memory.py
  python benchmarks/probing_memory.py --model DIR --facts facts.parquet --templates T.yaml [--count 512]

A process of its own for each case; memory is what its peak rises by after the model has been loaded and used once. Ten
times the facts at one budget should take about the same, ten times the budget more. Probing is that of the stage, in
shards, all facts of one relation: one full shard, and ten. What does grow with the facts, the table of results and the
prompts that are answered, is printed per fact.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

BUDGET = 8192


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="with --facts and --templates: instead of the demo's")
    parser.add_argument("--facts", type=Path, help="facts table of scripts/facts.py")
    parser.add_argument("--templates", type=Path, help="completion templates (YAML)")
    parser.add_argument("--count", type=int, default=512, help="facts, once; and ten times as many")
    parser.add_argument("--case", nargs=3, metavar=("WHAT", "FACTS", "BUDGET"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.case:
        what, count, budget = args.case
        print(rise(args, what, int(count), int(budget)))
        return
    for what in ("probing", "greedy"):
        show(what, args.count)


def show(what: str, count: int) -> None:
    """Measure the three cases of one task, and print the ratios first."""
    cases = {"1x": (count, BUDGET), "10x facts": (10 * count, BUDGET), "10x budget": (10 * count, 10 * BUDGET)}
    bytes_of = {name: measured(what, *case) for name, case in cases.items()}
    one = max(1, bytes_of["1x"])
    print(
        f"{what}: 10x the facts take {bytes_of['10x facts'] / one:.2f} times the memory, "
        f"10x the budget as well {bytes_of['10x budget'] / one:.2f} times"
    )
    growth = (bytes_of["10x facts"] - bytes_of["1x"]) / (9 * count)
    print(f"  each further fact at the same budget: {growth / 1e3:.1f} kB")
    for name, (facts, budget) in cases.items():
        print(f"  {name}: {facts} facts, {budget} tokens: {bytes_of[name] / 1e6:.1f} MB above the loaded model")


def measured(what: str, count: int, budget: int) -> int:
    """Return what a fresh process needs for one case, bytes.

    This process has imported nothing large: the peak of a child begins with that of its parent.
    """
    command = [sys.executable, __file__, *sys.argv[1:], "--case", what, str(count), str(budget)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(done.returncode)
    return int(done.stdout)


def rise(args: argparse.Namespace, what: str, count: int, budget: int) -> int:
    """Do the work of one case in this process; return what the peak rose by, bytes."""
    import _common
    import pandas as pd

    from sftlens.config.stages.evaluation import EvaluationSettings
    from sftlens.config.stages.mastery import ProbingSettings
    from sftlens.errors import SftlensError
    from sftlens.evaluation import answering
    from sftlens.mastery import probing
    from sftlens.runtime import provenance

    try:
        settings = ProbingSettings(max_new_tokens=12)
        own = (str(args.model), args.model, args.facts, args.templates, settings)
        setup = _common.of_files(*own) if args.model else _common.of_study(Path("config/config.yaml"))
    except SftlensError as error:
        sys.exit(f"error: {error}")

    def work(facts: pd.DataFrame, tokens: int) -> None:
        if what == "probing":
            limited = setup.settings.model_copy(update={"batch_tokens": tokens})
            with tempfile.TemporaryDirectory() as state:
                loaded = (setup.model, setup.tokenizer)
                prober = probing.Prober(lambda: loaded, {"model": ""}, setup.sentences, limited, Path(state))
                probing.probe(facts, prober)
        else:
            answering.answer(setup.model, setup.tokenizer, facts, EvaluationSettings(batch_tokens=tokens))

    one = setup.facts[setup.facts["relation"] == setup.facts["relation"].mode()[0]].assign(split="test")
    repeated = pd.concat([one] * -(-count // len(one)), ignore_index=True).head(count)
    repeated["fact_id"] = [f"{fact}/{i}" for i, fact in enumerate(repeated["fact_id"])]
    work(repeated.head(4), budget)
    before = provenance.peak_memory()
    work(repeated, budget)
    return provenance.peak_memory() - before


if __name__ == "__main__":
    main()
