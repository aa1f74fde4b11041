"""Store a fine-tuned model as its difference from the base model, and rebuild it bit for bit.

  sftlens delta pack BASE FINETUNED --out DIR
  sftlens delta unpack DELTA --out DIR [--base BASE]

BASE and FINETUNED are Hugging Face folders, base.json pointers or hub ids (org/name@revision), and are only read. A
delta is a folder with configuration, tokenizer, delta.json and delta.bin; every program of sftlens opens it like a
checkpoint, as long as the base lies where delta.json says (key `base.path`, relative to the folder). A base that was
changed is refused.
"""

import argparse
import sys
from pathlib import Path

from sftlens.commands import headline, options
from sftlens.models.delta import manifest, packing
from sftlens.models.delta.manifest import base_of
from sftlens.models.identity import describe, identity, resolve
from sftlens.restoration.export import check_out
from sftlens.runtime import progress


def main() -> None:
    parser = options.Parser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    pack = commands.add_parser("pack", help="make a delta")
    pack.add_argument("base", type=options.Model, help="the model that was fine-tuned")
    pack.add_argument("finetuned", type=options.Model, help="the result")
    unpack = commands.add_parser("unpack", help="make the checkpoint again")
    unpack.add_argument("delta", type=Path, help="folder with delta.json")
    unpack.add_argument("--base", type=options.Model, help="its base (default: where delta.json says)")
    for command in (pack, unpack):
        command.add_argument("--out", type=Path, required=True, help="new folder")
    args = parser.parse_args()
    base = args.base or base_of(args.delta)
    if args.out.is_dir() and _made(args, base):
        print(f"delta: {args.out} holds just that already; it is left as it is", file=sys.stderr)
        return
    with progress.bar(description=args.command, unit="element") as bar:
        if args.command == "pack":
            check_out(args.out, [resolve(args.base), resolve(args.finetuned)], whole=True)
            packing.pack(args.base, args.finetuned, args.out, bar.update)
        else:
            check_out(args.out, [args.delta, resolve(base)], whole=True)
            packing.unpack(args.delta, args.out, args.base, bar.update)
    size = sum(path.stat().st_size for path in args.out.iterdir())
    headline.say("delta", [args.out], f"{size / 1e6:,.1f} MB")


def _made(args: argparse.Namespace, base: Path) -> bool:
    """Whether the folder --out is the finished result of this very command."""
    if args.command == "unpack":
        source = args.delta
        fits = not manifest.is_delta(args.out)
    else:
        source = args.finetuned
        fits = manifest.is_delta(args.out) and manifest.read(args.out)["base"]["identity"] == identity(base)
    return fits and (args.out / "config.json").is_file() and describe(args.out) == describe(resolve(source))
