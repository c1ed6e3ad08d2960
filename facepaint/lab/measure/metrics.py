"""Metrics: how good an edit is, as pure functions whose names and docstrings say the protocol.

Pictures are uint8 [H, W, 3] RGB unless said otherwise; means are over faces.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch

from facepaint.face import FACE_OVAL, LEFT_EYE, OUTER_LIPS, RIGHT_EYE, FloatArray

Pixels = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.floating[Any]]
SAME_PERSON = 0.6  # distance of two dlib embeddings below which its authors take them for one


def rate_named(probabilities: Numbers, wanted: int) -> float:
    """The share of faces whose likeliest class is the wanted one; probabilities [N, K]."""
    return float((probabilities.argmax(1) == wanted).mean())


def rate_two_way(probabilities: Numbers, wanted: int, other: int) -> float:
    """The share of faces for which the wanted class is likelier than the other one; [N, K]."""
    return float((probabilities[:, wanted] > probabilities[:, other]).mean())


def gain_of_probability(before: Numbers, after: Numbers, wanted: int) -> float:
    """How much the wanted class's probability rose in the mean; both [N, K]."""
    return float((after[:, wanted] - before[:, wanted]).mean())


def blendshape_error(read: Numbers, asked: Numbers) -> float:
    """Mean absolute difference of blendshapes [N, 52], 0 to 1."""
    return float(np.abs(read - asked).mean())


def landmark_error(found: Numbers, wanted: Numbers, eyes: Numbers) -> float:
    """Mean distance of landmarks [N, 478, 2] over each face's distance between the irises [N]."""
    return float((np.linalg.norm(found - wanted, axis=2).mean(1) / eyes).mean())


def spearman_of_strength(scores: Numbers) -> float:
    """Mean rank correlation of the strength with the judged score; scores [N, S], S rising
    strengths. Ranks of equal scores are their mean; a face whose score never moves counts 0."""
    strength = np.arange(scores.shape[1], dtype=float)
    return float(np.mean([rank_correlation(row, strength) for row in scores]))


def rank_correlation(a: Numbers, b: Numbers) -> float:
    """Spearman's rank correlation of [N] and [N]; 0 where either never moves."""
    ranks = [_ranks(x) - (len(x) - 1) / 2 for x in (a, b)]
    norm = float(np.sqrt((ranks[0] ** 2).sum() * (ranks[1] ** 2).sum()))
    return float((ranks[0] * ranks[1]).sum() / norm) if norm else 0.0


def _ranks(values: Numbers) -> npt.NDArray[np.float64]:
    """Ranks from 0; equal values share the mean of theirs."""
    below = (values[None] < values[:, None]).sum(1)
    equal = (values[None] == values[:, None]).sum(1)
    return np.asarray(below + (equal - 1) / 2, np.float64)


def same_person_rate(distances: Numbers) -> float:
    """The share of embedding distances under SAME_PERSON (dlib's face recognition network)."""
    return float((distances < SAME_PERSON).mean())


def greatest_change_outside(before: Pixels, after: Pixels, mask: FloatArray) -> int:
    """The greatest change of any channel where the mask [H, W] is 0; 0 to 255."""
    outside = mask == 0
    change = np.abs(after.astype(int) - before)[outside]
    return int(change.max(initial=0))


def share_of_change_at(before: Pixels, after: Pixels, region: FloatArray) -> float:
    """The share of the whole absolute change that lies where the region [H, W] is over one half;
    0 where nothing changed."""
    change = np.abs(after.astype(float) - before).sum(2)
    whole = float(change.sum())
    return float(change[region > 0.5].sum()) / whole if whole else 0.0


def laplacian_energy_ratio(before: Pixels, after: Pixels, skin: FloatArray) -> float:
    """`laplacian_energy` of the same `skin` after over before: 1 keeps the sharpness, less blurs,
    more adds detail or noise; 1 where there was none."""
    energy = laplacian_energy(before, skin)
    return laplacian_energy(after, skin) / energy if energy else 1.0


def laplacian_energy(pixels: Pixels, skin: FloatArray) -> float:
    """The mean square of the Laplacian (four neighbours) of the grey picture where `skin` [H, W] is
    over one half."""
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return float((cv2.Laplacian(grey, cv2.CV_32F)[skin > 0.5] ** 2).mean())


def skin_mask(landmarks: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    """The face without mouth and eyes, float32 [H, W], 0 or 1; landmarks [478, 2] in pixels."""
    mask = np.zeros(shape[:2], np.uint8)
    eyes = float(np.linalg.norm(landmarks[468] - landmarks[473]))
    cv2.fillPoly(mask, [np.round(landmarks[list(FACE_OVAL)]).astype(np.int32)], 1)
    inner = max(1, round(0.08 * eyes))
    mask = cv2.erode(mask, np.ones((inner, inner), np.uint8)).astype(np.uint8)
    for part, grow in ((OUTER_LIPS, 0.25), (RIGHT_EYE, 0.2), (LEFT_EYE, 0.2)):
        hole = np.zeros(shape[:2], np.uint8)
        cv2.fillPoly(hole, [np.round(landmarks[list(part)]).astype(np.int32)], 1)
        around = 2 * round(grow * eyes) + 1
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (around, around))
        mask[cv2.dilate(hole, kernel) > 0] = 0
    return mask.astype(np.float32)


def mean_l1_255(a: Sequence[Pixels], b: Sequence[Pixels]) -> float:
    """Mean absolute difference of pictures in pairs, 0 to 255; of a round trip or a cycle."""
    return float(np.mean([np.abs(x.astype(float) - y).mean() for x, y in zip(a, b, strict=True)]))


def cycle_l1(mean_255: float, values: int) -> dict[str, float]:
    """The three readings of the 2019 study's cycle L1, whose unit it does not say: the mean of
    0..255, the mean of 0..1, and the sum of 0..1 over the `values` of one picture.

    mean_255: what `mean_l1_255` gives of photos and of what came back.
    """
    mean_1 = mean_255 / 255
    return {"cycle_l1_255": mean_255, "cycle_l1_1": mean_1, "cycle_l1_sum": mean_1 * values}


def kernel_distance(real: Numbers, made: Numbers) -> float:
    """The squared maximum mean discrepancy of features [N, D] and [M, D], unbiased, with the
    polynomial kernel (x·y / D + 1)³ (Binkowski et al. 2018). On Inception's features it is KID;
    on others it goes by their name."""
    width = real.shape[1]

    def kernel(x: Numbers, y: Numbers) -> npt.NDArray[np.float64]:
        return np.asarray((x.astype(np.float64) @ y.T / width + 1) ** 3)

    def within(k: npt.NDArray[np.float64]) -> float:
        n = len(k)
        return float((k.sum() - np.trace(k)) / (n * (n - 1)))

    across = float(kernel(real, made).mean())
    return within(kernel(real, real)) + within(kernel(made, made)) - 2 * across


def frechet_distance(real: Numbers, made: Numbers) -> float:
    """The Fréchet distance of two Gaussians fitted to features [N, D] and [M, D], by torchmetrics.
    On Inception's features it is FID (Heusel et al. 2017); biased upwards where N or M is small."""
    from torchmetrics.image.fid import FrechetInceptionDistance

    metric = FrechetInceptionDistance(feature=_Given(real.shape[1]))
    for features, is_real in ((real, True), (made, False)):
        metric.update(torch.from_numpy(np.asarray(features, np.float64)), real=is_real)
    return float(metric.compute())


def kid(real: Numbers, made: Numbers, subset: int = 50, seed: int = 0) -> float:
    """KID of Inception's features [N, D] and [M, D] by torchmetrics: the mean of 100 kernel
    distances of `subset` features each, fewer where there are not so many."""
    from torchmetrics.image.kid import KernelInceptionDistance

    size = min(subset, len(real), len(made))
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")  # that it keeps all features
        torch.manual_seed(seed)
        metric = KernelInceptionDistance(feature=_Given(real.shape[1]), subset_size=size)
        for features, is_real in ((real, True), (made, False)):
            metric.update(torch.from_numpy(np.asarray(features, np.float64)), real=is_real)
        return float(metric.compute()[0])


class _Given(torch.nn.Module):
    """For torchmetrics: features in place of pictures, which then need no network."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features


def typology_angle(pixels: Pixels, landmarks: FloatArray) -> float:
    """The individual typology angle of the cheeks, degrees (Chardon et al. 1991): over 28 is light
    skin, under 10 dark, as groups here. The photo's light enters, so it is rough. NaN where the
    cheeks lie outside of the picture or have no colour, as in a grey photo."""
    eyes = float(np.linalg.norm(landmarks[468] - landmarks[473]))
    half = max(2, round(0.12 * eyes))
    patches = []
    for cheek in (50, 280):
        x, y = (round(float(v)) for v in landmarks[cheek])
        patch = pixels[max(0, y - half) : y + half, max(0, x - half) : x + half]
        if patch.size:
            patches.append(patch.reshape(-1, 3))
    if not patches:
        return float("nan")
    median = np.median(np.concatenate(patches), 0).astype(np.float32) / 255
    lightness, a, b = cv2.cvtColor(median[None, None], cv2.COLOR_RGB2LAB)[0, 0]
    if np.hypot(a, b) < _GREY:
        return float("nan")
    # of the quotient alone the arctangent would take dark skin in blue light for light skin
    return float(np.degrees(np.arctan2(lightness - 50, b)))


_GREY = 0.5  # of a and b of CIELAB together, under which there is no colour
TONES = ("dark", "medium", "light")


def tone(angle: float) -> str:
    """One of TONES for a typology angle in degrees; "unknown" for NaN."""
    return "unknown" if np.isnan(angle) else TONES[int(angle > 10) + int(angle > 28)]


def bootstrap_means(
    values: Numbers, people: npt.NDArray[Any] | None = None, draws: int = 2000, seed: int = 0
) -> npt.NDArray[np.float64]:
    """The means of `values` [N] in `draws` resampled sets. What is drawn is people, with all their
    faces, since two photos of one person say less than two people. people: [N], each face's; every
    face another one's by default."""
    _, who = np.unique(np.arange(len(values)) if people is None else people, return_inverse=True)
    faces = np.bincount(who)
    sums = np.bincount(who, weights=values)
    count = len(faces)
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), draws)
    return np.asarray(drawn @ sums / (drawn @ faces), np.float64)


def middle(means: npt.NDArray[np.float64], share: float = 0.95) -> tuple[float, float]:
    """The interval that holds the middle `share` of resampled means."""
    low, high = np.quantile(means, [(1 - share) / 2, (1 + share) / 2])
    return float(low), float(high)


def bootstrap_interval(
    values: Numbers, people: npt.NDArray[Any] | None = None
) -> tuple[float, float]:
    """The interval in which the mean of `values` [N] lies in 95 % of the resampled sets."""
    return middle(bootstrap_means(values, people))
