"""Training steps in images a second: ours beside the same networks and losses written plainly.

Plain is: eager, single precision, default memory order, a pass of its own for every term. It lives
here for this comparison alone. Both sides start from the same weights and see the same batch, and
their first losses must agree within the tolerance of bf16.

    .venv/bin/python benchmarks/train_steps.py [--only cyclegan,…] [--repeats 7] [--out FILE.json]
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from dry_run import losses, method_of
from torch import Tensor
from torch.nn import functional as F

from facepaint.lab import style
from facepaint.lab.data.pictures import to_signed
from facepaint.lab.features import VGG

Step = Callable[[], Tensor]  # one training step; its first loss
TOLERANCE = 0.03  # relative, of losses in bf16 and in single precision
RECIPES = {
    "cyclegan": {"method": "cyclegan", "size": 64, "width": 20, "batch": 4, "compile": True},
    "sagan": {"method": "sagan", "size": 64, "width": 16, "batch": 32, "precision": "bf16-mixed"},
    "maskrcnn": {"method": "maskrcnn", "size": 320, "batch": 8, "compile": True},
}


def optimizers(method: Any) -> dict[str, torch.optim.Optimizer]:
    return {n: torch.optim.Adam(m.parameters(), 1e-6) for n, m in method.networks.items()}


def ours(name: str) -> Step:
    """The step of the loop, without its log and files."""
    method, batch = method_of(RECIPES[name])
    for network in method.networks.values():
        network.to(memory_format=torch.channels_last)
        if method.settings.compile:
            network.compile()
    each = optimizers(method)

    def step() -> Tensor:
        first = None
        for loss, names in losses(method, batch):
            first = loss.detach() if first is None else first
            update(loss, [each[n] for n in names])
        assert first is not None
        return first

    return step


def update(loss: Tensor, each: list[torch.optim.Optimizer]) -> None:
    for optimizer in each:
        optimizer.zero_grad(set_to_none=True)
    loss.backward()
    for optimizer in each:
        optimizer.step()


def plain_cyclegan() -> Step:
    method, batch = method_of(RECIPES["cyclegan"])
    nets, each = method.networks, optimizers(method)
    happy, neutral = (to_signed(batch[d]).contiguous() for d in ("happy", "neutral"))

    def real(scores: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(scores, torch.ones_like(scores))

    def fake(scores: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(scores, torch.zeros_like(scores))

    def step() -> Tensor:
        made_neutral, made_happy = nets["to_neutral"](happy), nets["to_happy"](neutral)
        loss = real(nets["critic_neutral"](made_neutral)) + real(nets["critic_happy"](made_happy))
        loss = loss + 10 * (nets["to_happy"](nets["to_neutral"](happy)) - happy).abs().mean()
        loss = loss + 10 * (nets["to_neutral"](nets["to_happy"](neutral)) - neutral).abs().mean()
        update(loss, [each["to_happy"], each["to_neutral"]])
        for name, seen, made in (
            ("critic_happy", happy, made_happy),
            ("critic_neutral", neutral, made_neutral),
        ):
            judged = real(nets[name](seen)) + fake(nets[name](made.detach()))
            update(judged / 2, [each[name]])
        return loss.detach()

    return step


def plain_sagan() -> Step:
    method, batch = method_of(RECIPES["sagan"])
    generator, critic = method.networks["generator"], method.networks["critic"]
    each = optimizers(method)
    pictures = to_signed(batch["critic_0_real"]).contiguous()

    def step() -> Tensor:
        asked = batch["critic_0_asked"]
        made = generator(batch["critic_0_noise"], asked).detach()
        named = F.cross_entropy(
            critic(pictures, batch["critic_0_labels"]), batch["critic_0_labels"]
        )
        wrong = torch.softmax(critic(made, asked), 1).gather(1, asked[:, None])
        loss = named - torch.log((1 - wrong).clamp(min=1e-7)).mean()
        update(loss, [each["critic"]])
        asked = batch["generator_asked"]
        made = generator(batch["generator_noise"], asked)
        update(F.cross_entropy(critic(made, asked), asked), [each["generator"]])
        return loss.detach()

    return step


def plain_maskrcnn() -> Step:
    method, batch = method_of(RECIPES["maskrcnn"])
    network, each = method.networks["maskrcnn"].network.train(), optimizers(method)

    def step() -> Tensor:
        pictures = [p.permute(2, 0, 1).float() / 255 for p in batch["pictures"]]
        targets = [
            {"boxes": b[:n].float() / 16, "labels": torch.ones(n, dtype=torch.long), "masks": m[:n]}
            for b, m, n in zip(
                batch["boxes"], batch["masks"], batch["counts"].tolist(), strict=True
            )
        ]
        loss = sum(network(pictures, targets).values(), torch.zeros(()))
        update(loss, [each["maskrcnn"]])
        return loss.detach()

    return step


def style_step(plain: bool, features: str) -> Step:
    """One evaluation of the loss and its gradient; plainly, a pass for the content and another
    for each style layer's, through the whole network."""
    rng = np.random.default_rng(0)
    content, wanted = (rng.integers(0, 256, (192, 192, 3), np.uint8) for _ in range(2))
    settings = style.StyleSettings()
    transfer = style.StyleTransfer(VGG(features), content, wanted, settings)
    picture = (transfer.content + 0.01 * torch.randn(transfer.content.shape)).requires_grad_(True)
    network = VGG(features).to(memory_format=torch.contiguous_format)

    def step() -> Tensor:
        picture.grad = None
        if plain:
            layer = settings.content_layer
            maps = network(picture, (layer,))[layer]
            loss = style.content_loss(maps, network(transfer.content, (layer,))[layer].detach())
            loss = settings.alpha * loss
            reference = style.to_tensor(wanted)
            every = zip(settings.weights, settings.style_layers, strict=True)
            for weight, name in every:
                made = style.gram(network(picture, (name,))[name])
                aim = style.gram(network(reference, (name,))[name].detach())
                loss = loss + settings.beta * weight * style.style_loss(made, aim)
        else:
            loss = transfer.total(transfer.losses(picture))
        loss.backward()
        return loss.detach()

    return step


PLAIN = {"cyclegan": plain_cyclegan, "sagan": plain_sagan, "maskrcnn": plain_maskrcnn}


def measured(steps: tuple[Step, ...], images: int, repeats: int) -> list[dict[str, float]]:
    """Images a second of each: median and spread (half of what lies between the quartiles). They
    take turns, so that what else the machine does falls on all."""
    rates: list[list[float]] = [[] for _ in steps]
    for turn in range(repeats + 2):
        for mine, step in zip(rates, steps, strict=True):
            began = time.perf_counter()
            step()
            if turn > 1:  # the first two warm up
                mine.append(images / (time.perf_counter() - began))
    result = []
    for mine in rates:
        low, _, high = statistics.quantiles(mine, n=4)
        result.append({"median": statistics.median(mine), "spread": (high - low) / 2})
    return result


def compare(name: str, repeats: int, features: str) -> dict[str, Any]:
    torch.manual_seed(0)
    if name == "nst":
        images, (fast, slow) = 1, (style_step(plain, features) for plain in (False, True))
    else:
        images, fast, slow = RECIPES[name]["batch"], ours(name), PLAIN[name]()
    torch.manual_seed(1)  # Mask R-CNN draws its samples
    first = float(deepcopy(fast()))
    torch.manual_seed(1)
    plain = float(slow())
    result: dict[str, Any] = dict(
        zip(("ours", "plain"), measured((fast, slow), images, repeats), strict=True)
    )
    result["times_faster"] = result["ours"]["median"] / result["plain"]["median"]
    result["first_loss"] = {"ours": first, "plain": plain}
    result["losses_agree"] = abs(first - plain) <= TOLERANCE * abs(plain)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="nst,maskrcnn,sagan,cyclegan")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--features", default="vgg16-hed")
    parser.add_argument("--out")
    asked = parser.parse_args()
    machine = {
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    results: dict[str, Any] = {"hardware": machine}
    for name in asked.only.split(","):
        results[name] = found = compare(name, asked.repeats, asked.features)
        print(
            f"{name:<9} ours {found['ours']['median']:7.2f} ± {found['ours']['spread']:.2f}"
            f"   plain {found['plain']['median']:7.2f} ± {found['plain']['spread']:.2f} images/s"
            f"   {found['times_faster']:.2f} times   losses agree: {found['losses_agree']}"
        )
    if asked.out:
        Path(asked.out).write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
