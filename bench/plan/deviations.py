"""How runs and their scores differ from what a paper did: verdicts name it, and judge nothing where it matters."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from bench.cards import BackboneCard, DatasetCard
from bench.errors import InputError
from bench.metrics import Metric
from bench.papers.protocol import PaperProtocol
from bench.plan.table import TableRules
from bench.protocol import Protocol
from bench.spec import RunSpec


def of_settings(ours: Protocol, theirs: Protocol, stated: PaperProtocol, of_label: Iterable[str]) -> Iterator[str]:
    """Settings that are not the paper's; what only we chose, and no label, is no difference to it."""
    unstated = {key for key, value in stated.settings.items() if value.is_ours} - {*of_label}
    run, paper = _flat(ours), _flat(theirs)
    changed = [key for key in run if run[key] != paper[key] and key not in unstated]
    if changed:
        yield f"{_written(run, changed)} in place of {_written(paper, changed)}"


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


def of_data(dataset: DatasetCard, paper: str) -> Iterator[str]:
    """Another split than the paper's, where the card says so."""
    if ((dataset.facts.get("papers") or {}).get(paper) or {}).get("as") == "other":
        yield f"the paper took another split of {dataset.title}"


def of_score(metric: Metric, printed: Metric, unlike: bool, split: str) -> Iterator[str]:
    """What is shown, and whose scores, where it is not what is printed; ``unlike`` is another metric than that."""
    if not metric.of_curve:
        yield f"{metric.title} of another machine"
    elif unlike:
        yield f"{metric.title} in place of {printed.title}"
    if split == "val":
        yield "scored on the validation split in place of the test split"


def _flat(protocol: Protocol) -> dict[str, Any]:
    """The settings of a protocol and its recipe by name."""
    settings = dataclasses.asdict(protocol)
    return {**settings.pop("recipe"), **settings}


def _written(settings: Mapping[str, Any], keys: Sequence[str]) -> str:
    """Of epochs and steps only the one that is given."""
    return ", ".join(f"{key}={settings[key]}" for key in keys if settings[key] or key not in ("epochs", "steps"))
