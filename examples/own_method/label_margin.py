"""Cross-entropy with a margin on the right class (an example, not from a paper)."""

from dataclasses import dataclass

import torch.nn.functional as F

from bench.method import Method, hyper


@dataclass(frozen=True)
class LabelMargin(Method):
    """Cross-entropy after the right class's logit is lowered by a margin."""

    paper = "an example"

    margin: float = hyper(0.5, low=0, source="our choice")

    def loss(self, model, batch):
        logits = model(batch.images).logits
        lowered = logits - self.margin * F.one_hot(batch.labels, logits.shape[1])
        return {"margin": F.cross_entropy(lowered, batch.labels)}
