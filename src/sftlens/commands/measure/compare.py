"""Compare the answers of models question by question: differences with intervals, flips, a verdict.

    sftlens compare A B [C ...] [--json FILE] [--csv FILE]
    sftlens compare checked/

A, B, ... are tables of answers (answers.parquet of evaluate or of a study's cell, answers.csv of check or repair, or a
table of your own with fact_id or question, and right), folders that hold one, or a report.json beside one.
Each is compared with the first on the questions that both answered. A file of several models stands for all of them
where it is given alone, else for its last; FILE:MODEL is one of them (`checked/answers.csv:base`).

The interval of a difference is 95 %, paired by question, and of one comparison alone; it speaks of these models, not of
other trainings. The verdict is `lost` where it lies below minus --tolerance points, `kept` where it lies above, else
`too little evidence`, with about how many questions would be enough.
"""

from pathlib import Path
from typing import Any

import pandas as pd

from sftlens import files, gate
from sftlens.commands import headline, options, written
from sftlens.diagnosis import compared, effects
from sftlens.diagnosis.compared import Comparison
from sftlens.errors import ConfigError
from sftlens.gate import printable
from sftlens.runtime import provenance

WIDTH = 100


def main() -> None:
    parser = options.Parser(description=__doc__)
    parser.add_argument("answers", nargs="+", help="tables of answers, or folders that hold one")
    text = "column that judges (default: right, else first_line, else contains: the paper's)"
    parser.add_argument("--score", metavar="COLUMN", help=text)
    text = "how much less the second model may be right and still counts as kept"
    parser.add_argument("--tolerance", type=float, default=2, metavar="POINTS", help=text)
    parser.add_argument("--examples", type=int, default=5, metavar="N", help="flips of each kind that are printed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything, with all flips")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="also write the differences")
    args = parser.parse_args()
    if not 0 <= args.tolerance < 100:
        raise ConfigError(f"--tolerance {args.tolerance:g}: give points, from 0 to below 100")
    outputs = {name: path for name, path in (("comparison.json", args.json), ("differences.csv", args.csv)) if path}
    written.check(args, outputs)
    first, *others = compared.read(args.answers, args.score)
    made, rows = [], []
    for other in others:
        comparison = compared.compare(first, other)
        found = _described(comparison, args.tolerance / 100)
        print(printable("\n".join(_lines(comparison, found, args.examples))))
        made.append(found)
        names = {"first_model": found["first"], "second_model": found["second"]}
        rows += [{**names, **group} for group in found["groups"]]
    if args.csv:
        files.write_text(args.csv, gate.csv_text(pd.DataFrame(rows), "%.6g"))
    if args.json:
        settings = {name: getattr(args, name) for name in ("answers", "score", "tolerance")}
        whole = {"stage": "compare", "settings": settings, "comparisons": made, "run": provenance.circumstances()}
        files.write_json(args.json, whole)
    if outputs:
        headline.say("compare", outputs.values())


def _described(comparison: Comparison, tolerance: float) -> dict[str, Any]:
    """Return all that is to be said of a comparison as a JSON value."""
    groups = []
    for name in comparison.groups:
        effect = comparison.effect(name)
        verdict = effects.judge(effect, tolerance)
        low, high = (None if bound != bound else bound for bound in (effect.low, effect.high))
        numbers = {"first": effect.before, "second": effect.after, "difference": effect.value, "low": low, "high": high}
        kinds = (("right_to_wrong", False), ("wrong_to_right", True))
        flips = {kind: len(comparison.flips(gained, name)) for kind, gained in kinds}
        said = {"verdict": verdict.outcome, "enough": verdict.enough}
        groups.append({"group": name, "questions": effect.n, **numbers, **flips, **said})
    effect, verdict = comparison.effect(), effects.judge(comparison.effect(), tolerance)
    points = f"{100 * tolerance:g} points"
    less = f"it is right less often, but perhaps by no more than {points}" if effect.high < 0 else ""
    more = f"about {verdict.enough:,} questions would be enough" if verdict.enough else verdict.reason
    why = {
        effects.LOST: f"it is right less often, by more than {points}",
        effects.KEPT: "it is right more often" if effect.low > 0 else f"no loss of more than {points}",
        effects.UNDECIDED: "; ".join(filter(None, [less, more])),
    }
    return {
        "first": comparison.first.name,
        "second": comparison.second.name,
        "verdict": verdict.outcome,
        "sentence": f"verdict on {comparison.second.name}: {verdict.outcome} ({why[verdict.outcome]})",
        "groups": groups,
        "right_to_wrong": comparison.flips(False).to_dict("records"),
        "wrong_to_right": comparison.flips(True).to_dict("records"),
    }


def _lines(comparison: Comparison, found: dict[str, Any], examples: int) -> list[str]:
    """Return what is printed of one comparison."""
    rows = [("", "questions", "first %", "second %", "second - first (points)", "right->wrong", "wrong->right")]
    for group in found["groups"]:
        interval = f"{100 * group['difference']:+.1f}"
        interval += "" if group["low"] is None else f" ({100 * group['low']:+.1f} to {100 * group['high']:+.1f})"
        shares = (f"{100 * group[side]:.1f}" for side in ("first", "second"))
        flips = (f"{group[kind]:,}" for kind in ("right_to_wrong", "wrong_to_right"))
        rows.append((group["group"], f"{group['questions']:,}", *shares, interval, *flips))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["", f"first:  {found['first']}", f"second: {found['second']}", ""]
    for name, *cells in rows:
        lines.append("  ".join([name.ljust(widths[0]), *map(str.rjust, cells, widths[1:])]).rstrip())
    for gained, title in ((False, "right -> wrong"), (True, "wrong -> right")):
        flipped = comparison.flips(gained)
        if len(shown := flipped.head(examples)):
            lines += ["", f"{title} ({len(shown)} of {len(flipped):,}):"]
        for row in shown.itertuples():
            accepted = f" [{row.accepted}]"[:24] if row.accepted else ""
            said = " -> ".join(repr(str(text).strip()[:30]) for text in (row.first, row.second))
            lines.append(f"  {row.question}"[: WIDTH - len(accepted) - len(said) - 2] + f"{accepted}: {said}")
    return [*lines, "", found["sentence"]]
