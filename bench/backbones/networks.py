"""The networks in a checkpoint that a training script wrote: where they lie, and what stands before their names.

Whoever trains writes the names of a network in a wrapping of one's inner: ``module.`` (DistributedDataParallel),
``_orig_mod.`` (torch.compile), ``model.`` (Lightning), ``backbone.``, ``encoder_q.``, and puts a moving average beside
it. Nothing of it is looked for by name: a network is what has the backbone's own names behind one prefix.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from bench.backbones.checkpoints import tensors
from bench.backbones.weights import COUNTERS, State, listed
from bench.cards.offers import HEADS
from bench.errors import InputError, choose

LEFT_OUT = re.compile(
    r"(head|heads|fc|classifier|projector|projection_head|predictor|mlp|decoder\w*|mask_token|masked_embed|lm_head"
    r"|queue\w*|last_layer|prototypes|loss\w*|criterion\w*|train_metrics|val_metrics)(\..+)?"
)
"""What of a network's names belongs to how it was trained, and not to what it computes for an image."""

_INSIDE = re.compile(r"(?<=\.)(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
"""What wraps modules inside of a network; no network has modules of these names."""

_TRANSFORMERS = re.compile(r"(^|\.)embeddings\.patch_embeddings\.(projection\.)?weight$")
"""In names of vision transformers that the library transformers wrote."""

_HALF = 0.5
"""Of the backbone's names, how many a prefix must have behind it to be that of such a network."""

_LEVELS = 3
"""Dictionaries in dictionaries in which tensors are looked for."""

_ROLES = {"ema": r"ema", "teacher": r"teacher|momentum|target|encoder_k", "student": r"student|online|encoder_q"}
"""What a network is called in short, by what its place is called."""


class Stranger(InputError):
    """A checkpoint has no network of the backbone's names."""


@dataclass(frozen=True)
class Network:
    """A network of a checkpoint.

    Attributes:
        name: by which it is chosen.
        entry: the keys of the dictionaries in which it lies, with dots between them; empty for the file itself.
        prefix: what stood before its names.
        weights: by the names behind the prefix.
        others: names beside it in that dictionary, without what they share with the prefix.
    """

    name: str
    entry: str
    prefix: str
    weights: State
    others: tuple[str, ...]

    def divided(self, expected: Collection[str], width: int) -> tuple[State, State, tuple[str, ...]]:
        """The backbone's weights, those of a linear classifier of its pre-training, and the names that are left out.

        A name that is neither the backbone's nor known to be of the training alone is among the backbone's weights,
        where it is refused: to leave it out might change what the network computes.

        Args:
            expected: the backbone's names.
            width: of its features.
        """
        classifier = next((name for name in HEADS if _is_linear(self.weights.get(f"{name}.weight"), width)), None)
        body, head, left = State(), State(), list(self.others)
        for name, value in self.weights.items():
            owner, _, last = name.rpartition(".")
            if name in expected or re.fullmatch(COUNTERS, name):
                body[name] = value
            elif owner == classifier and last in ("weight", "bias"):
                head[f"head.{last}"] = value
            elif LEFT_OUT.fullmatch(name):
                left.append(name)
            else:
                body[name] = value
        return body, head, tuple(left)


def find_network(content: Mapping[str, object], expected: Collection[str], wanted: str, source: str) -> Network:
    """The network in a checkpoint that has a backbone's names, or the one of several that is wanted.

    Args:
        content: of the file.
        expected: the backbone's names.
        wanted: the name of a network; empty: the only one there is.
        source: the backbone and the file, for messages.

    Raises:
        Stranger: there is none.
        InputError: there is none of that name, or several and none is wanted.
    """
    required = {name for name in expected if not re.fullmatch(COUNTERS, name)}
    networks = named(_networks(content, required))
    if not networks:
        raise Stranger(f"{source} {_reason(content, required)}")
    names = [network.name for network in networks]
    if wanted and wanted not in names:
        raise InputError(f"{source}: {choose(wanted, names, 'network in it')}")
    if not wanted and len(networks) > 1:
        listing = ", ".join(map(_place, networks))
        raise InputError(f"{source} holds {len(networks)} networks; choose by --network NAME: {listing}")
    return next(network for network in networks if wanted in ("", network.name))


def named(networks: Sequence[Network]) -> list[Network]:
    """Networks with a name each: its role where only one has it, or else its place."""
    roles = [_role(network) for network in networks]
    return [
        Network(role if role and roles.count(role) == 1 else _key(network), *_rest(network))
        for role, network in zip(roles, networks, strict=True)
    ]


def unwrappings(weights: Mapping[str, Tensor]) -> Iterator[tuple[State, str]]:
    """Tensors as they are, then without each word more that stands before all of their names; and these words."""
    state, prefix = dict(weights), ""
    while state:
        yield {_INSIDE.sub("", name): value for name, value in state.items()}, prefix
        first = next(iter(state)).partition(".")[0] + "."
        if not all(name.startswith(first) for name in state):
            return
        state = {name.removeprefix(first): value for name, value in state.items()}
        prefix += first


def _networks(content: Mapping[str, object], required: Collection[str]) -> list[Network]:
    """Every place of a checkpoint that has most of the names."""
    networks: list[Network] = []
    for entry, state in dictionaries(content):
        written = {_INSIDE.sub("", name): name for name in state}
        for prefix, count in _prefixes(written, required).items():
            if count >= _HALF * len(required):
                inner = [name for name in written if name.startswith(prefix)]
                weights = {name.removeprefix(prefix): state[written[name]] for name in inner}
                others = tuple(_beside(name, prefix) for name in written if not name.startswith(prefix))
                networks.append(Network("", entry, _written(written, inner, prefix), weights, others))
    return networks


def dictionaries(content: Mapping[str, object], entry: str = "", level: int = 0) -> Iterator[tuple[str, State]]:
    """Each dictionary of a checkpoint that holds tensors by name, with the keys that lead there."""
    if state := tensors(content):
        yield entry, state
    if level == _LEVELS:
        return
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from dictionaries(value, f"{entry}.{key}" if entry else str(key), level + 1)


def _prefixes(names: Collection[str], required: Collection[str]) -> Counter[str]:
    """How many of the required names stand behind each prefix."""
    counts: Counter[str] = Counter()
    for name in names:
        start = 0
        while start >= 0:
            if name[start:] in required:
                counts[name[:start]] += 1
            dot = name.find(".", start)
            start = dot + 1 if dot >= 0 else -1
    return counts


def _written(written: Mapping[str, str], inner: Sequence[str], prefix: str) -> str:
    """A prefix of some names as it is written, with what wraps modules inside of it."""
    behind = inner[0].removeprefix(prefix)
    return written[inner[0]].removesuffix(behind) if written[inner[0]].endswith(behind) else prefix


def _beside(name: str, prefix: str) -> str:
    """A name without the words that it shares with a prefix."""
    words, shared = name.split("."), prefix.split(".")
    while len(words) > 1 and shared and words[0] == shared[0]:
        del words[0], shared[0]
    return ".".join(words)


def _reason(content: Mapping[str, object], required: Collection[str]) -> str:
    """Why there is no network of some names in a checkpoint."""
    most, where = 0, ""
    for entry, state in dictionaries(content):
        for prefix, count in _prefixes([_INSIDE.sub("", name) for name in state], required).items():
            if count > most:
                most, where = count, f" (behind {'.'.join(filter(None, (entry, prefix)))})" if entry or prefix else ""
    names = [name for _, state in dictionaries(content) for name in state]
    if not names:
        return f"holds no tensors by name; it has {listed(content)}"
    if any(_TRANSFORMERS.search(name) for name in names):
        return "is in the names of Hugging Face's transformers, which are not read; take the model in timm's names"
    wanted = ", ".join(sorted(required)[:3])
    return (
        f"is of another network: {most} of the {len(required)} weights of the backbone are in it{where}; "
        f"it has {listed(content, 4)}; expected are {wanted}, ..."
    )


def _role(network: Network) -> str:
    place = _key(network).lower()
    return next((role for role, words in _ROLES.items() if re.search(rf"(?<![a-z])({words})(?![a-z])", place)), "")


def _key(network: Network) -> str:
    """The place of a network as one word: ``state_dict``, ``state_dict.encoder_q``, ``file``."""
    words = [word for word in network.prefix.split(".") if word not in ("", "module", "backbone", "_orig_mod")]
    return ".".join([network.entry, *words] if network.entry else words) or "file"


def _place(network: Network) -> str:
    """A network by its name, and where it lies, if the name does not say so."""
    place = ": ".join(filter(None, (network.entry, network.prefix)))
    return network.name if place in ("", network.name) else f"{network.name} ({place})"


def _rest(network: Network) -> tuple[str, str, State, tuple[str, ...]]:
    return network.entry, network.prefix, network.weights, network.others


def _is_linear(weight: Tensor | None, width: int) -> bool:
    return weight is not None and weight.ndim == 2 and weight.shape[1] == width
