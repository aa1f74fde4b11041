"""Restore the pre-trained values of k % of a fine-tuned model's parameters (paper section 6).

    sftlens restore BASE FINETUNED --ratio 20 --out DIR
    sftlens restore BASE FINETUNED --ratio 5 --ratio 20 --facts mastery.parquet --out DIR

BASE and FINETUNED are Hugging Face folders, base.json pointers or hub ids (org/name@revision), and are only read.
Without --facts the restored model is written: DIR is a Hugging Face folder (DIR/k5, DIR/k20 for several ratios), whose
README.md says what it is. With --facts it is evaluated in memory, which writes answers.parquet and summary.json to the
same place, and the model is written only with --save-model. --level-map FILE writes, with or without --out, which
of the ratios restores each parameter: a safetensors file with one byte per parameter of the region, the position (from
0) of the smallest such ratio in the metadata's list `ratios`, 255 for none.

--criterion interpolation is the control: the whole region moves towards the base (WiSE-FT), as far as reverts as much
of the sum of squared changes as restoring --ratio percent by `relative` does (whose --changes it takes).
--criterion spectral and module-wise rank nothing and go --ratio percent of a way of their own; each has a control, such
as spectral-control.
With --facts, summary.json gives the share of the update reverted: of elements, of the sums of |s - p| / |p|, |s - p|
and (s - p)^2, and the distance to the base that remains.
"""

import argparse
import sys
import time
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from sftlens import files
from sftlens.commands import options, program
from sftlens.commands.measure import evaluate
from sftlens.config.stages.evaluation import EvaluationSettings
from sftlens.config.stages.restoration import RestorationSettings
from sftlens.errors import ConfigError, DataError
from sftlens.models.checkpoints import load_model, load_tokenizer
from sftlens.models.delta.reader import open_tensors
from sftlens.models.loading.placement import ranking_device
from sftlens.restoration import criteria, methods, topk
from sftlens.restoration.apply import Restorer, Reverted, reverted
from sftlens.restoration.cuts import NOTHING
from sftlens.restoration.export import check_file, check_levels, check_out, save_levels, save_restored
from sftlens.restoration.methods import METHODS, RESTORE
from sftlens.restoration.pairs import Pair
from sftlens.runtime import provenance
from sftlens.runtime.progress import bar


def main() -> None:
    parser = options.parser(__doc__, RestorationSettings, EvaluationSettings)
    parser.add_argument("base", type=options.Model, help="pre-trained model: folder or hub id")
    parser.add_argument("finetuned", type=options.Model, help="model fine-tuned from it")
    parser.add_argument("--ratio", type=float, action="append", required=True, help="k in percent; repeatable")
    options.add_choice(parser, "--criterion", "relative", methods.descriptions())
    parser.add_argument("--region", default="transformer", help="parameters that are ranked and restored")
    parser.add_argument("--changes", type=Path, help="folder made by sftlens changes: saves one pass")
    parser.add_argument("--facts", type=Path, help="facts with buckets (mastery.parquet): evaluate on them")
    options.add_evaluation(parser)
    parser.add_argument("--save-model", action="store_true", help="write the restored model also with --facts")
    parser.add_argument("--level-map", type=Path, help="file for the smallest ratio that restores each parameter")
    parser.add_argument("--out", type=Path, help="folder for the results")
    restoring = Restoring(parser.parse_args())
    if restoring.args.level_map:
        restoring.map_levels()
    for ratio in restoring.ratios if restoring.args.out else []:
        restoring.restore(ratio)


class Restoring:
    """One call of this program: models are opened and ranked once for all ratios."""

    def __init__(self, args: argparse.Namespace) -> None:
        """Open and check the models, ratios and outputs. Raises ModelError, ConfigError, DataError."""
        self.args, self.ratios = args, sorted(set(args.ratio))
        self.settings = options.settings(args, RestorationSettings)
        self.answering = options.settings(args, EvaluationSettings)
        if (low := self.ratios[0]) < 1:
            text = f"--ratio is a percentage: {low:g} restores {low:g} % of the parameters"
            print(f"restore: {text}; for that share of all write {100 * low:g}", file=sys.stderr)
        self.saves = args.save_model or args.facts is None
        base, finetuned = open_tensors(args.base), open_tensors(args.finetuned)
        self.posthoc, criterion = methods.chosen(args.criterion)
        self.criterion = criteria.make(criterion.name, self.settings)
        # Ratios and outputs are refused before anything is read.
        models = [base.folder, finetuned.folder]
        for ratio in self.ratios:
            topk.count(0, ratio)
            if args.out:
                check_out(self.out(ratio), models, whole=self.saves)
        if args.level_map:
            if self.posthoc.name != RESTORE:
                raise ConfigError(
                    f"--level-map: --criterion {self.posthoc.name} restores no nested sets of parameters; "
                    f"choose one of {', '.join(criteria.CRITERIA.names())}"
                )
            check_levels(self.ratios)
            check_file(args.level_map, models)
        if not (args.out or args.level_map):
            raise ConfigError("option --out: is missing; give a folder for the results, or a file with --level-map")
        self.pair = Pair(base, finetuned, args.region, progress=bar(description="restore", unit="element").update)
        self.facts, self.train = evaluate.questions(args, self.answering)
        self.tests = evaluate.task_tests(args)
        tables = {"facts": self.facts, "train": self.train, **evaluate.tables_of(self.tests)}
        self.inputs = program.contents(args, "base", "finetuned", "templates", **tables)
        program.refuse_same(args.base, args.finetuned, self.inputs)
        self.computing = program.computing(args, args.finetuned) if args.facts else {}

    def out(self, ratio: float) -> Path:
        """Return the folder of one ratio."""
        return self.args.out if len(self.ratios) == 1 else self.args.out / f"k{ratio:g}"

    @cached_property
    def cuts(self) -> dict[float, topk.Cut]:
        """The cut of each ratio, from the histogram in --changes if there is one. Raises DataError on a damaged one."""
        if not self.args.changes:
            return {cut.ratio: cut for cut in topk.select(self.pair, self.criterion, self.ratios)}
        path = self.args.changes / "histogram.parquet"
        table = files.read_parquet(path, ["bin", "count"])
        for name, last in (("bin", topk.BINS - 1), ("count", np.iinfo(np.int64).max)):
            if table[name].dtype.kind not in "iu" or not table[name].between(0, last).all():
                raise DataError(f"{path}: column {name!r} holds other numbers; make it again with sftlens changes")
        counts = np.zeros(topk.BINS, dtype=np.int64)
        counts[table["bin"].to_numpy()] = table["count"].to_numpy()
        return {cut.ratio: cut for cut in topk.cuts(self.pair, self.criterion, counts, self.ratios)}

    def restore(self, ratio: float) -> None:
        """Make the results of one ratio: the model, or answers.parquet and summary.json."""
        args, out = self.args, self.out(ratio)
        depends = {"criterion": args.criterion, "region": args.region, "ratio": ratio}
        depends |= {"bos": args.bos, "scale": args.scale, "model": self.saves, **self.settings.model_dump()}
        depends |= self.answering.model_dump(exclude={"batch_tokens"})
        depends |= evaluate.settings_of(args, self.tests) | self.computing
        outputs = {"model": out} if self.saves else {name: out / name for name in ("answers.parquet", "summary.json")}
        program.stage(args, "restore", outputs, self.inputs, depends, partial(self._compute, ratio, depends))

    def _compute(self, ratio: float, depends: dict[str, Any], folder: Path) -> None:
        args = self.args
        self.pair.device = ranking_device(args.device)  # now: CUDA may be asked once the GPUs are lent
        start = time.process_time()
        # A method that ranks nothing is given a restoration of nothing, which holds the models and k.
        cut = self.cuts[ratio] if self.posthoc.ranked else topk.Cut(ratio, 0, NOTHING)
        restorer = Restorer(self.pair, self.criterion, cut)

        def reverts() -> Reverted:
            other = self.posthoc.matched and not self.posthoc.ranked
            matched = METHODS.get(self.posthoc.matched).make(restorer, reverts, self.settings) if other else restorer
            return reverted(matched, self.settings.epsilon)

        method = self.posthoc.make(restorer, reverts, self.settings)
        metrics: list[dict[str, object]] = []
        choosing = time.process_time() - start
        spent: dict[str, float] = {}
        if self.saves:
            folder = folder / "model"
            used = self.settings.model_dump(include=set(methods.uses(args.criterion)))
            save_restored(method, folder, method.card(self.inputs, used))
        if args.facts:
            model = load_model(args.finetuned, device=args.device, transform=method, compute=args.compute_dtype)
            how = (model, load_tokenizer(args.finetuned, args.bos), self.facts, self.train, self.answering, self.tests)
            # What names the restored model's content: it lies nowhere.
            names = (self.inputs["base"], self.inputs["finetuned"], self.posthoc.stream or args.criterion, args.region)
            identity = " ".join([*names, f"{ratio:g}", str(self.settings.seed)])
            metrics = evaluate.evaluate(args, folder, *how, identity=identity)
            start = time.process_time()
            metrics += reverted(method, self.settings.epsilon).metrics(self.pair.elements())  # one pass, as loading is
            spent = {"restoring_cpu_seconds": round(choosing + time.process_time() - start, 3)}
        where = {name: depends[name] for name in ("criterion", "region", "ratio")}
        rows, done = [{**where, **row} for row in metrics], {"name": self.posthoc.name, **method.facts}
        summary = provenance.summary("restore", settings=depends, inputs=self.inputs, metrics=rows, method=done)
        summary["run"] |= spent
        files.write_json(folder / "summary.json", summary)

    def map_levels(self) -> None:
        """Write which of the ratios restores each parameter."""
        axes = {"criterion": self.args.criterion, "region": self.args.region}
        models = {name: self.inputs[name] for name in ("base", "finetuned")}

        def compute(folder: Path) -> None:
            ascending = [self.cuts[ratio] for ratio in self.ratios]
            metadata = {**axes, "format": "pt", **models}
            save_levels(self.pair, self.criterion, ascending, metadata, folder / "levels")

        key = {**axes, "ratios": self.ratios, **self.settings.model_dump()}
        program.stage(self.args, "levels", {"levels": self.args.level_map}, self.inputs, key, compute)
