"""What the one job of a repair is given: its files and options, and what it writes."""

import json
from typing import Any

from sftlens.config.repair import OUTPUTS, RepairSettings, RepairStudy
from sftlens.config.study import Study
from sftlens.dag.paths import options as words


class RepairJob:
    """Functions of the rule `repair`."""

    def __init__(self, study: Study, root: str, computing: list[str]) -> None:
        """Take a study, its folder, and the options of what models compute in."""
        self._repair, self._root, self._computing = study.repair, root, computing

    def files(self) -> dict[str, str]:
        """Files that the repair reads, by the names of their options; its models have stamps."""
        paths = {name: getattr(self._repair, name) for name in ("facts", "task", "templates")}
        return {name: path for name, path in paths.items() if path}

    def outputs(self) -> dict[str, str]:
        """Files that the repair writes, by name; none for a study without one."""
        return {name: f"{self._root}/repair/{file}" for name, file in OUTPUTS.items()} if self._repair else {}

    def arguments(self, wildcards: Any) -> list[str]:
        """The models of the repair and its files; a function, so that braces in a name or a prompt are no wildcards."""
        wanted = self._repair or RepairStudy()
        files = [word for name, path in self.files().items() for word in (f"--{name}", path)]
        return [wanted.base, wanted.finetuned, *files]

    def options(self, wildcards: Any) -> list[str]:
        wanted = self._repair or RepairStudy()
        lists: dict[str, list[Any]] = {"--ratio": wanted.ratios, "--criterion": wanted.criteria}
        lists["--region"] = wanted.regions
        given = [word for flag, values in lists.items() for value in values for word in (flag, str(value))]
        given += ["--as", wanted.save_as, *(["--chat-template"] if wanted.chat_template else [])]
        for name, value in wanted.chat_template_args.items():
            given += ["--chat-template-arg", f"{name}={json.dumps(value)}"]
        texts = ("prompt_template", "chat_template_name", "system_prompt")
        given += [f"--{name.replace('_', '-')}={value}" for name in texts if (value := getattr(wanted, name))]
        own = set(RepairSettings.model_fields) - {"ratios", "criteria", "regions", "save_as"}
        return [*given, *words(wanted, own), *self._computing]
