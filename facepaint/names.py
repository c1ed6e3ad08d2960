"""Names: the words for expressions, muscles and regions. Imports nothing, so that help is quick.

Blendshapes have the names that ARKit gave them, in MediaPipe's order.
"""

from __future__ import annotations

EXPRESSIONS = ("neutral", "happy", "sad", "angry", "disgusted", "afraid", "surprised")
BLENDSHAPES = (
    *("_neutral", "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft"),
    *("browOuterUpRight", "cheekPuff", "cheekSquintLeft", "cheekSquintRight", "eyeBlinkLeft"),
    *("eyeBlinkRight", "eyeLookDownLeft", "eyeLookDownRight", "eyeLookInLeft", "eyeLookInRight"),
    *("eyeLookOutLeft", "eyeLookOutRight", "eyeLookUpLeft", "eyeLookUpRight", "eyeSquintLeft"),
    *("eyeSquintRight", "eyeWideLeft", "eyeWideRight", "jawForward", "jawLeft", "jawOpen"),
    *("jawRight", "mouthClose", "mouthDimpleLeft", "mouthDimpleRight", "mouthFrownLeft"),
    *("mouthFrownRight", "mouthFunnel", "mouthLeft", "mouthLowerDownLeft", "mouthLowerDownRight"),
    *("mouthPressLeft", "mouthPressRight", "mouthPucker", "mouthRight", "mouthRollLower"),
    *("mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthSmileLeft"),
    *("mouthSmileRight", "mouthStretchLeft", "mouthStretchRight", "mouthUpperUpLeft"),
    *("mouthUpperUpRight", "noseSneerLeft", "noseSneerRight"),
)

# A pair's short name and its two blendshapes: mouthSmile is mouthSmileLeft and mouthSmileRight.
PAIRS = {
    name.removesuffix("Left"): (name, f"{name.removesuffix('Left')}Right")
    for name in BLENDSHAPES
    if name.endswith("Left") and name not in ("jawLeft", "mouthLeft")
}

# Muscles as forms group them, and how the blendshapes of each group begin.
GROUPS = {
    "mouth": ("mouth",),
    "eyes": ("eye",),
    "brows": ("brow",),
    "cheeks and nose": ("cheek", "nose"),
    "jaw": ("jaw",),
}

# The parts of a face that an edit can be held to, and how the blendshapes that move each begin.
REGIONS = {
    "mouth": ("mouth", "jaw"),
    "eyes": ("eye", "cheekSquint"),
    "brows": ("brow",),
    "upper": ("brow", "eye", "cheekSquint", "noseSneer"),
    "lower": ("mouth", "jaw", "cheekPuff"),
}

LOOKS = ("camera",)  # where an edit can turn the eyes

DEFAULT_METHOD = "repaint"
