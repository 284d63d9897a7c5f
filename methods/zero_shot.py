"""Zero-shot: nothing is trained, and texts of the classes' names are the head (Radford et al., ICML 2021)."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from bench.backbones import CosineLinear, Model, TextTower
from bench.data import TrainingImages
from bench.errors import InputError
from bench.method import Method, Stage, hyper
from bench.protocol import Recipe

LISTS = {"imagenet": "OPENAI_IMAGENET_TEMPLATES", "imagenet7": "SIMPLE_IMAGENET_TEMPLATES"}
"""Lists of templates, by what they are called here and in open_clip."""


def prompts(template: str, names: Sequence[str]) -> list[list[str]]:
    """The texts of each class: every template with its name in the place of ``{}``.

    Args:
        template: templates with ``|`` between them, or a key of ``LISTS``.
        names: of the classes, in words.

    Raises:
        InputError: a template has no place for the name.
    """
    if template in LISTS:
        listed = getattr(importlib.import_module("open_clip"), LISTS[template])
        return [[fill(name) for fill in listed] for name in names]
    templates = [each.strip() for each in template.split("|")]
    odd = [each for each in templates if "{}" not in each]
    if odd:
        called = ", ".join(LISTS)
        raise InputError(
            f"the template '{odd[0]}' has no {{}} for the name of a class; lists of templates are {called}"
        )
    return [[each.replace("{}", name) for each in templates] for name in names]


@dataclass(frozen=True)
class ZeroShot(Method):
    """The rows of the head are embeddings of texts about the classes, and an image is compared by direction.

    A class is called by its name in words, in one or more templates; the mean of the templates' embeddings, brought to
    unit length, is multiplied by CLIP's own scale. The image's features are projected as CLIP does and brought to unit
    length. It is the start of WiSE-FT's, LP-FT's and FLYP's experiments with CLIP. No step of the budget is made.
    """

    paper = (
        "Radford et al., 'Learning Transferable Visual Models From Natural Language Supervision', ICML 2021, sections "
        "3.1.2 and 3.1.4"
    )
    needs = {"text_tower"}

    template: str = hyper(
        "a photo of a {}.",
        source="CLIP's paper 3.1.4; {} is the class's name, | stands between several, whose mean counts; imagenet: "
        "the 80 of CLIP's code for ImageNet, imagenet7: the 7 that it takes of them",
    )

    def stages(self, model: Model, recipe: Recipe, data: TrainingImages) -> Iterator[Stage]:
        """None; the head is set."""
        self.zero_shot_head(model, data)
        yield from ()

    def zero_shot_head(self, model: Model, data: TrainingImages) -> tuple[TextTower, Tensor]:
        """Put the head of texts into the model; gives its text tower, and the texts as tokens (K, T, length)."""
        tower = model.text_tower
        assert tower is not None
        texts = prompts(self.template, data.class_names)
        tokens = tower.tokens([text for of_class in texts for text in of_class]).view(len(texts), len(texts[0]), -1)
        model.head = CosineLinear(tower.projection, model.classes)
        model.head.weight.data.copy_(tower.class_weights(tokens))
        return tower, tokens
