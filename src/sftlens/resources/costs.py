"""What each job of a study is expected to take: device time, bytes read and written, from geometry and rates.

The rates are the section `plan` of the configuration. `sftlens plan` sums what is expected; what a job may take at most
(`Costs.minutes`) is a multiple of it.
"""

from math import ceil, log, prod

from sftlens.config.rates import CpuRates, GpuRates
from sftlens.config.study import Model, Study
from sftlens.data.buckets import BUCKETS
from sftlens.doubts import DOUBTS
from sftlens.resources import amounts
from sftlens.resources.job import Cost, Job, Work
from sftlens.resources.memory import BYTES, STORED, computed, gpus, probers
from sftlens.restoration.methods import chosen
from sftlens.strategies import DEFAULT

STATE = 12
"""Bytes of a parameter in a saved training state: fp32 weights and AdamW's two moments."""
LOOKED_AT = 3
"""Splits of which facts are asked during a training: train, test, testood."""
CHANGES_PASSES, RESTORE_PASSES = 4, 3
"""How often sftlens changes and sftlens restore read both models."""
TASK_TRAIN, TASK_TEST = 7473, 1319
"""Examples of a task whose number is not stated: those of GSM8K."""
START, FACTOR, SHORTEST = 10, 4, 30
"""A limit: minutes for a slow start, how many times what is expected, and the least that is asked for, minutes."""


class Costs:
    """The costs of a study's jobs."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._rates = study.plan
        self._questions = amounts.questions(study)
        known = amounts.relations(study)
        self._relations = known["train"] + known["testood"]

    def of(self, job: Job) -> Cost:
        """Return what one job takes."""
        if job.rule == "all":
            return Cost(jobs=1)
        if not job.model or job.rule == "training_order":
            return Cost(1, cpu_seconds=self._rates.draw_seconds, written=self._rates.job_bytes)
        model = self._study.models[job.model]
        seconds, work, devices = self.seconds(job), self._work(job, model), self._devices(job, model)
        on_gpus, written = self._on_gpus(job, model), work.written + work.shared + self._rates.job_bytes
        return Cost(1, devices * seconds * on_gpus, devices * seconds * (not on_gpus), work.read, written)

    def seconds(self, job: Job) -> float:
        """Return what a job of a model takes from its start to its end, waiting in no queue."""
        model = self._study.models[job.model]
        work, rates = self._work(job, model), self._rates
        moving = work.read / rates.read + (work.written + work.shared / model.launch.nodes) / rates.write
        return (rates.gpu if self._on_gpus(job, model) else rates.cpu).start_seconds + moving + work.seconds

    def minutes(self, job: Job, attempt: int = 1) -> int:
        """Return the minutes that a job of a model asks for at the given attempt (from 1).

        A training or a probe that runs out of time goes on where it stopped, so that no try of one asks for more than
        `launch.longest_minutes`; another stage begins anew, with more time.
        """
        needed = max(SHORTEST, ceil(START + FACTOR * self.seconds(job) / 60))
        longest = self._study.models[job.model].launch.longest_minutes
        if job.rule == "finetune":
            return min(needed, longest)
        return min(needed * attempt, longest) if job.rule == "mastery" else needed * attempt

    def tuned(self, model: Model) -> float:
        """Return the bytes of a fine-tuned model as it is kept."""
        share = self._rates.delta_share if self._study.finetuning.keep == "deltas" else 1.0
        return share * self.trained(model)

    def trained(self, model: Model) -> float:
        """Return the bytes of a fine-tuned model as training writes it."""
        return float(BYTES[self._study.finetuning.dtype].weights * model.shape.parameters)

    def training_seconds(self, model: Model, job: Job) -> float:
        """Return the seconds of a training's steps and looks, without start, loading and saving."""
        settings, launch, rates = self._study.finetuning, model.launch, self._device(model)
        name = job.strategy.partition("@")[0] or DEFAULT
        strategy = self._study.strategy(name)
        rows = self.examples(job) * strategy.rows_per_row(strategy.settings)
        examples = settings.epochs * rows
        steps, computing = ceil(examples / settings.batch_size), min(launch.world_size, settings.batch_size)
        # 6 operations for each parameter and token (arXiv 2001.08361), 8 where activations are computed again.
        passes = 8 if settings.gradient_checkpointing else 6
        operations = passes * _computing(model) * examples * self._rates.sample_tokens
        # The frozen model reads each row once, before the first step.
        operations += 2 * _computing(model) * rows * self._rates.sample_tokens * bool(strategy.compared)
        if rule := strategy.recipe(settings).early_stopping:
            operations += 2 * _computing(model) * ceil(steps / rule.every) * rule.facts * self._rates.sample_tokens
        share = ceil(settings.batch_size / launch.world_size)
        rounds = ceil(share / (settings.micro_batch_size or share))
        overhead = steps * rounds * 3 * model.shape.layers * rates.layer_seconds
        # Stage 3 gathers the weights twice a step and shares the gradients out.
        exchanged = steps * 3.0 * STORED * model.shape.parameters if launch.world_size > 1 else 0.0
        exchange = rates.exchange if launch.nodes == 1 else rates.exchange_nodes
        # A look reads each of its facts anew for every token of the answer.
        asked, answer = self._study.evaluation, self._rates.answer_tokens
        looks = sum(step < steps for step in asked.during) + 2 if asked.during else 0
        facts = LOOKED_AT * asked.during_facts + asked.during_trained
        seen = min(ceil(facts / launch.world_size), self._questions["train"])
        looked = looks * self._generating(model, seen * answer * self._rates.sample_tokens, answer)
        return operations / (rates.operations * computing) + overhead + exchanged / exchange + looked

    def states(self, model: Model, job: Job) -> int:
        """Return how many states of a training are saved until it ends."""
        settings = self._study.finetuning
        by_steps = ceil(self.examples(job) * settings.epochs / settings.batch_size) // (
            settings.checkpoint_steps or 10**9
        )
        return int(self.training_seconds(model, job) / (60 * settings.checkpoint_minutes)) + by_steps

    def examples(self, job: Job) -> int:
        """Return how many examples a job trains on: a bucket is thought to hold a fifth of the train questions.

        How many a task's file has is not looked up: as many as a published one (GSM8K).
        """
        if job.train_set in self._study.tasks:
            return TASK_TRAIN if job.scale == "all" else int(job.scale)
        there = self._questions["train"] // (len(BUCKETS) if job.train_set in BUCKETS else 1)
        return there if job.scale == "all" else min(int(job.scale), there)

    def base(self, model: Model) -> float:
        """Return the bytes of a base model's weights."""
        return float((4 if model.source == "pretrain" else STORED) * model.shape.parameters)

    def _work(self, job: Job, model: Model) -> Work:
        study, settings, rates, count = self._study, self._study.finetuning, self._rates, model.shape.parameters
        base, quality = self.base(model), self._study.experiments.mastery
        if job.rule == "base" and model.source == "pretrain":
            # A fact's number of statements is log-uniform (docs/world.md).
            world, facts = study.world, sum(self._questions.values())
            stated = facts * (1 - world.unseen_share) * (world.max_exposure - 1) / max(log(world.max_exposure), 1e-9)
            extra = world.extra * (world.extra_statements + world.extra_questions)
            documents = stated + self._relations * (extra + world.calibration * world.calibration_statements)
            tokens = documents * rates.sentence_tokens * model.pretraining.epochs
            return Work(6 * _computing(model) * tokens / rates.cpu.operations, written=base)
        if job.rule == "base":
            downloads = model.source == "hub"
            return Work(downloads * base / rates.download, base, downloads * base)
        if job.rule == "choose_templates":
            facts, templates = study.world.calibration * self._relations, amounts.most_templates(study.templates)
            return Work(self._sampling(model, facts, templates), base)
        facts, templates = sum(self._questions.values()), amounts.templates(study, model)
        if model.source == "pretrain" and not model.templates:
            templates = min(templates, study.template_choice.seen + study.template_choice.held_out)
        if job.rule == "mastery":
            seconds = 0.0 if model.mastery else self._sampling(model, self._probed_in_full(facts), templates)
            return Work(seconds / probers(study, model), base)
        if job.rule == "mastery_quality":
            assert quality
            seconds = self._sampling(model, quality.retest, templates)
            tokens = facts * templates * (rates.sentence_tokens + rates.answer_tokens)
            passes = tokens / study.probing.batch_tokens
            return Work(seconds + quality.answer_probability * self._generating(model, tokens, passes), base)
        deltas = settings.keep == "deltas"
        if job.rule == "finetune":
            whole = self.trained(model)
            read = base * (1 if settings.zero_stage >= 3 else model.launch.nodes) + whole  # and to hash it
            packing = deltas * rates.pack_ns * 1e-9 * count
            states = float(self.states(model, job) * STATE * count)
            written = whole + deltas * self.tuned(model)
            return Work(self.training_seconds(model, job) + packing, read + deltas * (whole + base), written, states)
        # What is read to have the model of a cell, and decoded; then what each pass over two models takes.
        opened = self.tuned(model) + base * deltas if job.trained else base
        decoding, passing = job.trained * deltas * rates.decode_ns * 1e-9 * count, rates.pass_ns * 1e-9 * count
        if job.rule == "changes":
            passes = CHANGES_PASSES + study.restoration.null_draws
            return Work(passes * (decoding + passing), passes * (base + opened))
        if job.rule == "compare_changes":
            # All cells of the model side by side, once; and the gradient of the loss of a bucket.
            of_rule = [getattr(study.experiments, doubt.name) for doubt in DOUBTS if doubt.of_model == job.rule]
            counted = ("train_sets", "scales", "seeds", "strategies")
            cells = sum(prod(len(getattr(axes, name)) for name in counted) for axes in of_rule if axes)
            operations = 6 * _computing(model) * facts // len(BUCKETS) * rates.sample_tokens
            seconds = cells * (passing + deltas * rates.decode_ns * 1e-9 * count)
            seconds += operations / self._device(model).operations
            return Work(seconds, base + cells * (self.tuned(model) + base * deltas))
        if job.rule in ("divergence", "divergence_base"):
            # The token after the prompt of each best-known test fact; the base completes each of them first.
            half, batch = study.divergence, study.divergence.batch_tokens
            facts = self._questions["test"] // len(BUCKETS)
            tokens = facts * rates.sample_tokens
            if job.rule == "divergence":
                return Work(decoding + self._generating(model, tokens, ceil(tokens / batch)), opened)
            passes, completed = ceil(tokens / batch), facts * (rates.sentence_tokens + half.max_new_tokens)
            completing = self._generating(model, completed, passes * half.max_new_tokens)
            return Work(completing + self._generating(model, 2 * tokens, 2 * passes), base)
        asked = self._questions["test"] + self._questions["testood"] + (self.examples(job) if job.trained else 0)
        limit = study.evaluation.max_new_tokens
        held = ceil(asked * (rates.sample_tokens + limit) / study.evaluation.batch_tokens)
        seconds = self._generating(model, asked * (rates.sample_tokens + rates.answer_tokens), held * limit)
        seconds += self._sampling(model, study.evaluation.reprobe, templates) + self._tasks(model, job)
        passes = RESTORE_PASSES + bool(chosen(job.criterion)[0].matched) if job.rule == "restore" else 0
        seconds = seconds + (passes or 1) * decoding + passes * passing
        return Work(seconds, passes * (base + opened) if passes else opened, asked * rates.answer_bytes)

    def _tasks(self, model: Model, job: Job) -> float:
        """Seconds in which the examples of a cell's task are answered, test and dev, at n = 0 those of all tasks."""
        seconds, batch = 0.0, self._study.evaluation.batch_tokens
        for name, task in self._study.tasks.items():
            if not job.trained or name == job.train_set:
                limits = task.limits(name)
                tokens = (limits["sample"] or TASK_TEST) * limits["max_length"] * (2 if task.dev else 1)
                seconds += self._generating(model, tokens, ceil(tokens / batch) * limits["max_new_tokens"])
        return seconds

    def _probed_in_full(self, facts: int) -> int:
        """Return how many facts, probed in full, are as much work as probing so many by the method of the study."""
        probing = self._study.probing
        if probing.method == "fixed":
            return facts
        calibrating = min(facts, probing.calibration_facts)
        return calibrating + ceil((facts - calibrating) * self._rates.adaptive_share)

    def _sampling(self, model: Model, facts: int, templates: int) -> float:
        probing, rates = self._study.probing, self._rates
        prompts, drawn = facts * templates, probing.samples * probing.max_new_tokens
        tokens = prompts * (rates.sentence_tokens + drawn / rates.shared_prefixes)
        held = prompts * probing.samples * (rates.sentence_tokens + probing.max_new_tokens)
        return self._generating(model, tokens, ceil(held / probing.batch_tokens) * probing.max_new_tokens)

    def _generating(self, model: Model, tokens: float, passes: float) -> float:
        """Seconds of so many tokens in so many forward passes; layers on several GPUs work one after another."""
        rates, of = self._device(model), _computing(model)
        reading = computed(self._study, model) * of / rates.memory + model.shape.layers * rates.layer_seconds
        return 2 * of * tokens / rates.operations + passes * reading

    def _device(self, model: Model) -> GpuRates | CpuRates:
        return self._rates.gpu if model.launch.gpus_per_node else self._rates.cpu

    def _on_gpus(self, job: Job, model: Model) -> bool:
        return bool(model.launch.gpus_per_node) and job.rule not in ("base", "changes")

    def _devices(self, job: Job, model: Model) -> int:
        """Processes of a job, or the GPUs it holds."""
        if job.rule == "finetune":
            return model.launch.world_size
        processes = probers(self._study, model) if job.rule == "mastery" else 1
        several = 1 + (job.rule == "compare_changes")  # a gradient is as large as the weights
        return processes * (several * gpus(self._study, model) if self._on_gpus(job, model) else 1)


def _computing(model: Model) -> int:
    """Return the parameters that a token is multiplied with: all but the embedding it is looked up in."""
    looked_up = 0 if model.shape.tied else model.shape.vocab_size * model.shape.hidden_size
    return model.shape.parameters - looked_up
