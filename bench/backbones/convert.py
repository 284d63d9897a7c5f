"""From published checkpoints to files of weights in the names of the suite's architectures."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from safetensors import SafetensorError
from torch import Tensor, nn

from bench.backbones.build import build_model
from bench.backbones.checkpoints import read_checkpoint, tensors
from bench.backbones.layouts import LAYOUTS, Layout
from bench.backbones.model import Model
from bench.backbones.networks import Stranger, find_network, unwrappings
from bench.backbones.weights import COUNTERS, State, listed, load_weights, save_tensors
from bench.cards.backbone import BackboneCard, file_sha256
from bench.cards.offers import HEADS
from bench.device.distributed import draws_apart
from bench.errors import InputError, choose

OWN = "plain"
"""The layout of checkpoints that have the backbone's own names, in whatever wrapping."""


@dataclass(frozen=True)
class Converted:
    """What a conversion made.

    Attributes:
        weights: in the names of the architecture; the classifier of the pre-training, if there is one, as ``head.*``.
        entry: where in the checkpoint they lay.
        dropped: names of the checkpoint that the architecture has no use for.
        fresh: names of the architecture that the checkpoint lacks, as it should; they keep the value of a new one.
        prefix: what stood before all of their names.
        network: which of several networks they are; empty where there is one.
    """

    weights: State
    entry: str
    dropped: tuple[str, ...]
    fresh: tuple[str, ...]
    prefix: str = ""
    network: str = ""


def convert(card: BackboneCard, checkpoint: Path, network: str = "") -> Converted:
    """The weights of a checkpoint of the card's backbone: as published, or as a training script wrote it.

    Relative positions that all blocks share become a table of each block, and what depends on the image size is
    resized to that of the card. What stands before all names is taken off.

    Args:
        card: of the backbone, with whatever weights.
        checkpoint: a file of ``torch.save`` or of safetensors.
        network: which one, of a checkpoint that holds several (``"ema"``, ``"student"``, ``"teacher"``, or where it
            lies); empty: the only one, or of a published layout the one that is used by the papers.

    Raises:
        InputError: the file cannot be read, several networks are in it and none is chosen, it is in no known layout, or
            a name in it is missing, unknown or of another shape.
    """
    content, source = read_checkpoint(checkpoint), f"{card.name.partition('@')[0]}: {checkpoint.name}"
    with draws_apart():
        model = build_model(replace(card, weights="none", sha256=""), 1)
    if card.facts.get("convert", OWN) == OWN:
        return _own_names(model, content, network, source)
    try:
        layout, entry, published, prefix = _entry(content, layouts_of(card, network), source)
    except InputError as unknown:
        try:
            return _own_names(model, content, network, source)
        except Stranger:
            raise unknown from None
    dropped = tuple(name for name in published if re.fullmatch(layout.dropped, name))
    weights = layout.change(_renamed({name: published[name] for name in published if name not in dropped}, layout))
    head = {name: value for name, value in weights.items() if name in ("head.weight", "head.bias")}
    body = _own_tables(
        {name: value for name, value in weights.items() if name not in head}, model.backbone.state_dict()
    )
    # a classifier was trained on what the whole network made: with one, nothing of it may start anew
    made, fresh = _loaded(model.backbone, body, head, source, "" if head else layout.fresh)
    chosen = (network or str(card.facts.get("network", ""))) if entry in ("student", "teacher") else ""
    return Converted(made, entry, dropped, fresh, prefix, chosen)


def _own_names(model: Model, content: Mapping[str, object], network: str, source: str) -> Converted:
    """From a checkpoint in the backbone's own names, whatever stands before them."""
    expected = model.backbone.state_dict()
    chosen = find_network(content, expected, network, source)
    body, head, dropped = chosen.divided(expected, model.dim)
    made, fresh = _loaded(model.backbone, body, head, source)
    return Converted(made, chosen.entry, dropped, fresh, chosen.prefix, chosen.name)


def _loaded(
    backbone: nn.Module, body: State, head: State, source: str, fresh: str = ""
) -> tuple[State, tuple[str, ...]]:
    """All weights of a backbone and its classifier once they are loaded, and the names of those that start anew."""
    load_weights(backbone, body, source, fresh)
    made = {name: value.contiguous().clone() for name, value in {**backbone.state_dict(), **head}.items()}
    new = [name for name in made if name not in {**body, **head} and not re.fullmatch(COUNTERS, name)]
    return made, tuple(new)


def save(converted: Converted, card: BackboneCard, checkpoint: Path, out: Path) -> None:
    """Write the weights as safetensors, with what they were made of; half-written files never get the name.

    Raises:
        InputError: the file exists, or its folder does not, or it cannot be written.
    """
    require_free(out)
    origin = {"made_of": checkpoint.name, "made_of_sha256": file_sha256(checkpoint), "entry": converted.entry}
    origin |= {"network": converted.network, "prefix": converted.prefix, "backbone": card.name.partition("@")[0]}
    draft = out.with_name(f"{out.name}.part")
    try:
        save_tensors(converted.weights, draft, {"format": "pt", **origin})
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
    """The layouts in which checkpoints of a card's backbone are published; of a network that is named, those with it.

    Raises:
        InputError: the card names none that there is.
    """
    name, default = card.facts["convert"], card.facts.get("network")
    if name not in LAYOUTS:
        raise InputError(f"{card.name}: {choose(str(name), LAYOUTS, 'layout of checkpoints')}")
    layouts = []
    for layout in LAYOUTS[name]:
        if not network or "{network}" in layout.entries:
            entries = tuple(entry.format(network=network or default) for entry in layout.entries)
            layouts.append(replace(layout, entries=entries))
    return tuple(layouts)


def _entry(file: Mapping[str, object], layouts: Sequence[Layout], source: str) -> tuple[Layout, str, State, str]:
    """The first layout whose entry the file has, with the tensors in it and what stood before all of their names."""
    for layout in layouts:
        for entry in layout.entries:
            for published, prefix in unwrappings(tensors(file.get(entry) if entry else file)):
                if any(name.startswith(layout.prefix) and re.match(layout.mark, name) for name in published):
                    return layout, entry, published, prefix
    wanted = [
        f"{layout.mark.replace(chr(92), '') or layout.prefix}*" + (f" under '{entry}'" if entry else "")
        for layout in layouts
        for entry in layout.entries
    ]
    expected = f"; expected is {' or '.join(wanted)}" if wanted else ""
    raise InputError(f"{source} is in no known layout; it has {listed(file)}{expected}")


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
