"""Choose the templates that probe a model pretrained by sftlens, by a rule on calibration facts.

  sftlens choose-templates --model DIR --templates T.yaml --calibration F.json \\
      --seen-templates 9 --out chosen.yaml

docs/world.md gives the rule.
"""

from pathlib import Path

from sftlens import files
from sftlens.commands import options, program
from sftlens.config.stages.mastery import ADAPTIVE_FIELDS, SAMPLING_FIELDS, ProbingSettings, TemplateChoice
from sftlens.data import relations
from sftlens.errors import ConfigError
from sftlens.runtime import progress


def main() -> None:
    # Every template is judged, and nothing is kept but the choice.
    unused = ("max_templates", "quota", "keep_texts", *ADAPTIVE_FIELDS)
    parser = options.parser(__doc__, TemplateChoice, ProbingSettings, without=unused)
    parser.add_argument("--model", type=options.Model, required=True, help="model folder, .gguf file or hub id")
    parser.add_argument("--templates", type=Path, required=True, help="all completion templates (YAML)")
    parser.add_argument("--calibration", type=Path, required=True, help="calibration facts (JSON)")
    parser.add_argument("--seen-templates", type=int, required=True, help="templates the corpus was written with")
    parser.add_argument("--out", type=Path, required=True, help="chosen templates (YAML)")
    args = parser.parse_args()
    if args.seen_templates < 1:
        raise ConfigError("option --seen-templates: the seen templates set the bar, so give 1 or more")
    choice, probing = options.settings(args, TemplateChoice), options.settings(args, ProbingSettings)

    def compute(folder: Path) -> None:
        from sftlens.mastery.completions import Probe
        from sftlens.models import checkpoints
        from sftlens.synthetic import template_choice

        sentences = relations.load_templates(args.templates)
        calibration = files.read_json(args.calibration, template_choice.Calibration)
        relations.require_templates(sentences, [fact["relation"] for fact in calibration], args.templates)
        with progress.bar(description="calibrate", unit="prompt") as bar:
            model, tokenizer = checkpoints.load_model(args.model), checkpoints.load_tokenizer(args.model)
            probe = Probe(model, tokenizer, sentences, probing, bar.update)
            rates = template_choice.calibrate(probe, calibration)
        chosen = template_choice.choose(sentences, rates, args.seen_templates, choice)
        template_choice.write(folder / "templates.yaml", chosen)

    inputs = program.contents(args, "model", "templates", "calibration")
    key = {**choice.model_dump(), **probing.model_dump(include=set(SAMPLING_FIELDS)), "in_corpus": args.seen_templates}
    program.stage(args, "templates", {"templates.yaml": args.out}, inputs, key, compute)
