"""Set the first k % of a fine-tuned model's elements back to their pre-trained values (paper section 6).

    sftlens restore BASE FINETUNED --ratio 20 --out DIR
    sftlens restore BASE FINETUNED --ratio 5 --ratio 20 --facts mastery.parquet --out DIR

BASE and FINETUNED are Hugging Face folders, base.json pointers or hub ids (org/name@revision), and are only read.
Without --facts the restored model is written: DIR is a Hugging Face folder (DIR/k5, DIR/k20 for several ratios), whose
README.md says what it is. With --facts it is evaluated in memory, which writes answers.parquet and summary.json to the
same place, and the model is written only with --save-model. --level-map FILE writes, with or without --out, which
of the ratios restores each parameter: a safetensors file with one byte per parameter of the region, the place (from 0)
of the smallest such ratio in the metadata's list `ratios`, 255 for none.

--criterion interpolation is the control: the whole region moves towards the base (WiSE-FT), as far as reverts as much
of the sum of squared changes as restoring --ratio percent by `relative` does (whose --changes it takes).
With --facts, summary.json says how much of the change was reverted: of elements, of the sums of |s - p| / |p|, |s - p|
and (s - p)^2, and the distance to the base that remains.
"""

import argparse
import sys
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sftlens import files
from sftlens.commands import options, program
from sftlens.config.stages.evaluation import EvaluationSettings
from sftlens.config.stages.restoration import RestorationSettings
from sftlens.errors import ConfigError, DataError
from sftlens.models.checkpoints import load_model, load_tokenizer
from sftlens.models.delta.reader import open_tensors
from sftlens.models.placement import ranking_device
from sftlens.restoration import criteria, methods, reverted, topk
from sftlens.restoration.apply import Method, Restorer
from sftlens.restoration.export import check_file, check_levels, check_out, save_levels, save_restored
from sftlens.restoration.pairs import Pair
from sftlens.runtime import provenance
from sftlens.runtime.progress import bar

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def arguments() -> argparse.Namespace:
    """Return the command line."""
    parser = options.parser(__doc__, RestorationSettings, EvaluationSettings)
    parser.add_argument("base", type=options.Model, help="pre-trained model: folder or hub id")
    parser.add_argument("finetuned", type=options.Model, help="model fine-tuned from it")
    parser.add_argument("--ratio", type=float, action="append", required=True, help="k in percent; repeatable")
    options.add_choice(parser, "--criterion", "relative", methods.descriptions())
    parser.add_argument("--region", default="transformer", help="parameters that are ranked and restored")
    parser.add_argument("--changes", type=Path, help="folder made by sftlens changes: saves one pass")
    parser.add_argument("--facts", type=Path, help="facts with buckets (mastery.parquet): evaluate on them")
    options.add_measuring(parser)
    parser.add_argument("--save-model", action="store_true", help="write the restored model also with --facts")
    parser.add_argument("--level-map", type=Path, help="file for the smallest ratio that restores each parameter")
    parser.add_argument("--out", type=Path, help="folder for the results")
    return parser.parse_args()


def read_histogram(folder: Path) -> topk.Counts:
    """Return the coarse histogram that sftlens changes wrote. Raises DataError on a damaged one."""
    path = folder / "histogram.parquet"
    table = files.read_parquet(path, ["bin", "count"])
    if not table["bin"].between(0, topk.BINS - 1).all():
        raise DataError(f"{path}: column 'bin' is out of range; make it again with sftlens changes")
    counts = np.zeros(topk.BINS, dtype=np.int64)
    counts[table["bin"].to_numpy()] = table["count"].to_numpy()
    return counts


class Job:
    """One call of this script: models are opened and ranked once for all ratios."""

    def __init__(self, args: argparse.Namespace) -> None:
        """Open and check the models. Raises ModelError, ConfigError."""
        self.args = args
        self.settings = options.settings(args, RestorationSettings)
        self.answering = options.settings(args, EvaluationSettings)
        self.ratios = sorted(set(args.ratio))
        if self.ratios[0] < 1:
            text = f"--ratio is a percentage: {self.ratios[0]:g} restores {self.ratios[0]:g} % of the parameters"
            print(f"restore: {text}; for that share of all write {100 * self.ratios[0]:g}", file=sys.stderr)
        self.saves = args.save_model or args.facts is None
        base, finetuned = open_tensors(args.base), open_tensors(args.finetuned)
        self.posthoc, criterion = methods.chosen(args.criterion)
        self.criterion = criteria.make(criterion.name, self.settings)
        self.check([base.folder, finetuned.folder])
        self.progress = bar(description="restore", unit="element")
        self.pair = Pair(base, finetuned, args.region, progress=self.progress.update)
        self.facts, self.train = program.asked(args)
        self.inputs = program.contents(args, "base", "finetuned", "templates", facts=self.facts, train=self.train)
        program.refuse_same(args.base, args.finetuned, self.inputs)

    def check(self, models: list[Path]) -> None:
        """Refuse ratios and places to write to before anything is read."""
        for ratio in self.ratios:
            topk.count(0, ratio)
            if self.args.out:
                check_out(self.out(ratio), models, whole=self.saves)
        if self.args.level_map:
            if self.posthoc.matched:
                raise ConfigError(f"--level-map: --criterion {self.posthoc.name} restores no single parameter")
            check_levels(self.ratios)
            check_file(self.args.level_map, models)
        if not (self.args.out or self.args.level_map):
            raise ConfigError("option --out: is missing; give a folder for the results, or a file with --level-map")

    def out(self, ratio: float) -> Path:
        """Return the folder of one ratio."""
        return self.args.out if len(self.ratios) == 1 else self.args.out / f"k{ratio:g}"

    @cached_property
    def cuts(self) -> dict[float, topk.Cut]:
        """The cut of each ratio."""
        if given := self.args.changes:
            found = topk.cuts(self.pair, self.criterion, read_histogram(given), self.ratios)
        else:
            found = topk.select(self.pair, self.criterion, self.ratios)
        return {cut.ratio: cut for cut in found}

    def method(self, ratio: float) -> Method:
        """Return what is done at one ratio."""
        restorer = Restorer(self.pair, self.criterion, self.cuts[ratio])
        return self.posthoc.make(restorer, lambda: reverted.measure(restorer, self.settings.epsilon), self.settings)

    def compute(self, ratio: float, folder: Path) -> None:
        """Fill `folder` with the results of one ratio: `model/`, or answers.parquet and summary.json."""
        self.pair.device = ranking_device(self.args.device)  # now: CUDA may be asked once the GPUs are lent
        method = self.method(ratio)
        metrics: list[dict[str, object]] = []
        if self.saves:
            folder = folder / "model"
            used = self.settings.model_dump(include=set(methods.uses(self.args.criterion)))
            save_restored(method, folder, method.card(self.inputs, used))
        if self.args.facts:
            model = load_model(self.args.finetuned, device=self.args.device, transform=method)
            tokenizer = load_tokenizer(self.args.finetuned, self.args.bos)
            metrics = self.evaluate(model, tokenizer, folder, of=self.content(ratio))
            metrics += reverted.measure(method, self.settings.epsilon).metrics(self.pair.elements())
        where = {"criterion": self.args.criterion, "region": self.args.region, "ratio": ratio}
        summary = provenance.summary(
            "restore",
            settings=self.depends(ratio),
            inputs=self.inputs,
            metrics=[{**where, **row} for row in metrics],
            method={"name": self.posthoc.name, **method.facts},
        )
        files.write_json(folder / "summary.json", summary)

    def evaluate(
        self, model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", out: Path, of: str
    ) -> list[dict[str, object]]:
        """Ask the restored model, whose content is `of`; write the tables into `out` and return the rows of metrics."""
        from sftlens.evaluation import suite

        with bar(description="evaluate", unit="question") as progress:
            how = {"reprobing_as": program.reprobing(self.args, of), "progress": progress.update}
            return suite.measure(out, model, tokenizer, self.facts, self.train, self.answering, **how)

    def content(self, ratio: float) -> str:
        """Return what stands for the content of the restored model."""
        named = self.posthoc.stream or self.args.criterion
        names = (self.inputs["base"], self.inputs["finetuned"], named, self.args.region)
        return " ".join([*names, f"{ratio:g}", str(self.settings.seed)])

    def save_levels(self, folder: Path) -> None:
        """Write the level map into `folder`."""
        metadata = {"criterion": self.args.criterion, "region": self.args.region, "format": "pt"}
        metadata |= {name: self.inputs[name] for name in ("base", "finetuned")}
        ascending = [self.cuts[ratio] for ratio in self.ratios]
        save_levels(self.pair, self.criterion, ascending, metadata, folder / "levels")

    def depends(self, ratio: float) -> dict[str, object]:
        """Return the settings that the result of one ratio depends on."""
        axes = {"criterion": self.args.criterion, "region": self.args.region, "ratio": ratio}
        asked = {"bos": self.args.bos, "scale": self.args.scale, "model": self.saves}
        answering = self.answering.model_dump(exclude={"batch_tokens"})
        return {**axes, **asked, **self.settings.model_dump(), **answering, **program.reprobing_settings(self.args)}

    def run(self) -> None:
        """Make the results of each ratio, and the level map."""
        if self.args.level_map:
            axes = {"criterion": self.args.criterion, "region": self.args.region, "ratios": self.ratios}
            program.stage(
                self.args,
                "levels",
                outputs={"levels": self.args.level_map},
                inputs=self.inputs,
                settings={**axes, **self.settings.model_dump()},
                compute=self.save_levels,
            )
        for ratio in self.ratios if self.args.out else []:
            out = self.out(ratio)
            outputs = (
                {"model": out} if self.saves else {name: out / name for name in ("answers.parquet", "summary.json")}
            )
            program.stage(
                self.args,
                "restore",
                outputs=outputs,
                inputs=self.inputs,
                settings=self.depends(ratio),
                compute=partial(self.compute, ratio),
            )


def main() -> None:
    """Restore one model at one or several ratios."""
    Job(arguments()).run()
