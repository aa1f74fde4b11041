"""What a repair says in sentences: its outcome, its rule, and the card of the repaired model."""

from collections.abc import Mapping

from sftlens.config.repair import FewShotSettings
from sftlens.repair import choice_rule
from sftlens.repair.candidates import Methods
from sftlens.repair.inputs.chat import Prompting
from sftlens.repair.inputs.halves import CHOOSING, REPORTING
from sftlens.repair.measure.fewshot_mastery import LABEL
from sftlens.repair.report import numbers
from sftlens.repair.search import Found
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

Knowledge is the share of questions whose greedy answer contains an accepted one. The numbers speak of this model only.
`report.html` beside this folder has the whole trade-off. Found with `scripts/repair.py`.
"""
EMPTY = """# No model was written

{outcome}

{rule}

`report.html` beside this folder has the numbers. Found with sftlens, `scripts/repair.py`.
"""


def outcome(found: Found) -> str:
    """Return what came out: what was chosen and what it does on the reporting half, or that nothing was."""
    if not found.chosen:
        return f"{NOTHING} {choice_rule.why_not(found.on(CHOOSING), found.asked.settings.tolerance)}"
    said = numbers.points(found.compared[REPORTING][found.chosen])
    text = (
        f"Repaired with {found.chosen.name}. On the reporting half, which had no part in the choice, the share of "
        f"facts answered changes by {said['facts']} and {task_name(found)} by {said['task']}."
    )
    if found.confirmed:
        return f"{text} This confirms the choice." + ("" if found.task else f" {NO_TASK}")
    return (
        f"{text} This does not confirm the choice: an interval reaches beyond what the rule allows. Compare the two "
        "models on more facts or examples before you use the repaired one."
    )


def rule(found: Found) -> str:
    """Return the rule of the choice."""
    text = choice_rule.RULE.format(tolerance=100 * found.asked.settings.tolerance)
    return text if found.task else text + choice_rule.STAND_IN


def task_name(found: Found) -> str:
    """Return what the task's score is called."""
    return f"the task's score ({found.asked.settings.score})" if found.task else "the share of well-formed answers"


def mastery(templates: bool, settings: FewShotSettings) -> str:
    """Return how mastery was measured."""
    if templates:
        return "completion templates, 10 samples each (the paper's way)"
    return (
        f"{LABEL}: {settings.prompts} prompts with {settings.shots} other solved questions each, {settings.samples} "
        f"samples of each at temperature {settings.temperature:g}; not the paper's completion templates"
    )


def prompt(prompting: Prompting) -> str:
    """Return how questions were asked."""
    return "the fine-tuned tokenizer's chat template" if prompting.template is None else repr(prompting.template)


def model_card(found: Found, methods: Methods, inputs: Mapping[str, str]) -> str:
    """Return the text of README.md in the model's folder; where nothing was chosen, it says so."""
    said = {"outcome": outcome(found), "rule": rule(found)}
    if not found.chosen:
        return EMPTY.format(**said)
    used = {name: getattr(found.asked.settings, name) for name in uses(found.chosen.criterion)}
    return methods.of(found.chosen).card(inputs, used) + CHOICE.format(**said)
