"""The measurements of a repair, each finished one kept, so that a run that was killed continues where it stopped.

KL is KL(fine-tuned || base) at the first predicted token, over the fine-tuned model's largest logits, each set
renormalised by itself (arXiv 2509.16596; `sftlens.evaluation.divergence`), with one model in memory at a time. With
templates the base reads the best completion sentence, as in the paper; without them both models read the same prompt,
and the number also holds the effect of this prompt on the base.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from sftlens import files, inference
from sftlens.config.stages.evaluation import DivergenceSettings
from sftlens.config.stages.mastery import ProbingSettings
from sftlens.data import tables
from sftlens.data.scoring import JUDGEMENTS, Judgement, first_line
from sftlens.evaluation import divergence
from sftlens.inference.chat import ends, read, target
from sftlens.inference.prompts import token_ids
from sftlens.mastery import mastery_table
from sftlens.mastery.completions import Probe
from sftlens.repair import fewshot_mastery
from sftlens.repair.models import BASE, FINETUNED, Candidate, ModelKey, RepairModels, label
from sftlens.repair.prompting import RepairInputs
from sftlens.repair.user_files import CHOOSING, longest, scorer
from sftlens.restoration import methods
from sftlens.runtime import stages
from sftlens.runtime.result_version import RESULT_VERSION
from sftlens.runtime.stages import Stage

Answers = tuple[pd.DataFrame, pd.DataFrame | None]
"""Answers to the facts, and to the task's examples if there are any."""
TOP = 10
STAGES = {
    "mastery": "mastery of every fact",
    "again": "mastery of a sample, measured again",
    "answers": "answers to the questions, and the task",
    "reverted": "share of the update reverted",
    "first": "first tokens of the answers",
    "kl": "divergence at the first token",
}
"""What a measurement is, by the name of its stage."""


@dataclass(frozen=True)
class Measurements:
    """Measures models on demand; what was measured before, by the same code on the same input, is read again."""

    models: RepairModels
    inputs: RepairInputs
    identities: Mapping[str, str]
    """Content of BASE and of FINETUNED."""
    state: Path
    say: Callable[[str], object]
    """Called with what begins."""
    bar: Any
    """Shows how many prompts are finished (`progress.bar`); it begins anew with the number that are to be next."""
    note: str = ""
    """Told behind what begins: why it is measured a second time."""
    draws: str | None = None
    """Name of the random numbers that samples are drawn with, the same for all models, so that a difference between
    two is one of the models; None: each model has its own."""

    def mastery(self, key: ModelKey = BASE, count: int | None = None) -> pd.DataFrame:
        """Return the facts as a model masters them, or a fixed sample of them: columns of `mastery_table.probe`."""
        facts = self.inputs.facts if count is None else tables.fixed_sample(self.inputs.facts, count)
        depends = {**self._mastery_key(), **({} if count is None else {"count": count})}
        return self._table("mastery", key, "mastery", depends, lambda: self._probe(key, facts))

    def mastery_again(self, key: ModelKey) -> pd.DataFrame:
        """Return the mastery of a fixed sample of the facts, sampled anew, of any model."""
        count = self.inputs.settings.reprobe
        sample = tables.fixed_sample(self.inputs.facts, count)
        depends = {**self._mastery_key(), "reprobe": count}
        return self._table("again", key, "mastery", depends, lambda: self._probe(key, sample, "again "))

    def _probe(self, key: ModelKey, facts: pd.DataFrame, prefix: str = "") -> pd.DataFrame:
        model, tokenizer, settings = self.models.get(key), self.models.tokenizer(key), self.inputs.settings
        of = prefix + (self.draws or self._content(key))
        if self.inputs.sentences is None:
            prompting, pool = self.inputs.prompting, self.inputs.facts
            how = (settings.few_shot, prompting.form, settings.batch_tokens)
            more: dict[str, Any] = {"opening": prompting.opening, "progress": self.bar.update}
            return fewshot_mastery.probe(model, tokenizer, pool, facts, *how, of=of, **more)
        probing = ProbingSettings(batch_tokens=settings.batch_tokens, seed=settings.few_shot.seed)
        probe = Probe(model, tokenizer, self.inputs.sentences, probing, self.bar.update, of)
        return mastery_table.probe(probe, facts)

    def answers(self, key: ModelKey) -> Answers:
        """Return the greedy answers of a model.

        To the facts: fact_id, output, the `scoring.JUDGEMENTS`, well_formed (EOS within the limit). To the task's
        examples: task_id, output, score (0 to 1), well_formed. Of both: thinking (the answer had not begun at the
        limit). Raises DataError, ModelError as `inference.greedy`.
        """
        inputs, settings = self.inputs, self.inputs.settings

        def compute(folder: Path) -> None:
            tokenizer, opening = self.models.tokenizer(key), inputs.prompting.opening
            names, questions = inputs.facts["fact_id"].tolist(), inputs.facts["question"].tolist()
            ids = inputs.prompting.questions(tokenizer, questions)
            texts, ended = self._said(key, questions, ids, names, settings.max_new_tokens)
            columns: dict[str, list[Any]] = {"fact_id": names, "output": texts}
            judgements: dict[str, Judgement] = {**JUDGEMENTS, "first_line": partial(first_line, opening=opening)}
            for name, judge in judgements.items():
                columns[name] = [judge(text, right) for text, right in zip(texts, inputs.facts["aliases"], strict=True)]
            files.write_parquet(folder / "facts.parquet", pd.DataFrame({**columns, **ended}))
            if inputs.tasks is not None:
                prompts = inputs.tasks["prompt"].tolist()
                ids = inputs.prompting.tasks(tokenizer, prompts)
                names = [f"task example {number}" for number in range(1, len(ids) + 1)]
                most = longest(inputs.tasks, settings.task_max_new_tokens)
                texts, ended = self._said(key, prompts, ids, names, most)
                turn_end = inputs.prompting.turn_end(prompts)
                targets = [target(text, tokenizer, turn_end) for text in inputs.tasks["target"]]
                scorers = [scorer(form, settings.score) for form in inputs.tasks["form"]]
                scores = [score(*pair) for score, *pair in zip(scorers, texts, targets, strict=True)]
                columns = {"task_id": inputs.tasks["task_id"].tolist(), "output": texts, "score": scores}
                files.write_parquet(folder / "task.parquet", pd.DataFrame({**columns, **ended}))

        done = self._done("answers", key, self._answers_key(), compute)
        task = None if inputs.tasks is None else files.read_parquet(done / "task.parquet")
        return files.read_parquet(done / "facts.parquet"), task

    def _said(
        self, key: ModelKey, prompts: Sequence[Any], ids: list[list[int]], names: Sequence[str], most: int
    ) -> tuple[list[str], dict[str, list[bool]]]:
        """Return the answer to each prompt, and the columns that say how it ended; say what a user must know."""
        model, tokenizer, settings = self.models.get(key), self.models.tokenizer(key), self.inputs.settings
        prompting = self.inputs.prompting
        turn_end = prompting.turn_end(prompts)
        stops = ends(model, tokenizer, turn_end)
        if key == FINETUNED and set(stops) - set(inference.ends(model, tokenizer)):
            self.say(
                f"the chat template ends a turn with {turn_end!r}, which neither the tokenizer nor "
                "generation_config.json names as an end; answers are taken to end there"
            )
        if (opened := prompting.opens_thinking(prompts)) and key == FINETUNED:
            self.say("the prompts end inside a thinking block; answers are judged after it")
        outputs = inference.greedy(
            model, ids, names, max_new_tokens=most, eos=stops, batch_tokens=settings.batch_tokens,
            progress=self.bar.update,
        )  # fmt: skip
        said = read(tokenizer, outputs, stops, turn_end, opened)
        if unfinished := sum(answer.thinking for answer in said):
            self.say(
                f"{label(key)}: {unfinished} of {len(said)} answers had not begun after {most} tokens of thinking and "
                "count as wrong; switch it off (--chat-template-arg enable_thinking=false, for instance), or allow more"
            )
        how = {"well_formed": [answer.ended for answer in said], "thinking": [answer.thinking for answer in said]}
        return [answer.text for answer in said], how

    def answered(self, key: ModelKey) -> bool:
        """Whether the answers of a model are there already."""
        return stages.finished(self._stage("answers", key, self._answers_key())) is not None

    def prompts(self) -> int:
        """Return how many prompts the answers of one model are."""
        return len(self.inputs.facts) + (0 if self.inputs.tasks is None else len(self.inputs.tasks))

    def mastery_prompts(self, facts: int) -> int:
        """Return about how many prompts the mastery of so many facts is."""
        sentences, relations = self.inputs.sentences, self.inputs.facts["relation"]
        if sentences is None:
            return facts * self.inputs.settings.few_shot.prompts
        return round(facts * sum(len(sentences[name]) for name in relations) / len(relations))

    def reverted(self, candidate: Candidate) -> dict[str, float]:
        """Return which shares of the update a setting reverts (`apply.Reverted`)."""

        def compute(folder: Path) -> None:
            files.write_json(folder / "reverted.json", asdict(self.models.reverted(candidate)))

        shares: dict[str, float] = files.read_json(self._done("reverted", candidate, {}, compute) / "reverted.json")
        return shares

    def first_tokens(self, key: ModelKey = FINETUNED) -> pd.DataFrame:
        """Return the TOP largest logits of the first token of each of a model's answers.

        Columns fact_id, tokens (ids), logits (float32). Only tokens that the base has too count.
        """

        def compute() -> pd.DataFrame:
            model, vocabulary, facts = self.models.get(key), self.models.vocabulary(), self.inputs.facts
            ids = self.inputs.prompting.questions(self.models.tokenizer(key), facts["question"].tolist())
            rows = {"fact_id": facts["fact_id"].tolist(), "tokens": [None] * len(ids), "logits": [None] * len(ids)}
            for indices, logits in inference.first_logits(model, ids, self.inputs.settings.batch_tokens):
                found = logits[:, :vocabulary].topk(min(TOP, vocabulary), dim=-1)
                for i, tokens, values in zip(indices, found.indices.tolist(), found.values.tolist(), strict=True):
                    rows["tokens"][i], rows["logits"][i] = tokens, values
            return pd.DataFrame(rows)

        return self._table("first", key, "first", self._facts_key(), compute)

    def divergence(self, mastery: pd.DataFrame, key: ModelKey = FINETUNED) -> pd.DataFrame:
        """Return KL(fine-tuned || base) of the first answer token of facts, nats: fact_id, kl.

        `key` stands in the place of the fine-tuned model, `mastery` is the table of that. The facts are, with
        templates, those of D4 in the reporting half whose answer comes near the beginning of the base's completion of
        the best template, chosen on the other half; else all.
        """
        first = self.first_tokens(key)

        def compute() -> pd.DataFrame:
            model, tokenizer, facts = self.models.get(BASE), self.models.tokenizer(BASE), mastery
            if self.inputs.sentences:
                # The facts that `divergence.select` keeps, with the sentence that the base reads.
                parts = facts.assign(split=["train" if half == CHOOSING else "test" for half in facts["half"]])
                parts = parts[parts["relation"].isin(set(parts.loc[parts["split"] == "train", "relation"]))]
                chosen = divergence.select(model, tokenizer, parts, self.inputs.sentences, DivergenceSettings())
                facts = chosen[chosen["kept"]].reset_index(drop=True)
                ids = token_ids(tokenizer, facts["sentence"].tolist())
            else:
                ids = self.inputs.prompting.questions(tokenizer, facts["question"].tolist())
            finetuned = first.set_index("fact_id").loc[facts["fact_id"]]
            tokens = torch.tensor(np.array(finetuned["tokens"].tolist()))
            p = torch.tensor(np.array(finetuned["logits"].tolist(), dtype=np.float32))
            values = np.zeros(len(ids))
            for indices, logits in inference.first_logits(model, ids, self.inputs.settings.batch_tokens):
                q = logits.cpu().gather(-1, tokens[indices])
                values[indices] = divergence.full_kl(p[indices], q).numpy()
            return pd.DataFrame({"fact_id": facts["fact_id"].tolist(), "kl": values})

        depends = {**self._facts_key(), **self._mastery_key(), "base": self.identities[BASE]}
        return self._table("kl", key, "kl", depends, compute)

    def _table(
        self, name: str, key: ModelKey, file: str, depends: Mapping[str, Any], compute: Callable[[], pd.DataFrame]
    ) -> pd.DataFrame:
        def write(folder: Path) -> None:
            files.write_parquet(folder / f"{file}.parquet", compute())

        return files.read_parquet(self._done(name, key, depends, write) / f"{file}.parquet")

    def _done(self, name: str, key: ModelKey, depends: Mapping[str, Any], compute: Callable[[Path], None]) -> Path:
        """Return the folder of a finished measurement."""
        stage = self._stage(name, key, depends)
        if stages.finished(stage) is None:
            self.say(f"{label(key)}: {STAGES[name]}{self.note}")
        stages.run(stage, compute)
        done = stages.finished(stage)
        assert done
        return done

    def _stage(self, name: str, key: ModelKey, depends: Mapping[str, Any]) -> Stage:
        whole = {"model": self._content(key), "version": RESULT_VERSION["repair"], **depends}
        whole |= {} if self.models.compute == "stored" else {"compute_dtype": self.models.compute}
        return Stage(name, {}, whole, self.state)

    def _content(self, key: ModelKey) -> str:
        """Return the hash of a model's content, or what a restored model is made of."""
        if not isinstance(key, Candidate):
            return self.identities[key]
        settings = self.inputs.settings
        how = (
            f"{methods.chosen(key.criterion)[0].stream or key.criterion} {key.region} {key.ratio:g} {settings.epsilon}"
        )
        how += f" {settings.seed} rank {key.rank}" if key.rank else f" {settings.seed}"
        return f"{self.identities[BASE]} {self.identities[FINETUNED]} {how}"

    def _facts_key(self) -> dict[str, Any]:
        facts = self.inputs.facts
        listed = list(zip(facts["fact_id"], facts["aliases"].map(list), strict=True))
        prompts = ["", *([] if self.inputs.tasks is None else self.inputs.tasks["prompt"])]
        return {"facts": listed, "prompt": self.inputs.prompting.identity(prompts), "chat": self.identities[FINETUNED]}

    def _answers_key(self) -> dict[str, Any]:
        settings, tasks = self.inputs.settings, self.inputs.tasks
        depends = settings.model_dump(include={"max_new_tokens", "score"})
        depends |= {"task_max_new_tokens": longest(tasks, settings.task_max_new_tokens), **self._facts_key()}
        depends |= {"task": None if tasks is None else tasks["task_id"].tolist()}
        # Answers of a file of our own form keep the key that they had before there were other forms.
        return depends | ({"forms": tasks["form"].tolist()} if tasks is not None and tasks["form"].any() else {})

    def _mastery_key(self) -> dict[str, Any]:
        """Return what mastery depends on besides the model."""
        facts, settings = self.inputs.facts, self.inputs.settings
        listed = [facts[name].tolist() for name in ("fact_id", "relation", "subject", "half")]
        listed.append([list(names) for names in facts["aliases"]])
        drawing = {"form": self.inputs.prompting.form, "drawing": settings.few_shot.model_dump()}
        return {"facts": listed, "sentences": self.inputs.sentences, **drawing}
