"""Photos that the tests share; each fixture skips, with its reason, where its photo is missing."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def astronaut() -> npt.NDArray[np.uint8]:
    """The public-domain portrait of Eileen Collins (NASA), RGB uint8 [512, 512, 3], read-only."""
    spec = find_spec("skimage")  # finds the wheel's files without importing it and scipy
    folders = list(spec.submodule_search_locations or ()) if spec else []
    path = next((p for f in folders if (p := Path(f) / "data/astronaut.png").is_file()), None)
    if path is None:
        pytest.skip("scikit-image, whose wheel holds astronaut.png, is not installed")
    photo = np.asarray(cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB), np.uint8)
    photo.setflags(write=False)
    return photo


@pytest.fixture(scope="session")
def portrait(astronaut: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The astronaut's head, so that tests are quick."""
    return np.ascontiguousarray(astronaut[:256, 96:352])


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of face photos in Parquet: FACEPAINT_DATA, or ../shared/data from the root."""
    folder = Path(os.environ.get("FACEPAINT_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no face photos at {folder} (set FACEPAINT_DATA)")
    return folder
