"""Style transfer: losses against hand-computed ones and finite differences, and a real run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the lab's extra is not installed")

from facepaint.errors import LabError  # noqa: E402
from facepaint.lab import style  # noqa: E402
from facepaint.lab.features import VGG  # noqa: E402

Pixels = np.ndarray


class Small(torch.nn.Module):
    """Two convolutions that stand for a VGG."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two = torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.Conv2d(4, 6, 3, 2, 1)
        self.double().requires_grad_(False)

    def forward(self, x: torch.Tensor, wanted: object) -> dict[str, torch.Tensor]:
        first = torch.tanh(self.one(x.double()))
        return {"one": first, "two": torch.tanh(self.two(first))}


SETTINGS = {"content_layer": "two", "style_layers": ("one", "two"), "steps": 30, "rate": 0.03}


def picture(seed: int, size: int = 24) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8)


def test_losses_are_those_of_the_paper() -> None:
    """Small maps, with Gram matrices written out in loops."""
    rng = np.random.default_rng(0)
    f, p = (torch.from_numpy(rng.normal(size=(1, 3, 2, 5))) for _ in range(2))
    by_hand = sum((a - b) ** 2 for a, b in zip(f.flatten(), p.flatten(), strict=True)) / 2
    assert torch.isclose(style.content_loss(f, p), by_hand)
    grams = []
    for x in (f, p):
        flat = x[0].flatten(1).numpy()
        grams.append([[sum(flat[i] * flat[j]) for j in range(3)] for i in range(3)])
    difference = np.array(grams[0]) - np.array(grams[1])
    wanted = (difference**2).sum() / (4 * 3**2 * 10**2)  # N = 3 maps of M = 10 places
    got = style.style_loss(style.gram(f), style.gram(p))
    assert np.isclose(float(got), wanted)


def test_a_mask_of_ones_is_no_mask_and_a_hole_is_not_seen() -> None:
    maps = torch.from_numpy(np.random.default_rng(1).normal(size=(1, 3, 4, 4)))
    whole = style.gram(maps, torch.ones(1, 1, 8, 8, dtype=torch.float64))
    assert torch.allclose(whole[0], style.gram(maps)[0]) and whole[1] == 16
    half = torch.zeros(1, 1, 4, 4, dtype=torch.float64)
    half[..., :2] = 1
    other = maps.clone()
    other[..., 2:] = 100
    assert torch.allclose(style.gram(maps, half)[0], style.gram(other, half)[0])


def test_the_gradient_is_that_of_finite_differences() -> None:
    settings = style.StyleSettings(**SETTINGS)
    transfer = style.StyleTransfer(Small(), picture(0), picture(1), settings)
    at = transfer.content.double().requires_grad_(True)
    transfer.total(transfer.losses(at)).backward()
    rng = np.random.default_rng(2)
    for _ in range(5):
        n, c, y, x = 0, *(int(rng.integers(k)) for k in (3, 24, 24))
        step = torch.zeros_like(at)
        step[n, c, y, x] = 1e-5
        with torch.no_grad():
            up, down = (transfer.total(transfer.losses(at + s)) for s in (step, -step))
        assert torch.isclose(at.grad[n, c, y, x], (up - down) / 2e-5, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("optimizer", style.OPTIMIZERS)
def test_both_optimizers_lower_the_loss(optimizer: str) -> None:
    settings = style.StyleSettings(optimizer=optimizer, **SETTINGS)
    stripes = np.zeros((24, 24, 3), np.uint8)
    stripes[:, ::2] = (250, 120, 10)
    transfer = style.StyleTransfer(Small(), picture(0), stripes, settings)
    made, curve = transfer.run()
    assert made.shape == (24, 24, 3) and made.dtype == np.uint8
    totals = [settings.alpha * c["content"] + settings.beta * c["style"] for c in curve]
    assert min(totals) < 0.85 * totals[0]
    assert curve[0]["content"] == 0  # it begins as the content


def test_outside_the_mask_nothing_changes() -> None:
    mask = np.zeros((24, 24), np.float32)
    mask[8:16, 8:16] = 1
    settings = style.StyleSettings(**SETTINGS)
    transfer = style.StyleTransfer(Small(), picture(0), picture(1), settings, mask, None)
    made, _ = transfer.run()
    assert np.array_equal(made[mask == 0], picture(0)[mask == 0])
    assert not np.array_equal(made, picture(0))


def test_beta_zero_keeps_the_photo() -> None:
    settings = style.StyleSettings(beta=0.0, **SETTINGS)
    made, _ = style.StyleTransfer(Small(), picture(0), picture(1), settings).run()
    assert np.array_equal(made, picture(0))


def test_mistakes_are_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="there are lbfgs, adam"):
        style.StyleSettings(optimizer="sgd")
    with pytest.raises(LabError, match="differ in length"):
        style.StyleSettings(style_weights=(1.0,))
    with pytest.raises(LabError, match="at least 16 × 16"):
        style.StyleTransfer(Small(), picture(0, 8), picture(1), style.StyleSettings())
    with pytest.raises(LabError, match="there are vgg19, vgg16-hed, or a path"):
        VGG("vgg99")
    (tmp_path / "w.pth").write_bytes(b"nonsense")
    with pytest.raises(LabError, match=r"w\.pth: not the weights of VGG19"):
        VGG(str(tmp_path / "w.pth"))


def test_vgg16_hed_sees_layers_and_stops_where_asked() -> None:
    pytest.importorskip("h5py")
    try:
        network = VGG("vgg16-hed")
    except LabError as error:
        pytest.skip(str(error))
    maps = network(torch.rand(1, 3, 32, 32), ("conv1_1", "conv3_1"))
    assert {k: tuple(v.shape[1:]) for k, v in maps.items()} == {
        "conv1_1": (64, 32, 32),
        "conv3_1": (256, 8, 8),
    }
    assert all((v >= 0).all() and v.any() for v in maps.values())
    with pytest.raises(LabError, match="no layer conv9_9"):
        network(torch.rand(1, 3, 32, 32), ("conv9_9",))
