"""UC: targets and their loss, budgets, generators, one step, application and the PGD baseline."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from fallow.encoders.generator import Generator
from fallow.losses.adversarial import toward
from fallow.methods.protect.uc import other_cluster
from fallow.views.perturb import Budget, added, descended, stretched

from .cases import close, golden


def whole(case, name):
    return int(case.inputs[name].item())


def fill(parameters, case, key, scale):
    """The k-th tensor's entries are scale * sin(0.7 i + 1.3 k + 0.1); shapes must be the file's."""
    parameters = list(parameters)
    shapes = [tuple(map(int, text.split("x"))) for text in case.inputs[key].tolist()]
    assert [tuple(each.shape) for each in parameters] == shapes
    with torch.no_grad():
        for k, each in enumerate(parameters):
            i = torch.arange(each.numel(), dtype=torch.float64)
            each.copy_((scale * torch.sin(0.7 * i + 1.3 * k + 0.1)).view_as(each))


class Surrogate(nn.Module):
    """Strided convolution, ReLU, mean over places; what would come next is a linear layer."""

    def __init__(self, shape, outputs=1):
        super().__init__()
        width, _, side, _ = shape
        self.c = nn.Conv2d(3, width, side, side)
        self.fc = nn.Linear(width, outputs)

    def forward(self, x):
        return F.relu(self.c(x)).mean((2, 3))


@golden("uc", "kl")
def test_target_and_loss(case):
    features, centres = case.tensor("feat", True), case.tensor("centers")
    target = other_cluster(whole(case, "cluster"), len(centres), whole(case, "offset"))
    loss = toward(features, centres[target])
    loss.backward()
    assert target == int(case.outputs["target"])
    close(loss, case.outputs["loss"], rtol=1e-5)
    close(features.grad, case.outputs["grad_feat"], rtol=1e-5, atol=1e-8)


@golden("uc", "proj")
def test_budgets(case):
    change = case.tensor("delta")
    linf, l2 = Budget(case.number("eps_linf")), Budget(case.number("eps_l2"), "l2")
    close(linf.clamped(change), case.outputs["linf"], rtol=1e-5)
    close(l2.scaled(change), case.outputs["l2_scaled"], rtol=1e-5)
    close(l2.clamped(change), case.outputs["l2_clamped"], rtol=1e-5)


@golden("uc", "gen")
def test_generator(case):
    how = (str(case.inputs[name]) for name in ("norm", "act") if name in case.inputs)
    generator = Generator(whole(case, "ngf"), whole(case, "blocks"), *how)
    fill(generator.parameters(), case, "param_shapes", 0.2)
    noise = case.tensor("z")
    close(generator(noise), case.outputs["train"], rtol=1e-4, atol=1e-6)
    generator.eval()
    close(generator(noise), case.outputs["eval_after_one_train_pass"], rtol=1e-4, atol=1e-6)


@golden("uc", "step")
def test_step(case):
    shapes = [tuple(map(int, text.split("x"))) for text in case.inputs["sur_shapes"].tolist()]
    surrogate = Surrogate(shapes[0], shapes[2][0])
    fill(surrogate.parameters(), case, "sur_shapes", 0.3)
    raw, centres = case.tensor("raw_delta", True), case.tensor("centers")
    mean, std = (case.tensor(name).view(1, 3, 1, 1) for name in ("mean", "std"))
    changed = added(case.tensor("images"), Budget(case.number("eps")).clamped(raw))
    features = surrogate((changed - mean) / std)
    loss = toward(features, centres[other_cluster(whole(case, "cluster"), len(centres))])
    loss.backward()
    close(features, case.outputs["feat"], rtol=1e-5)
    close(loss, case.outputs["loss"], rtol=1e-5)
    close(raw.grad, case.outputs["grad_raw"], rtol=1e-4, atol=1e-8)


@golden("uc", "apply")
def test_application(case):
    pattern = case.tensor("noise")[whole(case, "cluster")]
    kinds = {name.removeprefix("image_") for name in case.inputs if name.startswith("image_")}
    assert kinds == set(case.outputs)
    for kind in kinds:
        picture = case.tensor(f"image_{kind}")
        made = added(picture, stretched(pattern, tuple(picture.shape[1:])))
        close(made, case.outputs[kind], rtol=1e-5)


@golden("uc", "pgd")
def test_descent(case):
    anchors, pictures = case.tensor("anchor"), case.tensor("images")
    width = anchors.shape[1]
    surrogate = Surrogate((width, 3, 4, 4))
    surrogate.requires_grad_(False)
    with torch.no_grad():
        for k, each in enumerate([surrogate.c.weight, surrogate.c.bias]):
            i = torch.arange(each.numel(), dtype=torch.float64)
            each.copy_((0.3 * torch.sin(0.7 * i + 1.3 * k + 0.1)).view_as(each))

    def objective(x):
        return toward(surrogate(x), anchors)

    budget = Budget(255 * case.number("eps"))
    close(
        descended(objective, pictures, budget, whole(case, "iters")), case.outputs["adv"], rtol=1e-5
    )
