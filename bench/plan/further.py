"""Metrics with an ``@``: those of the further tests and further models that the runs of a plan are scored on."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from bench.cards import DatasetCard
from bench.cards.acting import SHARES
from bench.errors import InputError
from bench.metrics import Metric
from bench.metrics.metric import words_of
from bench.registry import Registry


def of_dataset(metric: Metric, card: DatasetCard) -> Metric:
    """A metric with an ``@`` under the title that a dataset's card gives the further test; any other as it is."""
    titles = {test.name: test.title for test in card.further}
    return metric.plain.at(metric.where, f"on {titles[metric.where]}") if metric.where in titles else metric


def refuse_elsewhere(
    metric: Metric | None,
    datasets: Iterable[DatasetCard],
    methods: Collection[Sequence[str]],
    registry: Registry,
    place: str,
    split: str,
) -> None:
    """Raise ``InputError`` where no run of these datasets and methods is scored where a metric's name says.

    A method stands as the names of its parts, policies behind it. ``split`` is that whose scores are shown; further
    tests are beside the test split alone.
    """
    if metric is None or not metric.where:
        return
    cards = list(datasets)
    places = [test.name for card in cards for test in card.further]
    if metric.where in places and split == "val":
        problem = f"{metric.where} is a further test, which has no validation split"
        raise InputError(f"{place}: {metric.name}: {problem}; leave --split val away, or ask for {metric.plain.name}")
    places += sorted({where for names in methods for where in further_models(names, registry)})
    if metric.where in places:
        return
    have = f"they have {', '.join(dict.fromkeys(f'{metric.plain.name}@{name}' for name in places))}" if places else ""
    declared = {
        card.without_further: "+".join(map(str, card.facts["also"])) for card in cards if card.facts.get("also")
    }
    ask = [f"--datasets {name}@also={names} asks for more" for name, names in declared.items()]
    hint = "; ".join(filter(None, [have, *ask])) or "no dataset here declares further tests ('also')"
    tests = dict.fromkeys(test.name for card in cards for test in card.further)
    stranger = f"; {metric.where} is none of the further tests asked for: {', '.join(tests)}" if tests else ""
    raise InputError(f"{place}: {metric.name}: no run here is scored {words_of(metric.where)}; {hint}{stranger}")


def further_models(names: Sequence[str], registry: Registry) -> frozenset[str]:
    """The further models that a method's runs score; what is averaged into a soup is not scored by itself."""
    places = frozenset[str]()
    for name in names:
        card = registry.method(name)
        places = card.beside if SHARES in card.acting else places | card.beside
    return places
