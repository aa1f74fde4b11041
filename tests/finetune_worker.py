"""Run by torchrun in tests/test_finetuning.py: fine-tunes once for each ZeRO stage and micro-batch size."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

from sftlens.config.stages.training import FinetuneSettings
from sftlens.inference.prompts import Sample
from sftlens.training import deepspeed_engine, loop


def main(job_file: Path) -> None:
    """Do the runs of a job file; each writes its model and rank 0's report to its own folder."""
    job = json.loads(job_file.read_text())
    samples = [Sample(**sample) for sample in job["samples"]]
    with deepspeed_engine.process_group() as process:  # joined once for all runs
        for out, values in job["runs"].items():
            settings = FinetuneSettings(**values)
            report = loop.finetune(Path(job["model"]), samples, settings, None, Path(out), job["seed"])
            if process.rank == 0:
                Path(f"{out}.json").write_text(json.dumps(asdict(report)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
