"""The service against its own OpenAPI document: whatever is sent, answers are as documented."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

import facepaint

pytest.importorskip("fastapi", reason="the extra web is not installed")
schemathesis = pytest.importorskip("schemathesis", reason="the extra dev is not installed")
from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from schemathesis import GenerationMode  # noqa: E402
from schemathesis.checks import load_all_checks  # noqa: E402

from facepaint.web import service  # noqa: E402
from facepaint.web.limits import Limits  # noqa: E402
from facepaint.web.work import Bench  # noqa: E402

load_all_checks()
from schemathesis.checks import positive_data_acceptance  # noqa: E402

TAKEN: list[int] = []  # the statuses of the edits below
SETTINGS = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
numbers = st.floats(allow_nan=True) | st.integers() | st.floats(0, 1.5)
muscles = st.sampled_from(["mouthSmile", "jawOpen", "browDownLeft", "mouthSmileLeft", "_neutral"])
one_edit = st.fixed_dictionaries(
    {},
    optional={
        "to": st.sampled_from([*facepaint.EXPRESSIONS, None, "glad", 3]),
        "strength": numbers,
        "set": st.dictionaries(muscles, numbers, max_size=3),
        "like": st.sampled_from([0, 1, -1, None]),
        "look": st.sampled_from(["camera", "up", None]),
        "regions": st.lists(st.sampled_from(["mouth", "eyes", "nose"]), max_size=3),
    },
)
sound = st.fixed_dictionaries(
    {"to": st.sampled_from(facepaint.EXPRESSIONS), "strength": st.floats(0, 1.5)},
    optional={
        "set": st.dictionaries(st.sampled_from(["mouthSmile", "jawOpen"]), st.floats(0, 1)),
        "regions": st.lists(st.sampled_from(["mouth", "eyes"]), max_size=2),
        "format": st.sampled_from(["PNG", "webp", "TIFF"]),
    },
)
edits = sound | st.builds(
    lambda edit, more: edit | more,
    one_edit,
    st.fixed_dictionaries(
        {},
        optional={
            "faces": st.lists(st.integers(-1, 2), max_size=2)
            | st.dictionaries(st.sampled_from(["0", "1", "x"]), one_edit, max_size=2),
            "format": st.sampled_from(["PNG", "webp", "GIF", None]),
        },
    ),
)


@pytest.fixture(scope="module")
def photos(portrait: np.ndarray) -> list[bytes]:
    found = []
    for pixels in (portrait, np.full((32, 32, 3), 80, np.uint8)):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG")
        found.append(buffer.getvalue())
    return found


@pytest.fixture(scope="module")
def document() -> Any:
    app = service.create(Bench(facepaint.load(), Limits(bytes=1_000_000)))
    return schemathesis.openapi.from_asgi("/openapi.json", app)


OPERATIONS = [
    ("/v1/faces", "POST", GenerationMode.POSITIVE),
    ("/v1/faces", "POST", GenerationMode.NEGATIVE),
    ("/v1/edit", "POST", GenerationMode.POSITIVE),
    ("/v1/edit", "POST", GenerationMode.NEGATIVE),
    ("/v1/models", "GET", GenerationMode.POSITIVE),
    ("/healthz", "GET", GenerationMode.POSITIVE),
]


def test_every_operation_is_tried(document: Any) -> None:
    found = {(o.ok().path, o.ok().method.upper()) for o in document.get_all_operations()}
    assert found == {(path, method) for path, method, _ in OPERATIONS}


@pytest.mark.parametrize(("path", "method", "mode"), OPERATIONS)
def test_answers_are_as_documented(document: Any, path: str, method: str, mode: Any) -> None:
    """Anything at all: no 5xx, only documented statuses, kinds and forms. That what fits the
    document is taken is not asked: no schema says what a photo is."""

    @SETTINGS
    @given(case=document[path][method].as_strategy(generation_mode=mode))
    def holds(case: Any) -> None:
        case.call_and_validate(excluded_checks=[positive_data_acceptance])

    holds()


@SETTINGS
@given(
    asked=edits,
    first=st.sampled_from([True, True, False]),
    like=st.sampled_from([None, 0, 1]),
    as_json=st.booleans(),
)
def test_edits_of_photos(
    document: Any, photos: list[bytes], asked: Any, first: bool, like: int | None, as_json: bool
) -> None:
    """Photos with and without a face, edits possible and impossible: the same, and an edit that
    the library makes is answered with a picture."""
    body = {"photo": photos[not first], "edit": json.dumps(asked)}
    if like is not None:
        body["like"] = photos[like]
    headers = {"Accept": "application/json"} if as_json else {}
    case = document["/v1/edit"]["POST"].Case(body=body, media_type="multipart/form-data")
    answer = case.call(headers=headers)
    case.validate_response(answer, excluded_checks=[positive_data_acceptance])
    TAKEN.append(answer.status_code)


def test_of_these_some_were_possible() -> None:
    """Or the test above would have said little."""
    assert TAKEN.count(200) >= 3 and TAKEN.count(422) >= 3, TAKEN
