"""What a program says at its end: what it wrote, and the one number that matters."""

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from sftlens import files


def say(program: str, written: Iterable[Path], number: str = "") -> None:
    """Print one line on stderr."""
    first, *others = written
    shown = ", ".join([str(first), *(path.name if path.parent == first.parent else str(path) for path in others)])
    print(f"{program.replace('_', '-')}: wrote {shown}" + (f": {number}" if number else ""), file=sys.stderr)


def of(stage: str, outputs: Mapping[str, Path]) -> str:
    """Return the number that matters most in a stage's outputs, with its unit; empty for a stage without one."""
    return NUMBERS[stage](outputs) if stage in NUMBERS else ""


def _values(summary: Path) -> dict[tuple[str, ...], float]:
    """Return the metrics of a summary by (metric, split, bucket), or by (metric, ratio) where they have no bucket."""
    found: dict[tuple[str, ...], float] = {}
    for row in files.read_json(summary)["metrics"]:
        if "relation" not in row:
            place = (row["split"], row["bucket"]) if "bucket" in row else (f"{row.get('ratio', 0):g}",)
            found.setdefault((row["metric"], *place), row["value"])
    return found


def _facts(outputs: Mapping[str, Path]) -> str:
    counts = Counter(files.read_parquet(outputs["facts.parquet"], ["split"])["split"])
    return ", ".join(f"{count:,} {split}" for split, count in counts.items()) + " facts"


def _mastery(outputs: Mapping[str, Path]) -> str:
    buckets = Counter(files.read_parquet(outputs["mastery.parquet"], ["bucket"])["bucket"])
    return "facts by bucket: " + ", ".join(f"{name} {buckets[name]:,}" for name in sorted(buckets))


def _quality(outputs: Mapping[str, Path]) -> str:
    rows: list[dict[str, Any]] = files.read_json(outputs["summary.json"])["metrics"]
    found = [row["value"] for row in rows if row["metric"] == "reliability"]
    return f"reliability of mastery {found[0]:.2f} (1: no noise)" if found else ""


def _order(outputs: Mapping[str, Path]) -> str:
    return f"{len(files.read_parquet(outputs['order.parquet'], ['fact_id'])):,} facts in order"


def _finetune(outputs: Mapping[str, Path]) -> str:
    found = _values(outputs["finetune.json"])
    first, last = found["loss_first", "0"], found["loss_last", "0"]
    return f"{found['examples', '0']:,.0f} examples, loss {first:.2f} -> {last:.2f}"


def _accuracy(outputs: Mapping[str, Path]) -> str:
    return _share_right(_values(outputs["summary.json"]))


def _restore(outputs: Mapping[str, Path]) -> str:
    summary = outputs["summary.json"] if "summary.json" in outputs else outputs["model"] / "summary.json"
    done = "all parameters interpolated towards the base"
    if "restored" in (method := files.read_json(summary)["method"]):
        done = f"{method['restored']:,} of {method['elements']:,} parameters restored"
    found = _values(summary)
    return f"{done}, {_share_right(found)}" if any(place[0] == "contains" for place in found) else done


def _share_right(found: Mapping[tuple[str, ...], float]) -> str:
    over = {place[2] for place in found if place[0] == "contains"}
    bucket, meaning = ("macro", "macro of D0-D4") if "macro" in over else ("all", "all questions")
    shares = [f"{place[1]} {100 * value:.1f} %" for place, value in found.items() if place[::2] == ("contains", bucket)]
    return f"accuracy {', '.join(shares)} ({meaning})"


def _divergence(outputs: Mapping[str, Path]) -> str:
    found = _values(outputs["summary.json"])
    if ("kl", "test", "D4") not in found:
        return "no fact's answer comes near the beginning, so there is no divergence"
    return f"mean KL {found['kl', 'test', 'D4']:.3f} nats over {found['facts_kept', 'test', 'D4']:,.0f} facts"


def _changes(outputs: Mapping[str, Path]) -> str:
    found = _values(outputs["summary.json"])
    return f"the first 20 % of the parameters hold {100 * found['share_of_change', '20']:.1f} % of the change"


NUMBERS: dict[str, Callable[[Mapping[str, Path]], str]] = {
    "facts": _facts,
    "mastery": _mastery,
    "mastery_quality": _quality,
    "training_set": _order,
    "finetune": _finetune,
    "evaluate": _accuracy,
    "restore": _restore,
    "divergence": _divergence,
    "changes": _changes,
}
"""Stage -> what is said of its outputs."""
