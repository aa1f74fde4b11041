"""The measurements of a repair, each finished one kept, so that a run that was killed goes on where it stopped."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from sftlens import files
from sftlens.config.repair import RepairSettings
from sftlens.config.stages.evaluation import DivergenceSettings
from sftlens.config.stages.mastery import ProbingSettings
from sftlens.evaluation import divergence
from sftlens.mastery import mastery_table
from sftlens.repair.candidates import Candidate
from sftlens.repair.inputs.chat import Prompting
from sftlens.repair.inputs.halves import CHOOSING
from sftlens.repair.measure import answers, fewshot_mastery, first_token_kl
from sftlens.repair.measure.models import BASE, FINETUNED, Models, Who
from sftlens.restoration.methods import chosen
from sftlens.runtime import stages
from sftlens.runtime.result_version import RESULT_VERSION
from sftlens.runtime.stages import Stage

FACTS, TASK, REVERTED, MASTERY, FIRST, KL = (
    "facts.parquet", "task.parquet", "reverted.json", "mastery.parquet", "first.parquet", "kl.parquet"
)  # fmt: skip
STAGES = {
    "mastery": "mastery of every fact",
    "again": "mastery of a sample, measured again",
    "answers": "answers to the questions, and the task",
    "reverted": "how much of the change it reverts",
    "first": "first tokens of the answers",
    "kl": "divergence at the first token",
}
"""What a measurement is, by the name of its stage."""
Sentences = Mapping[str, list[str]]


@dataclass(frozen=True)
class Asked:
    """What the models are asked, and how."""

    facts: pd.DataFrame
    """The table of `facts.read` with the column half."""
    tasks: pd.DataFrame | None
    """The table of `tasks.read` with the column half; None without a task."""
    prompting: Prompting
    sentences: Sentences | None
    """Completion templates of each relation; None: mastery is few-shot."""
    settings: RepairSettings


@dataclass(frozen=True)
class Measurer:
    """Measures models on demand; what was measured before, by the same code on the same input, is read again."""

    models: Models
    asked: Asked
    identities: Mapping[str, str]
    """Content of BASE and of FINETUNED."""
    state: Path
    say: Callable[[str], object] = lambda text: None
    """Called with what begins."""
    progress: Callable[[int], object] = lambda rows: None
    """Called with the number of finished prompts."""

    def mastery(self) -> pd.DataFrame:
        """Return the facts as the base masters them: columns of `mastery.probe`."""
        return self._table("mastery", BASE, MASTERY, self._probed(self.asked.facts, BASE, again=False), self._drawing())

    def again(self, who: Who) -> pd.DataFrame:
        """Return the mastery of a fixed sample of the facts, sampled anew, of any model."""
        chosen = mastery_table.fixed_sample(self.asked.facts, self.asked.settings.reprobe)
        depends = {**self._drawing(), "reprobe": self.asked.settings.reprobe}
        return self._table("again", who, MASTERY, self._probed(chosen, who, again=True), depends)

    def answers(self, who: Who) -> tuple[pd.DataFrame, pd.DataFrame | None]:
        """Return what a model answers to the facts, and to the task's examples if there are any."""
        settings = self.asked.settings.model_dump(include={"max_new_tokens", "task_max_new_tokens", "score"})
        done = self._done(
            "answers", who, partial(self._answer, who), {**settings, **self._questions(), **self._examples()}
        )
        table = None if self.asked.tasks is None else files.read_parquet(done / TASK)
        return files.read_parquet(done / FACTS), table

    def reverted(self, candidate: Candidate) -> dict[str, float]:
        """Return which shares of the change a setting reverts (`reverted.Reverted`)."""

        def compute(folder: Path) -> None:
            files.write_json(folder / REVERTED, asdict(self.models.methods.reverted(candidate)))

        shares: dict[str, float] = files.read_json(self._done("reverted", candidate, compute, {}) / REVERTED)
        return shares

    def first(self) -> pd.DataFrame:
        """Return the likeliest first tokens of the fine-tuned model's answers (`first_tokens.largest`)."""
        return self._table("first", FINETUNED, FIRST, self._first, self._questions())

    def divergence(self, known: pd.DataFrame) -> pd.DataFrame:
        """Return KL(fine-tuned || base) of the first answer token of facts, nats: fact_id, kl.

        Args:
            known: the table of `mastery`. With templates: the D4 facts of the reporting half whose answer comes near
                the beginning of the base's completion of the best template, chosen on the other half; else all facts.
        """
        first = self.first()

        def compute() -> pd.DataFrame:
            model, tokenizer = self.models.get(BASE), self.models.tokenizer(BASE)
            facts = self._completed(known) if self.asked.sentences else known
            tokens = self.asked.settings.batch_tokens
            return first_token_kl.divergence(model, tokenizer, facts, first, self.asked.prompting, tokens)

        return self._table("kl", BASE, KL, compute, {**self._questions(), **self._drawing()})

    def _answer(self, who: Who, folder: Path) -> None:
        model, tokenizer, asked = self.models.get(who), self.models.tokenizer(who), self.asked
        how = (asked.prompting, asked.settings, self.progress)
        files.write_parquet(folder / FACTS, answers.of_facts(model, tokenizer, asked.facts, *how))
        if asked.tasks is not None:
            files.write_parquet(folder / TASK, answers.of_tasks(model, tokenizer, asked.tasks, *how))

    def _probed(self, facts: pd.DataFrame, who: Who, *, again: bool) -> Callable[[], pd.DataFrame]:
        def compute() -> pd.DataFrame:
            model, tokenizer, settings = self.models.get(who), self.models.tokenizer(who), self.asked.settings
            of = f"{'again ' if again else ''}{self._content(who)}"
            if self.asked.sentences is None:
                form = self.asked.prompting.form
                how = (self.asked.facts, facts, settings.few_shot, form, settings.batch_tokens)
                return fewshot_mastery.probe(model, tokenizer, *how, of=of, progress=self.progress)
            probing = ProbingSettings(batch_tokens=settings.batch_tokens, seed=settings.few_shot.seed)
            return mastery_table.probe(model, tokenizer, facts, self.asked.sentences, probing, self.progress, of=of)

        return compute

    def _first(self) -> pd.DataFrame:
        model, tokenizer, asked = self.models.get(FINETUNED), self.models.tokenizer(FINETUNED), self.asked
        how = (self.models.vocabulary(), asked.settings.batch_tokens)
        return first_token_kl.largest(model, tokenizer, asked.facts, asked.prompting, *how)

    def _completed(self, known: pd.DataFrame) -> pd.DataFrame:
        """Return the facts that the divergence is measured on, with what the base reads (`divergence.select`)."""
        parts = known.assign(split=["train" if half == CHOOSING else "test" for half in known["half"]])
        both = set(parts.loc[parts["split"] == "train", "relation"])
        parts = parts[parts["relation"].isin(both)]
        model, tokenizer = self.models.get(BASE), self.models.tokenizer(BASE)
        chosen = divergence.select(model, tokenizer, parts, self.asked.sentences or {}, DivergenceSettings())
        return chosen[chosen["kept"]].reset_index(drop=True)

    def _table(
        self, name: str, who: Who, file: str, compute: Callable[[], pd.DataFrame], depends: Mapping[str, Any]
    ) -> pd.DataFrame:
        def write(folder: Path) -> None:
            files.write_parquet(folder / file, compute())

        return files.read_parquet(self._done(name, who, write, depends) / file)

    def _done(self, name: str, who: Who, compute: Callable[[Path], None], depends: Mapping[str, Any]) -> Path:
        """Return the folder of a finished measurement."""
        whole = {"model": self._content(who), "version": RESULT_VERSION["repair"], **depends}
        stage = Stage(name, {}, whole, self.state)
        if stages.finished(stage) is None:
            self.say(f"{who.name if isinstance(who, Candidate) else who}: {STAGES[name]}")
        stages.run(stage, compute)
        done = stages.finished(stage)
        assert done
        return done

    def _content(self, who: Who) -> str:
        """Return what stands for the content of a model."""
        if not isinstance(who, Candidate):
            return self.identities[who]
        settings = self.asked.settings
        named = chosen(who.criterion)[0].stream or who.criterion
        how = f"{named} {settings.region} {who.ratio:g} {settings.epsilon} {settings.seed}"
        return f"{self.identities[BASE]} {self.identities[FINETUNED]} {how}"

    def _questions(self) -> dict[str, Any]:
        facts = self.asked.facts
        listed = list(zip(facts["fact_id"], facts["aliases"].map(list), strict=True))
        return {"facts": listed, "prompt": self.asked.prompting.identity(), "chat": self.identities[FINETUNED]}

    def _examples(self) -> dict[str, Any]:
        return {"task": None if self.asked.tasks is None else self.asked.tasks["task_id"].tolist()}

    def _drawing(self) -> dict[str, Any]:
        """Return what mastery depends on besides the model."""
        facts, settings = self.asked.facts, self.asked.settings
        listed = [facts[name].tolist() for name in ("fact_id", "relation", "subject", "half")]
        listed.append([list(names) for names in facts["aliases"]])
        return {
            "facts": listed, "sentences": self.asked.sentences,
            "form": self.asked.prompting.form, "drawing": settings.few_shot.model_dump(),
        }  # fmt: skip
