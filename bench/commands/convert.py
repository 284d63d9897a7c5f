"""Turn a published checkpoint into a file of weights: ``convert``."""

from __future__ import annotations

import argparse
import shlex
from collections import Counter
from typing import Any

import bench
from bench.cards.folders import converted_weights, typed_path
from bench.commands.options import add_command, add_plugin, say
from bench.errors import InputError, printable, to_type
from bench.notation import counted
from bench.plan.architectures import require_known_models

CONVERT = """
A checkpoint is as it was published, or as a training script wrote it. Nothing that lies in it is run. 'bench show NAME'
says where one is published.

examples:
  bench convert timm:vit_tiny_patch16_224 model_best.pth.tar mine.safetensors --network ema
  bench convert ibot_vit_small checkpoint_teacher.pth
  bench convert moco_v2_resnet50 moco_v2_800ep_pretrain.pth.tar weights/moco_v2.safetensors
  bench convert esvit_swin_base checkpoint.pth --network teacher
  bench run photos --datasets folder:~/birds --backbones ibot_vit_small
"""


def add(commands: Any) -> None:
    """Add the command to a parser's."""
    about = "a published checkpoint into a safetensors file that NAME@FILE takes"
    parser = add_command(commands, "convert", convert_command, about, CONVERT)
    name = parser.add_argument("name", metavar="NAME", help="the backbone that the checkpoint is of")
    name.completer = lambda **_: list(bench.Registry().backbone_files)  # type: ignore[attr-defined]
    parser.add_argument(
        "checkpoint", metavar="CHECKPOINT", help="the file (.pth, .pth.tar, .pt, .ckpt, .bin, .safetensors)"
    )
    parser.add_argument("out", metavar="OUT", nargs="?", default="", help="default: where NAME is looked for")
    parser.add_argument(
        "--network", default="", metavar="WHICH", help="ema, student, teacher, ... of a checkpoint that holds several"
    )
    add_plugin(parser)


def convert_command(options: argparse.Namespace) -> int:
    """Write the file and say what became of every weight."""
    plain = options.name.partition("@")[0]
    card = bench.Registry(options.plugin).backbone(f"{plain}@none")
    checkpoint = typed_path(options.checkpoint)
    is_looked_for = "published" in card.facts
    if not options.out and not is_looked_for:
        raise InputError(f"OUT is missing: bench convert {plain} {shlex.quote(options.checkpoint)} OUT.safetensors")
    out = typed_path(options.out) if options.out else converted_weights(plain)
    if out.suffix != ".safetensors":
        raise InputError(f"{out}: the file that is written must be called something.safetensors")
    if not checkpoint.is_file():  # before torch is loaded, which takes a while
        published = f"; {to_type('show', plain)} says where one is published" if is_looked_for else ""
        raise InputError(f"{checkpoint}: there is no such file{published}")
    require_known_models([card], say)

    from bench.backbones.convert import convert, require_free, save

    if options.out or out.exists():
        require_free(out)  # before the work, which takes a while too
    converted = convert(card, checkpoint, options.network)
    if not options.out:
        out.parent.mkdir(parents=True, exist_ok=True)
    save(converted, card, checkpoint, out)
    head = converted.weights.get("head.weight")
    where = f" (under {converted.entry})" if converted.entry else ""
    print(f"{out}: {len(converted.weights)} weights of {checkpoint.name}{where}")
    if converted.prefix:
        print(f"  taken off their names: {converted.prefix}")
    if converted.dropped:
        print(f"  left out: {_groups(converted.dropped)}")
    if converted.fresh:
        print(f"  not in it, as in a new network: {_groups(converted.fresh)}")
    print(f"  classifier of the pre-training: {counted(len(head), 'class', 'classes') if head is not None else 'none'}")
    print(f"  to be written as: {shlex.quote(f'{plain}@{out}') if options.out else plain}")
    return 0


def _groups(names: tuple[str, ...]) -> str:
    """Names by what they begin with, with how many there are."""
    counts = Counter(name.partition(".")[0] for name in names)
    return printable(", ".join(first if count == 1 else f"{first} ({count})" for first, count in counts.items()))
