# ruff: noqa: E402 - when each import happens is what this is about
"""What a process finds after importing what jobs import, with the imports postponed or not (argument: lean, plain).

Prints JSON; the keys of `early` are only there with `lean`, and say what was true before anything was asked for.
"""

import hashlib
import json
import sys
from pathlib import Path

from sftlens.runtime import lean_imports
from sftlens.runtime.postponed_modules import is_postponed

folder, lean = Path(sys.argv[2]), sys.argv[1] == "lean"
assert lean_imports.install() if lean else True

import torch

from sftlens import inference
from sftlens.models import checkpoints

model, tokenizer = checkpoints.load_model(folder), checkpoints.load_tokenizer(folder)
prompts = tokenizer(["Ada Loren was born in", "The capital of Norwenia is"])["input_ids"]
texts = tokenizer.batch_decode(inference.greedy(model, prompts, max_new_tokens=8, eos=2, batch_tokens=64))
logits = model(torch.tensor(prompts[:1])).logits
weight = torch.nn.Parameter(torch.ones(3))
optimizer = torch.optim.AdamW([weight], lr=0.1)
(weight**2).sum().backward()
optimizer.step()
checkpoints.save_model(model, tokenizer, folder / "saved")
found = {
    "texts": texts,
    "logits": hashlib.sha256(logits.detach().numpy().tobytes()).hexdigest(),
    "weight": weight.tolist(),
    "files": {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted((folder / "saved").iterdir())},
}
early = {}
if lean:
    waiting = [name for name in lean_imports.postponed() if name in sys.modules and is_postponed(sys.modules[name])]
    early = {"waiting": waiting, "all": "__all__" in vars(sys.modules["transformers"])}

shape = lean_imports.with_meta_kernels(lambda: torch.histc(torch.empty(5, device="meta"), bins=7)).shape
generator = torch.Generator()
found |= {"shape": list(shape), "seeded": torch.rand(2, generator=generator.manual_seed(1)).tolist()}

import transformers
from transformers import GemmaConfig, masking_utils


@torch.compile(backend="eager", fullgraph=True)
def twice(x: torch.Tensor) -> torch.Tensor:
    return x + x


@torch.compiler.disable
def broken(x: torch.Tensor) -> torch.Tensor:
    return x * int(x.sum())


found |= {
    "compiled": twice(torch.arange(3)).tolist(),
    "disabled": broken(torch.arange(3)).tolist(),
    "blocks": masking_utils.BlockMask.from_kv_blocks.__qualname__,
    "config": GemmaConfig.model_type,
    "names": sorted(transformers.__all__),
    "places": sorted(transformers._class_to_module.items()),
    "listed": sorted(set(dir(transformers.models)) - {"__warningregistry__"}),
}
kernels = {name: entry.fake_impl.kernel for name, entry in torch._library.simple_registry.singleton._data.items()}
found["registered"] = {name: kernel.source for name, kernel in kernels.items() if kernel and name.startswith("prims:")}
from scipy.optimize import linear_sum_assignment
from transformers.loss import loss_for_object_detection

found["assigned"] = [part.tolist() for part in loss_for_object_detection.linear_sum_assignment([[1, 0], [0, 1]])]
found["same"] = loss_for_object_detection.linear_sum_assignment is linear_sum_assignment
print(json.dumps({"found": found, "early": early}))
