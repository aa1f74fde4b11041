"""What the job is given that repairs a model fine-tuned elsewhere; a study has one, or none."""

import json
from typing import Any

from sftlens.config.repair import RepairSettings, RepairStudy
from sftlens.dag.jobs import Jobs
from sftlens.dag.paths import options

OUTPUTS = {
    "report": "report.json",
    "page": "report.html",
    "table": "tradeoff.csv",
    "figure": "tradeoff.png",
    "answers": "answers.csv",
}
"""Files of a repair; the folder of the model stands beside them."""


class Repairing:
    """Inputs, outputs and options of sftlens repair."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._wanted = jobs.study.repair
        self.folder = f"{jobs.paths.root}/repair"

    @property
    def settings(self) -> RepairStudy:
        """The study's section `repair`."""
        assert self._wanted
        return self._wanted

    def inputs(self) -> dict[str, str]:
        """Files that are read, by the names of their options; models have `stamps`."""
        paths = {name: getattr(self.settings, name) for name in ("facts", "task", "templates")}
        return {name: path for name, path in paths.items() if path}

    def outputs(self) -> dict[str, str]:
        """Files that are written, by name; none for a study without a repair."""
        return {name: f"{self.folder}/{file}" for name, file in OUTPUTS.items()} if self._wanted else {}

    def arguments(self, wildcards: object) -> list[str]:
        """The models, and the options that name files; a function, so that braces in them are no wildcards."""
        files = [word for name, path in self.inputs().items() for word in (f"--{name}", path)]
        return [self.settings.base, self.settings.finetuned, *files]

    def options(self, wildcards: object) -> list[str]:
        """All other options; a function, so that braces in a prompt are no wildcards."""
        wanted = self.settings
        listed: dict[str, list[Any]] = {
            "--ratio": wanted.ratios,
            "--criterion": wanted.criteria,
            "--region": wanted.regions,
        }
        given = [word for flag, values in listed.items() for value in values for word in (flag, str(value))]
        given += ["--as", wanted.save_as, *(["--chat-template"] if wanted.chat_template else [])]
        for name, value in wanted.chat_template_args.items():
            given += ["--chat-template-arg", f"{name}={json.dumps(value)}"]
        texts = ("prompt_template", "chat_template_name", "system_prompt")
        given += [f"--{name.replace('_', '-')}={value}" for name in texts if (value := getattr(wanted, name))]
        return given + options(wanted, set(RepairSettings.model_fields) - {"ratios", "criteria", "regions", "save_as"})

    def stamps(self) -> list[str]:
        """What shows that a model's files have changed."""
        return [self._jobs.stamp(path) for path in (self.settings.base, self.settings.finetuned)]
