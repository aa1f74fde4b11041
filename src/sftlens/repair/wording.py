"""What a repair says in sentences: its outcome, its rule, and the card of the repaired model."""

from collections.abc import Mapping
from dataclasses import replace

from sftlens.diagnosis.diagnosis import Diagnosis
from sftlens.repair import choice_rule, numbers, user_files
from sftlens.repair.choice_rule import Comparison
from sftlens.repair.fewshot_mastery import LABEL
from sftlens.repair.models import RepairModels, label
from sftlens.repair.prompting import RepairInputs
from sftlens.repair.search import Repair
from sftlens.repair.user_files import CHOOSING, REPORTING
from sftlens.restoration import cards
from sftlens.restoration.methods import uses

NOTHING = "Nothing was repaired: no setting beats leaving the fine-tuned model alone."
NO_TASK = "No task was given, so nothing here says whether what the model was fine-tuned for survives."
BASE_WOULD_PASS = "The base itself answers as many facts, and its answers are as well-formed."
SAME_PROMPT = "both models read the question's prompt, so it also holds what this prompt alone does to the base"
BEST_TEMPLATE = (
    "the fine-tuned model reads the question's prompt, the base the relation's best completion template; facts of the "
    "reporting half whose answer comes near the beginning of the base's completion"
)
WIDTH, SHOWN = 100, 5
"""Columns of a terminal, and examples of a kind of flip that are shown there."""
CHOICE = """
The fine-tuned model: {finetuned}. {stored}

## What it does

{table}

On the reporting half, with 95 % intervals.

## How it was chosen

{outcome}

{rule}

Knowledge is the share of questions whose greedy answer contains an accepted one in its first line. The numbers speak
of this model only.
`report.html` beside this folder has the whole trade-off. Found with `sftlens repair`.
"""
EMPTY = """# No model was written

{outcome}

{rule}

`report.html` beside this folder has the numbers. Found with `sftlens repair`.
"""


def cost(seen: Diagnosis) -> str:
    """Return what fine-tuning did to knowledge, answers, format and task, and the verdict on knowledge."""
    effects = {"mastery": seen.knowledge, "facts answered": seen.answered, "well-formed answers": seen.well_formed}
    effects |= {f"score on {name}": effect for name, effect in seen.tasks.items()}
    changes = [
        f"{name} {100 * effect.before:.1f} -> {100 * effect.after:.1f} % ({100 * effect.value:+.1f} points, "
        f"95 % interval {100 * effect.low:+.1f} to {100 * effect.high:+.1f})"
        for name, effect in effects.items()
        if effect
    ]
    text = f"What fine-tuning did, base -> fine-tuned: {'; '.join(changes)}."
    if seen.kl:
        text += f" KL(fine-tuned || base) of the first answer token: {seen.kl[0]:.3f} nats."
    judged = "mastery" if seen.judged is seen.knowledge else "the facts answered"
    return f"{text} Knowledge, by {judged}: {seen.verdict.outcome}."


def outcome(repair: Repair) -> str:
    """Return what came out: what was chosen and what it does on the reporting half, or why nothing is recommended."""
    if not repair.chosen:
        return f"{NOTHING} {choice_rule.why_not(repair.settings_on(CHOOSING), repair.inputs.settings.tolerance)}"
    if not repair.written:
        assert repair.base_against_chosen
        said = points(repair.base_against_chosen)
        return (
            f"Nothing is recommended: {repair.chosen.name} meets the rule, but on the reporting half the base itself "
            f"answers no fewer facts than it ({said['facts']}) and is not shown to do less of the task "
            f"({said['task']}). The task file cannot tell the two apart: use the base, or give examples of a task that "
            "fine-tuning improved."
        )
    said = points(repair.compared[REPORTING][repair.chosen])
    text = (
        f"Repaired with {repair.chosen.name}. On the reporting half, which had no part in the choice, the share of "
        f"facts answered changes by {said['facts']} and {task_name(repair)} by {said['task']}."
    )
    if not repair.has_task:
        text += f" {NO_TASK}" + (f" {BASE_WOULD_PASS}" if repair.base_as_good else "")
    if repair.confirmed:
        return f"{text} This confirms the choice."
    if repair.base_as_good:
        return f"{text} So this recommends nothing: give examples of the task."
    return (
        f"{text} This does not confirm the choice: an interval reaches beyond what the rule allows. Compare the two "
        "models on more facts or examples before you use the repaired one."
    )


def points(comparison: Comparison) -> dict[str, str]:
    """Return the differences of a comparison in percentage points, with their intervals, as text."""
    parts = {"facts": comparison.facts, "task": comparison.task}
    return {
        name: f"{100 * d.value:+.1f} points (95 % interval {100 * d.low:+.1f} to {100 * d.high:+.1f})"
        for name, d in parts.items()
    }


def stored(repair: Repair, models: RepairModels) -> str:
    """Return how the repaired model is written, and how exact that is; "" for a whole model or none."""
    settings = repair.inputs.settings
    if not repair.written or settings.save_as == "model":
        return ""
    if settings.save_as == "delta":
        return (
            "Written as its difference from the base, which is exact: `sftlens delta unpack` rebuilds it bit for bit."
        )
    assert repair.adapter
    error, said = models.adapter(replace(repair.written, rank=settings.rank)).error, points(repair.adapter)
    text = (
        f"Written as an adapter of rank {settings.rank}, an approximation: it leaves out {100 * error.share:.2g} % of "
        "the sum of squared differences from the base. On the reporting half, against the repaired model itself, it "
        f"changes the share of facts answered by {said['facts']} and {task_name(repair)} by {said['task']}."
    )
    if min(repair.adapter.facts.value, repair.adapter.task.value) < -settings.tolerance:
        text += " So the adapter does not do what the repaired model does: raise --rank, or write it with --as delta."
    if error.left_out:
        names = ", ".join(error.left_out[:3]) + (", ..." if len(error.left_out) > 3 else "")
        text += f" {len(error.left_out)} tensors that changed stay the base's ({names})."
    return text


def rule(repair: Repair) -> str:
    """Return the rule of the choice."""
    count = len(repair.settings_on(CHOOSING))
    numbered = {"settings": count, "level": 100 * choice_rule.level_of(count)}
    text = choice_rule.RULE.format(tolerance=100 * repair.inputs.settings.tolerance, **numbered)
    return text if repair.has_task else text + choice_rule.STAND_IN


def task_name(repair: Repair) -> str:
    """Return what the task's score is called."""
    if repair.inputs.tasks is None:
        return "the share of well-formed answers"
    return f"the task's score ({user_files.scores_of(repair.inputs.tasks, repair.inputs.settings.score)})"


def measured(repair: Repair) -> dict[str, str]:
    """Return how a repair was measured: what -> words."""
    described = how_measured(repair.inputs)
    described["halves"] = "by a hash of each question and each example of the task"
    described["regions"] = ", ".join(repair.inputs.settings.regions)
    thinking = {label(key): int(facts["thinking"].sum()) for key, (facts, _) in repair.answers.items()}
    if any(thinking.values()) or repair.inputs.prompting.opens_thinking([""]):
        counts = ", ".join(f"{name} {count}" for name, count in thinking.items())
        described["thinking"] = (
            f"answers are judged after it; answers that had not begun within the tokens count as wrong: {counts} of "
            f"{len(repair.inputs.facts)}"
        )
    return described


def how_measured(inputs: RepairInputs) -> dict[str, str]:
    """Return how the models of a check or repair were measured: what -> words."""
    settings, prompting = inputs.settings, inputs.prompting
    few = settings.few_shot
    mastery = (
        f"{LABEL}: {few.prompts} prompts with {few.shots} other solved questions each, {few.samples} samples of each "
        f"at temperature {few.temperature:g}; not the paper's completion templates"
    )
    kl = SAME_PROMPT
    if inputs.sentences is not None:
        mastery, kl = "completion templates, 10 samples each (the paper's way)", BEST_TEMPLATE
    template, chat = prompting.template, prompting.chat
    asked = repr(template) if template else f"the fine-tuned tokenizer's chat template, as in {chat.example!r}"
    turn_end = prompting.turn_end([""])
    end = f" (with EOS or {turn_end!r})" if turn_end else ""
    described = {
        "questions were asked with": asked,
        "right answer": "the first line of the greedy answer contains an accepted one (case-sensitive; typographic "
        "characters count as plain ones)",
        "well-formed": f"the answer ends within {settings.max_new_tokens} tokens{end}",
        "mastery": mastery,
        "KL": kl,
    }
    if inputs.tasks is not None:
        most = user_files.longest(inputs.tasks, settings.task_max_new_tokens)
        described["task"] = f"{user_files.scores_of(inputs.tasks, settings.score)}, greedy, at most {most} tokens"
    return described


def model_card(repair: Repair, models: RepairModels, inputs: Mapping[str, str], names: Mapping[str, str]) -> str:
    """Return the text of README.md in the model's folder; where nothing was written, it says so.

    `inputs` are content hashes, `names` what the base and the fine-tuned model are called.
    """
    said = {"outcome": outcome(repair), "rule": rule(repair)}
    if not repair.written:
        return EMPTY.format(**said)
    method, settings = models.restored(repair.written), repair.inputs.settings
    used = {name: getattr(settings, name) for name in uses(repair.written.criterion)}
    card = method.card(inputs, used, "peft" if settings.save_as == "adapter" else "transformers")
    rows = []
    for row in numbers.side_by_side(repair):
        sides = [number(row[name], row["unit"]) for name in (*map(label, numbers.reported(repair)), "gain")]
        rows.append(f"| {cards.cell(row['metric'])}, {row['unit']} (n = {row['n']:,}) | {' | '.join(sides)} |")
    table = "\n".join(["| | base | fine-tuned | repaired | repaired - fine-tuned |", "|---|---|---|---|---|", *rows])
    return card + CHOICE.format(**said, table=table, stored=stored(repair, models), finetuned=names["fine-tuned model"])


def table(repair: Repair) -> list[str]:
    """Return base, fine-tuned and repaired model side by side, and some flips, in lines for a terminal."""
    labels = [label(key) for key in numbers.reported(repair)]
    rows = [["reporting half, 95 % intervals", "base", "fine-tuned", *(["repaired"] if repair.chosen else [])]]
    for row in numbers.side_by_side(repair):
        sides = [number(row[name], row["unit"]) for name in labels]
        rows.append([f"{row['metric']}, {row['unit']} (n = {row['n']:,})", *sides])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]

    # Facts that were lost, or came back, with what the models say.
    flips = numbers.flips(repair)
    for kind, part in flips.groupby("kind", sort=False):
        lines += ["", f"{kind}: {len(part):,} facts of the reporting half"]
        for _, row in part.head(SHOWN).iterrows():
            said = " -> ".join(repr(" ".join(str(row[name]).split())[:20]) for name in labels)
            lines.append(f"  {str(row['question'])[: WIDTH - len(said) - 4]}: {said}")
    return lines


def number(found: Mapping[str, float | None] | None, unit: str, sign: str = "") -> str:
    """Return a number with its interval as text; a dash where it was not measured."""
    if found is None:
        return "-"
    digits = f"{sign}.{3 if unit == 'nats' else 1}f"
    interval = "" if found["low"] is None else f" ({found['low']:{digits}} to {found['high']:{digits}})"
    return f"{found['value']:{digits}}{interval}"
