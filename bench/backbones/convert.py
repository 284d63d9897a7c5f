"""From published checkpoints to files of weights in the names of the suite's architectures."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from bench.backbones.build import build_model
from bench.backbones.checkpoints import read_checkpoint, tensors
from bench.backbones.layouts import LAYOUTS, Layout
from bench.backbones.weights import COUNTERS, State, listed, load_weights
from bench.cards.backbone import BackboneCard, file_sha256
from bench.cards.offers import HEADS
from bench.device.distributed import draws_apart
from bench.errors import InputError, choose


@dataclass(frozen=True)
class Converted:
    """What a conversion made.

    Attributes:
        weights: in the names of the architecture; the classifier of the pre-training, if there is one, as ``head.*``.
        entry: where in the checkpoint they lay.
        dropped: names of the checkpoint that the architecture has no use for.
        fresh: names of the architecture that the checkpoint lacks, as it should; they keep the value of a new one.
    """

    weights: State
    entry: str
    dropped: tuple[str, ...]
    fresh: tuple[str, ...]


def convert(card: BackboneCard, checkpoint: Path, network: str = "") -> Converted:
    """The weights of a published checkpoint of the card's backbone.

    Relative positions that all blocks share become a table of each block, and what depends on the image size is
    resized to that of the card. Of a checkpoint that holds two networks, ``"student"`` or ``"teacher"`` may be asked
    for; empty: the one that is used by the papers.

    Raises:
        InputError: the card's checkpoints are in no known layout, the file cannot be read, or a name in it is
            missing, unknown or of another shape.
    """
    layouts = layouts_of(card, network)
    layout, entry, published = _entry(read_checkpoint(checkpoint), layouts, f"{card.name}: {checkpoint.name}")
    dropped = tuple(name for name in published if re.fullmatch(layout.dropped, name))
    weights = layout.change(_renamed({name: published[name] for name in published if name not in dropped}, layout))
    head = {name: value for name, value in weights.items() if name in ("head.weight", "head.bias")}
    with draws_apart():
        backbone = build_model(replace(card, weights="none", sha256=""), 1).backbone
    body = _own_tables({name: value for name, value in weights.items() if name not in head}, backbone.state_dict())
    # a classifier was trained on what the whole network made: with one, nothing of it may start anew
    fresh = "" if head else layout.fresh
    load_weights(backbone, body, f"{card.name}: {checkpoint.name}", fresh)
    made = {name: value.contiguous().clone() for name, value in {**backbone.state_dict(), **head}.items()}
    new = [name for name in made if name not in {**body, **head} and not re.fullmatch(COUNTERS, name)]
    return Converted(made, entry, dropped, tuple(new))


def save(converted: Converted, card: BackboneCard, checkpoint: Path, out: Path) -> None:
    """Write the weights as safetensors, with what they were made of; half-written files never get the name.

    Raises:
        InputError: the file exists, or its folder does not, or it cannot be written.
    """
    require_free(out)
    origin = {"made_of": checkpoint.name, "made_of_sha256": file_sha256(checkpoint), "entry": converted.entry}
    draft = out.with_name(f"{out.name}.part")
    try:
        save_file(converted.weights, draft, metadata={"format": "pt", "backbone": card.name, **origin})
        draft.replace(out)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{out}: it cannot be written: {error}") from None
    finally:
        draft.unlink(missing_ok=True)


def require_free(out: Path) -> None:
    """Raise ``InputError`` where a file exists already, or its folder does not."""
    if out.exists():
        raise InputError(f"{out}: exists already; name another file, or remove it")
    if not out.parent.is_dir():
        raise InputError(f"{out}: there is no folder {out.parent}")


def layouts_of(card: BackboneCard, network: str = "") -> tuple[Layout, ...]:
    """The layouts in which checkpoints of a card's backbone are published.

    Raises:
        InputError: none is known, or the card's checkpoints do not hold such a network.
    """
    name = card.facts.get("convert")
    if name is None:
        raise InputError(f"{card.name}: no published checkpoint of it is known that needs converting")
    if name not in LAYOUTS:
        raise InputError(f"{card.name}: {choose(str(name), LAYOUTS, 'layout of checkpoints')}")
    default = card.facts.get("network")
    if network and default is None:
        raise InputError(f"{card.name}: its checkpoints hold one network; leave --network out")
    if network not in ("", "student", "teacher"):
        raise InputError(choose(network, ("student", "teacher"), "network of a checkpoint"))
    layouts = []
    for layout in LAYOUTS[name]:
        if not network or "{network}" in layout.entries:
            entries = tuple(entry.format(network=network or default) for entry in layout.entries)
            layouts.append(replace(layout, entries=entries))
    return tuple(layouts)


def _entry(file: Mapping[str, object], layouts: Sequence[Layout], source: str) -> tuple[Layout, str, State]:
    """The first layout whose entry the file has, with the tensors in it."""
    for layout in layouts:
        for entry in layout.entries:
            published = tensors(file.get(entry) if entry else file)
            if any(name.startswith(layout.prefix) and re.match(layout.mark, name) for name in published):
                return layout, entry, published
    wanted = [
        f"{layout.mark.replace(chr(92), '') or layout.prefix}*" + (f" under '{entry}'" if entry else "")
        for layout in layouts
        for entry in layout.entries
    ]
    raise InputError(f"{source} is in no known layout; it has {listed(file)}; expected is {' or '.join(wanted)}")


def _renamed(published: State, layout: Layout) -> State:
    """By new names; a name that lacks the prefix is marked, so that it cannot be taken for one that has it."""
    renamed: State = {}
    for name, value in published.items():
        new = name.removeprefix(layout.prefix)
        if not name.startswith(layout.prefix):
            new = f"(outside {layout.prefix}) {name}"
        for pattern, text in layout.renamed:
            new = re.sub(pattern, text, new)
        if new in renamed:
            raise InputError(f"two weights of the checkpoint would be called {new}")
        renamed[new] = value
    head = next((head for head in HEADS if f"{head}.weight" in renamed), "head")
    return {re.sub(rf"^{re.escape(head)}\.(weight|bias)$", r"head.\1", name): value for name, value in renamed.items()}


def _own_tables(weights: State, expected: Mapping[str, Tensor]) -> State:
    """A table of relative positions that all blocks share, copied to every block that has one of its own."""
    shared = "rel_pos_bias.relative_position_bias_table"
    if shared not in weights or shared in expected:
        return weights
    blocks = [name for name in expected if name.endswith(".attn.relative_position_bias_table")]
    unshared = {name: value for name, value in weights.items() if name != shared}
    return {**unshared, **dict.fromkeys(blocks, weights[shared])}
