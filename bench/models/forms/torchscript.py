"""A TorchScript file, which needs torch alone: images in 0..1 of any number to logits, the normalisation inside."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch

from bench.models.export import Export, Written, refused, require_same
from bench.models.scorer import probe_images

SUFFIX, FOLDER, NEEDS = ".pt", False, ()


def write(export: Export, path: Path) -> Written:
    """Raises ``InputError`` where the network cannot be traced, or computes something else then."""
    facts, scorer = export.facts, export.scorer
    images = probe_images(facts.channels, facts.image_size, 5)
    with warnings.catch_warnings(), torch.inference_mode(False), torch.no_grad():
        warnings.simplefilter("ignore")  # of torch, which advises other forms, and of shapes that are fixed here
        try:
            torch.jit.trace(scorer, images[:2], check_trace=False).save(str(path))  # type: ignore[no-untyped-call]
            traced = torch.jit.load(str(path))  # type: ignore[no-untyped-call]
        except Exception as error:  # tracing raises what the network's own code does
            raise refused("torchscript", facts.label, error, ("onnx", "timm")) from error
        require_same(scorer(images), traced(images), "--to torchscript")

    def usage(path: Path) -> str:
        return (
            "import torch\n\n"
            f"model = torch.jit.load({str(path)!r})\n"
            f"logits = model(images)  # float32 (B, {facts.channels}, {facts.image_size}, {facts.image_size}) in 0..1, "
            "not normalised\n"
        )

    return Written(usage)
