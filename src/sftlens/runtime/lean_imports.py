"""A shorter start-up of jobs: what torch and transformers load but our jobs do not use waits until it is used.

A LLaMA of transformers imports the compiler of torch.compile, sympy, scipy's optimisers, sharded tensors, and looks
through the source files of every model there is: twice as long as importing torch itself, in each of many small jobs.
The table below was written for the versions it names; with any others everything is imported as usual.
"""

import functools
import sys
from collections.abc import Callable
from importlib import import_module, metadata
from types import ModuleType
from typing import Any, TypeVar

from sftlens.runtime import start_up_patches
from sftlens.runtime.postponed_modules import Finder, Lent, is_postponed, load

VERSIONS = {"torch": "2.13.0", "transformers": "5.23.0"}
"""Public versions; a local part such as +cpu does not matter."""
COMPILER = "torch._dynamo"
META_KERNELS = "torch._meta_registrations"
"""Operations on tensors without values that are written in Python, with the decompositions that they rest on."""
SHAPES = "torch.fx.experimental.symbolic_shapes"
"""Sizes as symbols: what needs sympy."""

PATCHES = {
    "torch._library.utils": start_up_patches.source_of_caller,
    "torch._library.opaque_object": start_up_patches.generators,
    "transformers.utils.import_utils": start_up_patches.scan_late,
}
"""What is changed in a module when it has been imported."""

Decorator = Callable[..., Any]
T = TypeVar("T")


def _lent(importers: str, *names: str) -> Lent:
    return Lent(importers, frozenset(names))


class Marks:
    """Decorators of torch.compile, used before it is loaded: until then nothing is compiled, so they can wait."""

    def __init__(self) -> None:
        self._waiting: list[tuple[str, Any]] = []

    def waiting(self, name: str) -> Decorator:
        """Return a decorator that marks a function when the compiler is loaded."""

        def mark(function: Any) -> Any:
            self._waiting.append((name, function))
            return function

        return mark

    def apply(self, compiler: ModuleType) -> None:
        """Mark what waits."""
        for name, function in self._waiting:
            getattr(compiler, name)(function)


def disable(function: Any = None, recursive: bool = True, **options: Any) -> Any:
    """Return a function that is never compiled; before the compiler is loaded, none is."""
    if function is None:
        return functools.partial(disable, recursive=recursive, **options)
    disabled: list[Any] = []

    @functools.wraps(function)
    def uncompiled(*args: Any, **kwargs: Any) -> Any:
        if not disabled:
            compiler = sys.modules[COMPILER]
            if is_postponed(compiler):
                return function(*args, **kwargs)
            disabled.append(compiler.disable(function, recursive, **options))
        return disabled[0](*args, **kwargs)

    return uncompiled


def plain(name: str, result: Callable[..., Any], kind: type) -> Callable[..., Any]:
    """Return what does for the function `name` of symbolic shapes while there are no symbols.

    It is `result` for values of the type `kind`, or tuples of them; for others the real one is loaded.
    """

    def settled(*values: Any, **options: Any) -> Any:
        singles = [one for value in values for one in (value if isinstance(value, tuple) else (value,))]
        if not options and all(type(single) is kind for single in singles):
            return result(*values)
        shapes = import_module(SHAPES)
        load(shapes)
        return getattr(shapes, name)(*values, **options)

    return settled


def _shapes() -> Lent:
    """Without symbols every condition is known, and no size is a nested one."""
    conditions = ("expect_true", "guard_bool", "guard_or_false", "guard_or_true", "guard_size_oblivious")
    early = {name: plain(name, bool, bool) for name in (*conditions, "statically_known_true")}
    early |= {
        "sym_and": plain("sym_and", lambda *all_of: all(all_of), bool),
        "sym_or": plain("sym_or", lambda *any_of: any(any_of), bool),
        "sym_eq": plain("sym_eq", lambda a, b: a == b, int),
        "is_nested_int": plain("is_nested_int", lambda size: False, int),
    }
    names = frozenset({"guard_scalar", "guarding_hint_or_throw", "has_guarding_hint"})
    return Lent("torch.", names, frozenset({"GuardOnDataDependentSymNode"}), early)


def _compiler() -> Lent:
    marks = Marks()
    early: dict[str, Any] = {name: marks.waiting(name) for name in ("allow_in_graph", "assume_constant_result")}
    early |= {"disable": disable, "graph_break": lambda msg="": None}
    return Lent(substitutes=early, loaded=marks.apply)


def postponed() -> dict[str, Lent]:
    """Return the modules that wait, and what each lends meanwhile."""
    return {
        COMPILER: _compiler(),
        f"{COMPILER}._trace_wrapped_higher_order_op": _lent("transformers.", "TransformGetItemToIndex"),
        f"{COMPILER}.eval_frame": _lent("accelerate.", "OptimizedModule"),
        f"{COMPILER}.trace_rules": Lent(substitutes={"clear_lru_cache": lambda: None}),
        SHAPES: _shapes(),
        "torch.nn.attention.flex_attention": _lent(
            "transformers.", "AuxRequest", "BlockMask", "create_block_mask", "flex_attention"
        ),
        "torch.distributed._composable": Lent(),
        "torch.distributed._composable.fsdp": _lent("transformers.", "fully_shard"),
        "torch.distributed.checkpoint": Lent(),
        "torch.distributed.checkpoint.hf_storage": _lent(
            "transformers.", "HuggingFaceStorageReader", "HuggingFaceStorageWriter"
        ),
        "torch.distributed.tensor": _lent(
            "transformers.", "DTensor", "Partial", "Replicate", "Shard", "distribute_tensor"
        ),
        "torch.distributed.tensor._utils": _lent("transformers.", "compute_local_shape_and_global_offset"),
        "torch.distributed.tensor.placement_types": _lent("transformers.", "Shard", "_StridedShard"),
        "torch.distributed.fsdp": _lent("transformers.", "CPUOffloadPolicy", "MixedPrecisionPolicy"),
        "torch.distributed.fsdp.fully_sharded_data_parallel": _lent("accelerate.", "FullyShardedDataParallel"),
        "transformers.distributed.expert_parallel": _lent("transformers.", "apply_expert_parallelism"),
        "transformers.distributed.tensor_parallel": _lent(
            "transformers.",
            "apply_tensor_parallelism",
            "gather_state_dict_for_save",
            "get_kv_heads_per_rank",
            "verify_tp_plan",
        ),
        "transformers.integrations.deepgemm": _lent(
            "transformers.",
            "deepgemm_bf16_experts_forward",
            "deepgemm_fp8_fp4_experts_forward",
            "deepgemm_fp8_fp4_linear",
            "deepgemm_fp8_fp4_megamoe_experts_forward",
            "is_deepgemm_loadable",
            "is_sm100",
        ),
        "transformers.integrations.flex_attention": _lent("transformers.", "flex_attention_forward"),
        "transformers.integrations.sonicmoe": _lent("transformers.", "sonicmoe_experts_forward"),
        META_KERNELS: Lent(),
        "sympy": _lent("torch._prims_common", "Basic"),
        "scipy": Lent(),
        "scipy.optimize": _lent("transformers.", "linear_sum_assignment"),
        "httpx._main": _lent("httpx", "main"),
    }


def with_meta_kernels(make: Callable[[], T]) -> T:
    """Return what `make` returns; it is called again where it needs kernels of tensors without values that waited."""
    try:
        return make()
    except NotImplementedError:
        kernels = sys.modules.get(META_KERNELS)
        if kernels is None or not is_postponed(kernels):
            raise
        load(kernels)
        return make()


def install() -> bool:
    """Postpone what can wait, in this process. Returns False, having done nothing, with other versions."""
    if any(_version(package) != version for package, version in VERSIONS.items()):
        return False
    sys.meta_path.insert(0, Finder(postponed(), PATCHES))
    return True


def _version(package: str) -> str:
    try:
        return metadata.version(package).partition("+")[0]
    except metadata.PackageNotFoundError:
        return ""
