"""Early stopping: the weights that answer dev facts best are kept, and training stops when they are no more beaten."""

from collections.abc import Sequence
from typing import Any

import torch

from sftlens.config.stages.training import EarlyStopping, FinetuneSettings
from sftlens.inference.prompts import Sample
from sftlens.training.deepspeed_engine import Process
from sftlens.training.resume import masters, refresh
from sftlens.training.step import answer_loss, micro_batch_plan, padded


class BestWeights:
    """This process' part of the weights with the lowest loss on dev facts so far."""

    def __init__(self, engine: Any, dev: Sequence[Sample], settings: FinetuneSettings, process: Process) -> None:
        """Take the engine and the dev samples; without `settings.early_stopping` nothing is looked at."""
        self._engine, self._dev, self._process = engine, dev, process
        self._size, _ = micro_batch_plan(settings, process.world_size)
        self._rule: EarlyStopping | None = settings.early_stopping
        self.kept: list[torch.Tensor] = []
        """Copies of the fp32 weights, in main memory; empty before the first look."""

    def look(self, number: int, steps: int, losses: list[tuple[int, float]]) -> bool:
        """After step `number` of `steps`: append (number, loss) if it is time; return whether training ends here.

        Every process must call it, and all come to the same result. `losses` are those of the looks so far, also of a
        run that was resumed.
        """
        if not self._rule or (number % self._rule.every and number < steps):
            return False
        losses.append((number, self._loss()))
        best = min(range(len(losses)), key=lambda i: losses[i][1])
        if best == len(losses) - 1:
            self.kept = [weight.detach().to("cpu", copy=True) for weight in masters(self._engine)]
        return len(losses) - 1 - best >= self._rule.patience

    def bring_back(self) -> None:
        """Give the engine the best weights."""
        if self._rule:
            for weight, best in zip(masters(self._engine), self.kept, strict=True):
                weight.data.copy_(best)
            refresh(self._engine)

    def _loss(self) -> float:
        """Return the mean negative log-likelihood of the answer tokens of all dev samples, nats."""
        mine, world = self._dev[self._process.rank :: self._process.world_size], self._process.world_size
        total = torch.zeros((), dtype=torch.float64, device=self._process.device)
        self._engine.eval()
        # At ZeRO stage 3 all processes must compute equally often, so that one with fewer samples computes padding.
        for start in range(0, -(-len(self._dev) // world), self._size):
            with torch.no_grad():
                total += answer_loss(self._engine, *padded(mine[start : start + self._size], total.device))
        self._engine.train()
        torch.distributed.all_reduce(total)
        return float(total) / sum(sample.supervised for sample in self._dev)
