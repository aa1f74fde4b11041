"""Random elements, drawn anew for every model and every k: a null control beside `random`.

`random` is one static order of the elements: its sets are nested in k and the same in all cells, so that what it shows
may be the luck of one draw. Here no two cells share a draw, so that the spread over seeds holds that of the masks too.
"""

import zlib
from typing import TYPE_CHECKING

from sftlens.restoration.criteria import Criterion
from sftlens.restoration.methods import METHODS, PostHoc

if TYPE_CHECKING:
    from collections.abc import Callable

    from sftlens.config.stages.restoration import RestorationSettings
    from sftlens.restoration.apply import Method, Restorer, Reverted


def make(restorer: "Restorer", reverted: "Callable[[], Reverted]", settings: "RestorationSettings") -> "Method":
    """Return the restoration of k % of the elements at random: the seed, k and the fine-tuned model's values decide."""
    import torch

    from sftlens.restoration import topk
    from sftlens.restoration.apply import Restorer
    from sftlens.restoration.pairs import thinned
    from sftlens.restoration.ranking import hashed

    pair, ratio, fingerprint = restorer.pair, restorer.cut.ratio, 0
    for name in pair.names:
        values = thinned(pair.finetuned.get(name)).contiguous()
        fingerprint = zlib.crc32(values.view(torch.uint8).numpy().tobytes(), fingerprint)

    def keys(settings: "RestorationSettings", name: str, p: torch.Tensor, s: torch.Tensor, start: int) -> torch.Tensor:
        return hashed(settings.seed, f"redrawn {ratio:g} {fingerprint} {name}", start, p.numel(), p.device)

    order = Criterion("redrawn", "Drawn at random for this model and this k", REFERENCE, keys, settings=settings)
    return Restorer(pair, order, topk.select(pair, order, [ratio])[0])


REFERENCE = "arXiv 2311.03099, whose masks are random too"
METHODS.add(
    PostHoc(
        "redrawn",
        "Random elements are restored, drawn anew for every model and k, a null control",
        REFERENCE,
        make,
        own=True,
        uses=("seed",),
    )
)
