"""The mini study for a cluster: one model trained on one node, its twin on two."""

import copy
from typing import Any

MODELS = ("one", "two")
CELL = "results/mini/{}/mixed/n16/seed0/full"
TABLE = "results/mini/results.parquet"


def config(mini: dict[str, Any]) -> dict[str, Any]:
    """Return the mini study with two models that train with ZeRO-3 on two faked GPUs each: of one node, of two."""
    changed = copy.deepcopy(mini)
    tiny = changed["models"].pop("tiny") | {"templates": "config/relations.yaml"}
    changed["models"]["one"] = {**tiny, "launch": {"gpus_per_node": 2}}
    changed["models"]["two"] = {**tiny, "launch": {"nodes": 2, "gpus_per_node": 1}}
    changed["probing"]["max_templates"] = 2
    changed["finetuning"] |= {"zero_stage": 3, "checkpoint_steps": 1}
    changed["evaluation"] = {"reprobe": 0}
    changed["experiments"] = {"scaling": {"train_sets": ["mixed"], "scales": [16], "base": False}}
    return changed
