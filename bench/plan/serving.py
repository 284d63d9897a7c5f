"""Which methods, backbones and tasks go together: a cell of what does not is left out, with the reason."""

from __future__ import annotations

from bench.cards import BackboneCard, DatasetCard
from bench.cards.reasons import why_lacking
from bench.cards.text_towers import TEXT_TOWER
from bench.entry import MethodEntry
from bench.task import find_task


def unserved(method: MethodEntry, backbone: BackboneCard, dataset: DatasetCard) -> str:
    """Why a cell is left out: its method or backbone is not for its task, or lacks the other's parts; or the names of
    its classes are no words for a method that makes texts of them. Empty where not.

    Of a backbone whose weights are not here, as far as is known.
    """
    task = find_task(dataset.task)
    reasons = [task.why_not_method(card, dict(values)) for card, values in method.parts]
    if reason := next(filter(None, [*reasons, task.why_not_backbone(backbone)]), ""):
        return reason
    unknown = {"source_head"} if backbone.absence else set[str]()
    lacking = sorted(method.needs - backbone.offers - unknown)
    if not lacking:
        nameless = dataset.nameless if TEXT_TOWER in method.needs else ""
        return f"{method.spec.full_name} needs texts about images: {nameless}" if nameless else ""
    reason = why_lacking(backbone, lacking)
    lacks = f"{method.spec.full_name} needs {', '.join(lacking)}, which {backbone.name} lacks"
    return f"{lacks} ({reason})" if reason else lacks
