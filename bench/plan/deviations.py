"""How runs and their scores differ from what a paper did: verdicts name it, and judge nothing where it matters."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from bench.cards import BackboneCard, DatasetCard
from bench.entry import SETTINGS
from bench.errors import InputError
from bench.metrics import Metric
from bench.papers.labels import Path
from bench.papers.protocol import PaperProtocol
from bench.plan import lists
from bench.plan.settings import overlaid
from bench.plan.table import TableRules
from bench.protocol import Protocol
from bench.rate import Rate
from bench.rules import kept_at
from bench.spec import RunSpec


def of_settings(ours: Protocol, theirs: Protocol, stated: PaperProtocol, of_table: Iterable[str]) -> Iterator[str]:
    """Settings that are not the paper's; what only we chose, and no label or method of the table, is no difference."""
    free = {key for key, value in stated.settings.items() if value.is_ours and not value.because} - {*of_table}
    if changed := [key for key in _changed(ours, theirs) if key not in free]:
        yield f"{_written(_flat(ours), changed)} in place of {_written(_flat(theirs), changed)}"


def of_declared(
    because: Mapping[Path, str], stated: PaperProtocol, methods: Collection[str], ours: Protocol, theirs: Protocol
) -> Iterator[str]:
    """What of a run is declared not to be the paper's (``as: other``): labels, settings, hyper-parameters.

    Only what the run uses: a value that a later label, the method or the command line replaces says nothing. What
    ``ours`` has in the place of the paper's is told by ``of_settings``.

    Args:
        because: as ``bench.papers.labels.others`` gives it.
        stated: the paper's protocol, whose settings may be declared so too.
        methods: the method and its policies, by name.
        ours: what is run.
        theirs: what would be, had nothing been typed.
    """
    of_method = {path[1:]: why for path, why in because.items() if path[0] == "method" and len(path) == 3}
    of_label = {path[1:]: why for path, why in because.items() if path[0] == "hyper" and path[1] in methods}
    hyper = [why for (owner, _), why in (of_method | of_label).items() if owner != SETTINGS]
    layers = [
        {key: each.because for key, each in stated.settings.items()},
        {path[1]: why for path, why in because.items() if path[0] == SETTINGS},
        {name: why for (owner, name), why in of_method.items() if owner == SETTINGS},
        dict.fromkeys(_changed(ours, theirs), ""),
    ]
    settings = overlaid(*({key: (why, "") for key, why in layer.items()} for layer in layers))
    labels = [why for path, why in because.items() if len(path) == 1 or path[0] == "label"]
    reasons = [*labels, *hyper, *(str(why) for _, why, _ in settings)]
    yield from dict.fromkeys(filter(None, reasons))


def of_rules(rules: TableRules, stated: PaperProtocol, candidates: int) -> Iterator[str]:
    """Rules by which points of curves, and candidates, are chosen in another way."""
    if rules.selection != stated.selection.value and not stated.selection.is_ours:
        yield f"scored at {rules.selection} in place of {stated.selection.value}"
    if candidates > 1 and rules.sweep != stated.sweep.value and not stated.sweep.is_ours:
        yield f"weights chosen by {rules.sweep} in place of {stated.sweep.value}"


def of_weights(spec: RunSpec, declared: str, backbone: Callable[[str], BackboneCard]) -> Iterator[str]:
    """Weights that are not those of the backbone that the table declares."""
    if spec.backbone.name == declared:
        return
    try:
        same = backbone(declared).named.means == spec.backbone.means
    except InputError:
        same = False  # the published weights are not here, so nobody can say that these are the same
    if not same:
        yield f"weights of {spec.backbone.name} in place of {declared}'s"


def of_data(dataset: DatasetCard, declared: DatasetCard, rate: Rate, paper: str) -> Iterator[str]:
    """Another split than the paper's, where the card says so, or where another one than the declared was typed.

    A list of as many training images as the rate asks for is no difference: the rate's own draw is somebody's too.
    """
    taken = str(((declared.facts.get("papers") or {}).get(paper) or {}).get("as", ""))
    if taken == "other":
        yield f"the paper took another split of {declared.title}"
    if dataset.name == declared.name:
        return
    variant = dataset.without_list.partition("@")[2]
    if dataset.without_list != declared.without_list and variant != taken:
        yield f"{dataset.without_list} in place of {declared.name}"
    elif "list" in dataset.facts and not lists.is_of_rate(dataset, declared, rate):
        yield f"{dataset.splits['train']:,} training images of a list in place of {lists.drawn(declared, rate):,}"


def of_score(metric: Metric, printed: Metric, unlike: bool, split: str, selection: str) -> Iterator[str]:
    """What is shown, and whose scores, where it is not what is printed; ``unlike`` is another metric than that."""
    if metric.measure and kept_at(selection) != selection:
        yield f"measured of the {kept_at(selection)} model in place of {selection}"
    if metric.of_run and metric.of_machine:
        yield f"{metric.title} of another machine"
    elif unlike:
        yield f"{metric.title} in place of {printed.title}"
    if split == "val":
        yield "scored on the validation split in place of the test split"


@lru_cache(maxsize=1024)
def _flat(protocol: Protocol) -> Mapping[str, Any]:
    """The settings of a protocol and its recipe by name."""
    settings = {**vars(protocol.recipe), **vars(protocol)}
    del settings["recipe"]
    return settings


def _changed(ours: Protocol, theirs: Protocol) -> list[str]:
    """The settings in which two protocols differ."""
    run, paper = _flat(ours), _flat(theirs)
    return [key for key in run if run[key] != paper[key]]


def _written(settings: Mapping[str, Any], keys: Sequence[str]) -> str:
    """Of epochs and steps only the one that is given."""
    return ", ".join(f"{key}={settings[key]}" for key in keys if settings[key] or key not in ("epochs", "steps"))
