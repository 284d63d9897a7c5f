"""A small ViT with rotary positions, for methods that set something into its linear layers."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from timm.models.eva import Eva

from bench.backbones import Model
from bench.backbones.families import family_of
from bench.method import Method
from bench.training.fit import set_modes, trained
from tests.methods.by_hand import CLASSES, DEPTH, DIM, HEADS, PATCH, RECIPE, SIDE, shaken, some_images


def eva() -> Model:
    """As a DINOv3: registers, layer scale, and projections without biases that are no layer's; float64."""
    torch.manual_seed(0)
    backbone = Eva(
        img_size=SIDE,
        patch_size=PATCH,
        embed_dim=DIM,
        depth=DEPTH,
        num_heads=HEADS,
        num_classes=0,
        qkv_bias=False,
        num_reg_tokens=2,
        init_values=0.5,
        use_abs_pos_emb=False,
        use_rot_pos_emb=True,
        global_pool="token",
    )
    model = Model(backbone, family_of(backbone), DIM, CLASSES, [0.5] * 3, [0.25] * 3).double()
    shaken(model)
    return model.eval()


def require_trained_and_merged(method: Method, apart: float) -> None:
    """Two steps of a method lower its loss and move only what it trains; merged, its logits differ by this at most."""
    model = eva()
    images, labels = some_images(), torch.tensor([0, 1, 2])
    plain = {name: value.clone() for name, value in model.state_dict().items()}
    stages = method.stages(model, RECIPE, None)  # type: ignore[arg-type]  # it looks at no images
    stage = next(stages)
    set_modes(stage)
    weights = [weight for _, weight in trained(stage)]
    optimizer, losses = torch.optim.SGD(weights, lr=0.01), []
    for _ in range(3):
        loss = F.cross_entropy(model(images).logits, labels)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if len(losses) < 3:
            assert all(weight.grad is not None for weight in weights)
            optimizer.step()
    assert losses[2] < losses[1] < losses[0]
    unmerged = model.eval()(images).logits
    assert list(stages) == []
    torch.testing.assert_close(model(images).logits, unmerged, rtol=0, atol=apart)
    changed = {
        name for name, value in model.state_dict().items() if name in plain and not torch.equal(value, plain[name])
    }
    assert {f"backbone.blocks.{number}.attn.qkv.weight" for number in range(DEPTH)} < changed
    assert not any(name.endswith(("_token", "gamma_1", "gamma_2")) for name in changed)
