"""What a repair says in sentences: its outcome, its rule, and the card of the repaired model."""

from collections.abc import Mapping

from sftlens.repair import choice_rule, numbers
from sftlens.repair.fewshot_mastery import LABEL
from sftlens.repair.models import RepairModels, label
from sftlens.repair.search import Repair
from sftlens.repair.user_files import CHOOSING, REPORTING
from sftlens.restoration.methods import uses

NOTHING = "Nothing was repaired: no setting beats leaving the fine-tuned model alone."
NO_TASK = "No task was given, so nothing here says whether what the model was fine-tuned for survives."
SAME_PROMPT = "both models read the question's prompt, so it also holds what this prompt alone does to the base"
BEST_TEMPLATE = (
    "the fine-tuned model reads the question's prompt, the base the relation's best completion template; facts of the "
    "reporting half whose answer comes near the beginning of the base's completion"
)
CHOICE = """
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


def outcome(repair: Repair) -> str:
    """Return what came out: what was chosen and what it does on the reporting half, or that nothing was."""
    if not repair.chosen:
        return f"{NOTHING} {choice_rule.why_not(repair.settings_on(CHOOSING), repair.inputs.settings.tolerance)}"
    said = numbers.points(repair.compared[REPORTING][repair.chosen])
    text = (
        f"Repaired with {repair.chosen.name}. On the reporting half, which had no part in the choice, the share of "
        f"facts answered changes by {said['facts']} and {task_name(repair)} by {said['task']}."
    )
    if repair.confirmed:
        return f"{text} This confirms the choice." + ("" if repair.has_task else f" {NO_TASK}")
    return (
        f"{text} This does not confirm the choice: an interval reaches beyond what the rule allows. Compare the two "
        "models on more facts or examples before you use the repaired one."
    )


def rule(repair: Repair) -> str:
    """Return the rule of the choice."""
    text = choice_rule.RULE.format(tolerance=100 * repair.inputs.settings.tolerance)
    return text if repair.has_task else text + choice_rule.STAND_IN


def task_name(repair: Repair) -> str:
    """Return what the task's score is called."""
    return (
        f"the task's score ({repair.inputs.settings.score})" if repair.has_task else "the share of well-formed answers"
    )


def measured(repair: Repair) -> dict[str, str]:
    """Return how a repair was measured: what -> words."""
    settings, prompting = repair.inputs.settings, repair.inputs.prompting
    few = settings.few_shot
    mastery = (
        f"{LABEL}: {few.prompts} prompts with {few.shots} other solved questions each, {few.samples} samples of each "
        f"at temperature {few.temperature:g}; not the paper's completion templates"
    )
    kl = SAME_PROMPT
    if repair.inputs.sentences is not None:
        mastery, kl = "completion templates, 10 samples each (the paper's way)", BEST_TEMPLATE
    template, chat = prompting.template, prompting.chat
    asked = repr(template) if template else f"the fine-tuned tokenizer's chat template, as in {chat.sample!r}"
    end = f" (with EOS or {chat.turn_end!r})" if not template and chat.turn_end else ""
    described = {
        "questions were asked with": asked,
        "right answer": "the first line of the greedy answer contains an accepted one (case-sensitive; typographic "
        "characters count as plain ones)",
        "well-formed": f"the answer ends within {settings.max_new_tokens} tokens{end}",
        "mastery": mastery,
        "KL": kl,
        "halves": "by a hash of each question and each example of the task",
        "region": settings.region,
    }
    thinking = {label(key): int(facts["thinking"].sum()) for key, (facts, _) in repair.answers.items()}
    if any(thinking.values()) or (not template and chat.opens_thinking):
        counts = ", ".join(f"{name} {count}" for name, count in thinking.items())
        described["thinking"] = (
            f"answers are judged after it; answers that had not begun within the tokens count as wrong: {counts} of "
            f"{len(repair.inputs.facts)}"
        )
    if repair.inputs.tasks is not None:
        described["task"] = f"{settings.score}, greedy, at most {settings.task_max_new_tokens} tokens"
    return described


def model_card(repair: Repair, models: RepairModels, inputs: Mapping[str, str]) -> str:
    """Return the text of README.md in the model's folder; where nothing was chosen, it says so."""
    said = {"outcome": outcome(repair), "rule": rule(repair)}
    if not repair.chosen:
        return EMPTY.format(**said)
    used = {name: getattr(repair.inputs.settings, name) for name in uses(repair.chosen.criterion)}
    return models.restored(repair.chosen).card(inputs, used) + CHOICE.format(**said)
