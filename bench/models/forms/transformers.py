"""A folder that Hugging Face's ``AutoModelForImageClassification`` loads, through its wrapper of timm's networks."""

from __future__ import annotations

from pathlib import Path

from bench.models.export import Export, Written, without_places
from bench.models.forms.timm import config, contiguous, network_of
from bench.training.keeping import write_tensors

SUFFIX, FOLDER, NEEDS = "", True, ("timm",)


def write(export: Export, path: Path) -> Written:
    """Raises ``InputError`` where timm builds no such network."""
    built = network_of(export)
    path.mkdir()
    write_tensors(contiguous(built), path / "model.safetensors", without_places(export.facts))

    def usage(path: Path) -> str:
        return (
            "from transformers import AutoImageProcessor, AutoModelForImageClassification\n\n"
            f"model = AutoModelForImageClassification.from_pretrained({str(path)!r}).eval()\n"
            f"processor = AutoImageProcessor.from_pretrained({str(path)!r})\n"
            f"# or: timm.create_model({f'local-dir:{path}'!r}, pretrained=True)\n"
        )

    return Written(usage, config(export, built))
