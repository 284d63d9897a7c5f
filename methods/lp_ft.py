"""LP-FT: a linear probe, then fine-tuning of everything from there (Kumar et al., ICLR 2022)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bench.backbones import Model
from bench.data import TrainingImages
from bench.method import Batch, Method, Stage, Terms, hyper
from bench.protocol import Recipe


@dataclass(frozen=True)
class LPFT(Method):
    """The head is trained on frozen features first, so that fine-tuning does not distort them towards a random head.

    The released code fits the probe with logistic regression, on features of images as they are; here it is a first
    stage under the protocol. Both stages have a schedule of their own. WiSE-FT with alpha = 1 is the same training.
    """

    paper = (
        "Kumar, Raghunathan, Jones, Ma and Liang, 'Fine-Tuning can Distort Pretrained Features and Underperform "
        "Out-of-Distribution', ICLR 2022, section 3.4"
    )
    per_image = True

    share: float = hyper(0.2, low=0, high=1, source="of the budget for the linear probe; our choice")
    val_mode: bool = hyper(
        False,
        source="fine-tune in eval mode, batch norms fixed and nothing dropped (released code: use_net_val_mode, which "
        "its authors set for LP-FT); false: as every other method, our choice",
    )

    def stages(self, model: Model, recipe: Recipe, data: TrainingImages) -> Iterator[Stage]:
        """The head, then everything."""
        yield Stage(model, self.loss, recipe.share(self.share), train=(model.head,))
        yield Stage(model, self.fine_tuning, recipe.rest(self.share))

    def fine_tuning(self, model: Model, batch: Batch) -> Terms:
        """Cross-entropy, with the backbone in eval mode where that is asked for."""
        model.backbone.train(not self.val_mode)
        return self.loss(model, batch)
