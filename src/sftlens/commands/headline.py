"""What a program says at its end: what it wrote, and the one number that matters."""

import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from sftlens import files


def say(program: str, written: Iterable[Path], number: str = "") -> None:
    """Print one line on stderr."""
    first, *others = written
    shown = ", ".join([str(first), *(path.name if path.parent == first.parent else str(path) for path in others)])
    print(f"{program.replace('_', '-')}: wrote {shown}" + (f": {number}" if number else ""), file=sys.stderr)


def of(stage: str, outputs: Mapping[str, Path]) -> str:
    """Return the number that matters most in a stage's outputs, with its unit; empty for a stage without one."""
    if stage == "facts":
        counts = Counter(files.read_parquet(outputs["facts.parquet"], ["split"])["split"])
        return ", ".join(f"{count:,} {split}" for split, count in counts.items()) + " facts"
    if stage == "mastery":
        buckets = Counter(files.read_parquet(outputs["mastery.parquet"], ["bucket"])["bucket"])
        return "facts by bucket: " + ", ".join(f"{name} {buckets[name]:,}" for name in sorted(buckets))
    if stage == "training_set":
        return f"{len(files.read_parquet(outputs['order.parquet'], ['fact_id'])):,} facts in order"
    if stage not in ("mastery_quality", "finetune", "evaluate", "restore", "divergence", "changes"):
        return ""

    summary = outputs.get("finetune.json") or outputs.get("summary.json") or outputs["model"] / "summary.json"
    made = files.read_json(summary)
    if stage == "mastery_quality":
        values = [row["value"] for row in made["metrics"] if row["metric"] == "reliability"]
        return f"reliability of mastery {values[0]:.2f} (1: no noise)" if values else ""
    # The metrics by (metric, split, bucket), or by (metric, ratio) where they have no bucket.
    found: dict[tuple[str, ...], float] = {}
    for row in made["metrics"]:
        if "relation" not in row:
            place = (row["split"], row["bucket"]) if "bucket" in row else (f"{row.get('ratio', 0):g}",)
            found.setdefault((row["metric"], *place), row["value"])
    if stage == "finetune":
        first, last = found["loss_first", "0"], found["loss_last", "0"]
        stopped = f"; stopped after step {made['stopped']['step']}" if "stopped" in made else ""
        return f"{found['examples', '0']:,.0f} examples, loss {first:.2f} -> {last:.2f}{stopped}"
    if stage == "divergence":
        if ("kl", "test", "D4") not in found:
            return "no fact's answer comes near the beginning, so there is no divergence"
        return f"mean KL {found['kl', 'test', 'D4']:.3f} nats over {found['facts_kept', 'test', 'D4']:,.0f} facts"
    if stage == "changes":
        return f"the first 20 % of the parameters hold {100 * found['share_of_change', '20']:.1f} % of the change"

    over = {place[2] for place in found if place[0] == "contains"}
    bucket, meaning = ("macro", "macro of D0-D4") if "macro" in over else ("all", "all questions")
    shares = [f"{place[1]} {100 * value:.1f} %" for place, value in found.items() if place[::2] == ("contains", bucket)]
    accuracy = f"accuracy {', '.join(shares)} ({meaning})"
    if stage == "evaluate":
        floor = found.get(("rebatched_contains", "test", "all"))
        noise = f"; {100 * floor:.1f} % of judgements change with the batch (half precision)" if floor else ""
        return accuracy + noise
    method = made["method"]
    size = f"{method['elements']:,} parameters" if "elements" in method else "parameters"  # a method says what it likes
    done = f"{size} moved towards the base ({method['name']})"
    if "restored" in method:
        done = f"{method['restored']:,} of {method['elements']:,} parameters restored"
    elif "replaced" in method:
        done = f"{method['replaced']:,} of {method['elements']:,} parameters replaced ({method['name']})"
    return f"{done}, {accuracy}" if over else done
