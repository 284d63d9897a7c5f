"""An ONNX file: images in 0..1 of any number to logits, with the normalisation inside."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import torch

from bench.models.export import Export, Written, config_of, refused, require_same
from bench.models.scorer import probe_images

SUFFIX, FOLDER, NEEDS = ".onnx", False, ("onnx", "onnxscript", "onnxruntime")


def write(export: Export, path: Path) -> Written:
    """Raises ``InputError`` where torch's exporter cannot write the network, or onnxruntime computes something else."""
    import onnx
    import onnxruntime

    facts, scorer = export.facts, export.scorer
    images = probe_images(facts.channels, facts.image_size, 5)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch's own exporter, which names nothing that one could change
            torch.onnx.export(
                scorer,
                (images[:2],),
                str(path),
                input_names=["images"],
                output_names=["logits"],
                dynamic_shapes={"images": {0: "batch"}},
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    except Exception as error:  # the exporter raises what an operation without a counterpart makes it raise
        raise refused("onnx", facts.label, error, ("torchscript", "timm")) from error
    whole = onnx.load(str(path))
    config = config_of(export)
    onnx.helper.set_model_props(whole, {key: json.dumps(config[key]) for key in ("label_names", "pretrained_cfg")})
    onnx.save(whole, str(path))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"images": images.numpy()})
    with torch.inference_mode():
        require_same(scorer(images), torch.from_numpy(logits), "--to onnx")

    def usage(path: Path) -> str:
        return (
            "import onnxruntime\n\n"
            f"session = onnxruntime.InferenceSession({str(path)!r})\n"
            "(logits,) = session.run(None, {'images': images})  "
            f"# float32 (B, {facts.channels}, {facts.image_size}, {facts.image_size}) in 0..1, not normalised\n"
        )

    return Written(usage)
