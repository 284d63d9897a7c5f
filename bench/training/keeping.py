"""The trained models of a run while it is trained: written where they are scored, beside its checkpoint."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Sequence
from pathlib import Path

import msgspec
import torch
from torch import Tensor

from bench.backbones import Model
from bench.backbones.weights import save_tensors
from bench.device.distributed import first_rank
from bench.metrics import Metric
from bench.records.kept import Keep, ModelFacts, best, kept_models, kept_name
from bench.records.record import Point
from bench.training.shelf import checksum_of

NOT_SCORED = ("source_head.", "text_tower.")
"""How the names begin of what a model may hold beside the network that gives its logits."""


class Keeping:
    """Keeps the models of a run at some points of its curve until its record is written.

    A model is written when it is scored, so that its file holds what the point's numbers are of. A run that is taken up
    finds what was written; of several processes that share a run the first one writes.

    Args:
        folder: of the run's checkpoint; the files lie in a folder of it, one for each way of keeping.
        facts: what every file says of itself; the step is filled in.
        metric: by which the best point on the validation split is chosen.
        model: as it was before training, with the backbone's published weights.
    """

    def __init__(self, keep: Keep, folder: Path, facts: ModelFacts, metric: Metric, model: Model) -> None:
        self.keep, self.facts, self.metric = keep, facts, metric
        self.folder = folder / f"models-{keep}"
        self.published: dict[str, str] = {}
        if keep.changes:
            backbone = (item for item in model.state_dict().items() if item[0].startswith("backbone."))
            self.published = {name: digest_of(tensor) for name, tensor in backbone}

    def measured(self, model: Model, curve: Sequence[Point], ended: bool) -> None:
        """The last point of a curve was measured of a model. Raises ``OSError`` where it cannot be written."""
        point = curve[-1]
        wanted = {"all": True, "last": ended, "best-val": best(curve, self.metric) is point}
        if first_rank() and wanted[self.keep.points]:
            self._write(model, point.step)

    def forget_beaten(self, curve: Sequence[Point]) -> None:
        """Remove the models that are no longer the best one; their points are all in the checkpoint by now."""
        if self.keep.points == "best-val" and first_rank():
            wanted = self.keep.steps(curve, self.metric)
            for step, path in kept_models(self.folder).items():
                if step not in wanted:
                    path.unlink(missing_ok=True)

    def files(self, curve: Sequence[Point]) -> tuple[Path, ...]:
        """The files of a finished run; what is lacking, as its point was measured before anything was kept, is said."""
        written, wanted = kept_models(self.folder), self.keep.steps(curve, self.metric)
        if lacking := [str(step) for step in wanted if step not in written]:
            steps = ", ".join(lacking)
            print(f"no model is kept of step {steps}: the run was begun without --keep {self.keep}", flush=True)
        if not wanted:
            print("no model is kept: the run has no validation split to choose by", flush=True)
        return tuple(written[step] for step in wanted if step in written)

    def _write(self, model: Model, step: int) -> None:
        tensors, left_out = dict[str, Tensor](), dict[str, str]()
        for name, tensor in model.scored_state().items():
            if name in self.published and digest_of(tensor) == self.published[name]:
                left_out[name] = self.published[name]
            elif not name.startswith(NOT_SCORED):
                kept = halved(tensor) if self.keep.half else tensor
                tensors[name] = kept.detach().cpu().contiguous().clone()
        facts = msgspec.structs.replace(self.facts, step=step, half=self.keep.half, left_out=left_out)
        write_tensors(tensors, self.folder / kept_name(step), facts)


def write_tensors(tensors: dict[str, Tensor], path: Path, facts: ModelFacts) -> None:
    """Write a file with what it says of itself, whole or not at all. Raises ``OSError``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    metadata = {"format": "pt", "bench": msgspec.json.encode(facts).decode(), "crc32": str(checksum_of(tensors))}
    try:
        save_tensors(tensors, draft, metadata)
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def halved(tensor: Tensor) -> Tensor:
    """In half precision, unless it counts or holds a number that is too large for it."""
    half = tensor.half() if tensor.is_floating_point() else tensor
    return half if torch.equal(half.isfinite(), tensor.isfinite()) else tensor


def digest_of(tensor: Tensor) -> str:
    """Of shape, type and bytes."""
    running = hashlib.sha256(f"{tuple(tensor.shape)} {tensor.dtype}".encode())
    running.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return running.hexdigest()[:16]
