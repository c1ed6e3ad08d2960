"""Judge: says which expression a face shows, for measuring; it takes no part in any loss.

A linear classifier on frozen features of a network that our methods were not trained with, fitted
on real faces of people who are not held out. How good it is on real photos of the held-out people
is the ceiling of what it can say about edited ones.

Most expressions are in one set alone, so a judge could tell the set in place of the expression: it
would call that set's neutral faces afraid, and no other set's. So each face is seen as its
difference from the mean neutral face of its own set, and the faces are taken evenly from all sets.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facepaint.errors import LabError
from facepaint.face import EXPRESSIONS, FloatArray
from facepaint.files import write_whole
from facepaint.lab import loop, precision
from facepaint.lab.data.faces import FaceSet
from facepaint.lab.data.pictures import picture
from facepaint.lab.features import VGG, VGG_FEATURES, Pyramid
from facepaint.lab.measure import face_api, wild
from facepaint.lab.measure.face_api import FaceApi

Pictures = Sequence[npt.NDArray[np.uint8]]
Extract = Callable[[Tensor], Tensor]  # pictures [N, 3, 128, 128], 0 to 1, to features [N, D]
Sees = Callable[[Pictures, str], FloatArray]  # pictures of one set to probabilities [N, K]
JUDGES = ("mobilenet_v2", *VGG_FEATURES, wild.NAME)
_SIZE = 128
_AT_ONCE = 32


def extractor(name: str) -> Extract:
    """Features of pictures by name: "mobilenet_v2", "vgg19" or "vgg16-hed"."""
    if name == "mobilenet_v2":
        pyramid = Pyramid()
        return lambda x: torch.cat([_pooled(m, 4) for m in pyramid(x)[2:]], 1)
    if name not in VGG_FEATURES:
        raise LabError(f"no judge {name!r}; there are {', '.join(JUDGES)}")
    vgg = VGG(name)
    layers = ("conv4_3", "conv5_3")

    def look(x: Tensor) -> Tensor:
        # the hair above tells nothing; smaller, it costs half
        small = F.interpolate(x[:, :, 16:], size=(112, 112), mode="bilinear")
        with precision.autocast(x.device.type):
            maps = vgg(small, layers)
        return torch.cat([_pooled(maps[k].float().sqrt(), 4) for k in layers], 1)

    return look


def _pooled(maps: Tensor, places: int) -> Tensor:
    return F.adaptive_avg_pool2d(maps, places).flatten(1)


@dataclass(frozen=True, eq=False)
class Judge:
    """features: their name. classes: what is told apart. fitted: on what, in words. of_real: the
    row of each real face of held-out people, and what it was taken for, float32 [K]. accuracy: the
    share of these, of each class, that it names rightly: its ceiling. unknown: the classes that it
    had no face to learn from; their probability is always zero."""

    features: str
    classes: tuple[str, ...]
    fitted: str
    of_real: dict[int, FloatArray]
    accuracy: dict[str, float]
    _sees: Sees
    unknown: tuple[str, ...] = ()

    def __call__(self, pictures: Pictures, source: str = "") -> FloatArray:
        """The probability of each class, float32 [N, K], of pictures uint8 [H, W, 1 or 3] of one
        set; "" for one that it was not fitted on."""
        return self._sees(pictures, source)


@dataclass(frozen=True, eq=False)
class _Linear:
    """A linear classifier on features, each as the lens has it. known: [K], which classes it was
    fitted on."""

    extract: Extract
    lens: _Lens
    linear: nn.Linear
    known: list[bool]

    def __call__(self, pictures: Pictures, source: str) -> FloatArray:
        return self.named(features(self.extract, pictures), [source] * len(pictures))

    def named(self, seen: FloatArray, sources: Iterable[str]) -> FloatArray:
        """The same of features [N, D], each of its set."""
        with torch.no_grad():
            scores = self.linear(torch.from_numpy(self.lens(seen, sources)))
        told = torch.softmax(scores, 1).numpy()
        every = np.zeros((len(told), len(self.known)), np.float32)
        every[:, self.known] = told
        return every


@dataclass(frozen=True, eq=False)
class _Lens:
    """Features as the judge compares them: less the mean of the first class in the same set, over
    the deviation of all. A set without one has the mean over all sets, by the name ""."""

    centres: dict[str, FloatArray]
    deviation: FloatArray | float = 1.0

    def __call__(self, seen: FloatArray, sources: Iterable[str]) -> FloatArray:
        centres = [self.centres.get(s, self.centres[""]) for s in sources]
        return np.asarray((seen - np.stack(centres)) / self.deviation, np.float32)


def others(
    name: str, faces: FaceSet, labels: npt.NDArray[Any], third: FaceApi | None = None
) -> dict[str, Judge]:
    """The judges that come trained, beside one of that name: "second", where its package is
    installed and it is not that one, and "third", where it is given."""
    found = {}
    if name != wild.NAME and wild.installed():
        found["second"] = _from_elsewhere(wild.NAME, wild.FITTED, wild.Wild(), faces, labels)
    if third is not None:
        found["third"] = _from_elsewhere(face_api.NAME, face_api.FITTED, third, faces, labels)
    return found


def unknown_to(
    name: str, faces: FaceSet, labels: npt.NDArray[Any], classes: tuple[str, ...]
) -> tuple[str, ...]:
    """The classes that a judge of that name cannot tell, fitted on these faces."""
    return () if name == wild.NAME else unknown_of(faces, labels, classes)


def unknown_of(
    faces: FaceSet, labels: npt.NDArray[Any], classes: tuple[str, ...]
) -> tuple[str, ...]:
    """The classes that no face of people not held out shows. LabError where too few are left to
    fit a judge: the first, with which all are compared, and one more."""
    shown = set(labels[~faces.held_out].tolist())
    unknown = tuple(c for k, c in enumerate(classes) if k not in shown)
    if classes[0] in unknown:
        raise LabError(
            f"no face to learn {classes[0]!r} from, with which a judge compares the rest"
        )
    if len(unknown) == len(classes) - 1:
        raise LabError(f"no face to learn anything but {classes[0]!r} from; a judge needs two")
    return unknown


def fit(
    name: str,
    faces: FaceSet,
    labels: npt.NDArray[Any],
    classes: tuple[str, ...],
    most: int = 700,
    decay: float = 0.5,
    seed: int = 0,
    listen: loop.Listener | None = None,
    cache: Path | None = None,
) -> Judge:
    """A judge on features `name`. labels: [N], the place in `classes` of each face, -1 for none.

    At most `most` faces of each class are taken; of those that have none, see `unknown_of`. cache:
    a folder that keeps the real faces' features for the next time, which are most of the work.
    "fer" is not fitted: it comes trained (`facepaint.lab.measure.wild`).
    """
    if name == wild.NAME:
        if classes != EXPRESSIONS:
            raise LabError(f"judge {name} tells {', '.join(EXPRESSIONS)} apart, and nothing else")
        return _from_elsewhere(name, wild.FITTED, wild.Wild(), faces, labels)
    rng = np.random.default_rng(seed)
    unknown, chosen = unknown_of(faces, labels, classes), []
    known = [k for k, label in enumerate(classes) if label not in unknown]
    for k in known:
        rows = np.flatnonzero(~faces.held_out & (labels == k))
        chosen.append(_evenly(rng.permutation(rows), faces.sources, most))
    learnt = np.concatenate(chosen)
    real = np.flatnonzero(faces.held_out & (labels >= 0))
    extract = extractor(name)
    rows = np.concatenate([learnt, real])
    seen, ceiling = np.split(_kept(name, faces, rows, extract, cache, listen), [len(learnt)])
    lens = _lens(seen, faces.sources[learnt], labels[learnt] == 0)
    places = np.searchsorted(known, labels[learnt])
    linear = _logistic(lens(seen, faces.sources[learnt]), places, len(known), decay)
    fitted = (
        f"{len(learnt)} faces of people not held out, at most {most} of each class, evenly from"
        f" the sets; each less the mean {classes[0]} one of its set; seed {seed}"
    )
    fitted += f"; none of them {', '.join(unknown)}" if unknown else ""
    sees = _Linear(extract, lens, linear, [c not in unknown for c in classes])
    named = dict(zip(real.tolist(), sees.named(ceiling, faces.sources[real]), strict=True))
    right = _right(named, labels, classes)
    return Judge(name, classes, fitted, named, right, sees, unknown)


def _from_elsewhere(
    name: str,
    fitted: str,
    sees: Callable[[Pictures], FloatArray],
    faces: FaceSet,
    labels: npt.NDArray[Any],
) -> Judge:
    real = np.flatnonzero(faces.held_out & (labels >= 0))
    crops = [picture(faces, int(i), _SIZE, True) for i in real]
    named = dict(zip(real.tolist(), sees(crops), strict=True))
    right = _right(named, labels, EXPRESSIONS)
    return Judge(name, EXPRESSIONS, fitted, named, right, lambda some, _: sees(some))


def _right(
    named: dict[int, FloatArray], labels: npt.NDArray[Any], classes: tuple[str, ...]
) -> dict[str, float]:
    """The share of each class, where there is one, that was named rightly."""
    found: dict[str, list[bool]] = {c: [] for c in classes}
    for i, told in named.items():
        found[classes[int(labels[i])]].append(int(told.argmax()) == labels[i])
    return {c: float(np.mean(v)) for c, v in found.items() if v}


def _kept(
    name: str,
    faces: FaceSet,
    rows: npt.NDArray[np.intp],
    extract: Extract,
    cache: Path | None,
    listen: loop.Listener | None,
) -> FloatArray:
    """Features [N, D] of those faces, from the cache where they are there."""
    path = None
    if cache is not None:
        of = (name.encode(), faces.subjects.tobytes(), faces.landmarks.tobytes(), rows.tobytes())
        path = cache / f"judged-{hashlib.sha256(b''.join(of)).hexdigest()[:12]}.npy"
        if path.exists():
            return np.asarray(np.load(path, allow_pickle=False), np.float32)
    seen = features(extract, [picture(faces, int(i), _SIZE, True) for i in rows], listen)
    if path is not None:
        whole = io.BytesIO()
        np.save(whole, seen)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, whole.getvalue())
    return seen


def _evenly(rows: npt.NDArray[Any], sources: npt.NDArray[Any], most: int) -> npt.NDArray[Any]:
    """At most `most` of the rows, as many of each set as it has, or as are left for each."""
    groups = sorted((rows[sources[rows] == s] for s in sorted(set(sources[rows]))), key=len)
    taken: list[npt.NDArray[Any]] = []
    for n, group in enumerate(groups):
        left = most - sum(map(len, taken))
        taken.append(group[: left // (len(groups) - n)])
    return np.concatenate(taken)


def _lens(seen: FloatArray, sources: npt.NDArray[Any], first: npt.NDArray[np.bool_]) -> _Lens:
    """The lens of the features [N, D] that a judge is fitted on; first: [N], whose are of the first
    class."""
    centres = {"": seen[first].mean(0)}
    centres |= {str(s): seen[first & (sources == s)].mean(0) for s in sorted(set(sources[first]))}
    return _Lens(centres, _Lens(centres)(seen, sources).std(0) + 1e-6)


@torch.no_grad()
def features(
    extract: Extract, pictures: Pictures, listen: loop.Listener | None = None
) -> FloatArray:
    """Features [N, D] of pictures uint8 [H, W, 1 or 3] of any sizes."""
    out = []
    for first in range(0, len(pictures), _AT_ONCE):
        some = [_sized(p) for p in pictures[first : first + _AT_ONCE]]
        batch = torch.from_numpy(np.stack(some)).permute(0, 3, 1, 2).float() / 255
        out.append(extract(batch.contiguous(memory_format=torch.channels_last)).float())
        if listen:
            listen(first + len(some), len(pictures), {})
    return torch.cat(out).numpy()


def _sized(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    if pixels.shape[:2] != (_SIZE, _SIZE):
        pixels = np.asarray(cv2.resize(pixels, (_SIZE, _SIZE)), np.uint8)
        pixels = pixels.reshape(_SIZE, _SIZE, -1)
    return np.repeat(pixels, 3, 2) if pixels.shape[2] == 1 else pixels


def _logistic(x: FloatArray, labels: npt.NDArray[Any], classes: int, decay: float) -> nn.Linear:
    """Logistic regression with an L2 penalty on the weights, by L-BFGS; from zero, so exact. All
    classes weigh the same, however many faces each has: the likelier of two is not the commoner."""
    linear = nn.Linear(x.shape[1], classes)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    inputs, wanted = torch.from_numpy(x), torch.from_numpy(np.asarray(labels, np.int64))
    count = torch.bincount(wanted, minlength=classes).float()
    optimizer = torch.optim.LBFGS(linear.parameters(), max_iter=60, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        told = F.cross_entropy(linear(inputs), wanted, 1 / count)
        total = told + decay * linear.weight.square().sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return linear
