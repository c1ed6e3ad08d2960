"""EXIF's types: what the standard calls "undefined", such as a maker's note or a user's comment,
Pillow writes as bytes. The values are the same, but strict readers complain; here it is set right.
"""

from __future__ import annotations

import contextlib
import struct

_BYTE, _UNDEFINED = 1, 7
_FOLDERS = (0x8769, 0x8825, 0xA005)  # tags that say where other tags are: Exif, GPS, Interop
_OF_NO_TYPE = {
    *(0x0002, 0x001B, 0x001C, 0x8828, 0x9000, 0x9101, 0x927C, 0x9286),
    *(0xA000, 0xA20C, 0xA300, 0xA301, 0xA302, 0xA40B),
}


def with_types(tiff: bytes) -> bytes:
    """The TIFF structure that Pillow wrote, with the types of EXIF's standard."""
    out = bytearray(tiff)
    order = "<" if out.startswith(b"II") else ">"
    folders = [struct.unpack_from(f"{order}I", out, 4)[0]]
    for folder in folders:
        with contextlib.suppress(
            struct.error
        ):  # a photo may have such a tag where it leads nowhere
            (count,) = struct.unpack_from(f"{order}H", out, folder)
            for place in range(folder + 2, folder + 2 + 12 * count, 12):
                tag, kind, _, value = struct.unpack_from(f"{order}HHII", out, place)
                if tag in _FOLDERS and value not in folders and len(folders) <= len(_FOLDERS):
                    folders.append(value)
                elif tag in _OF_NO_TYPE and kind == _BYTE:
                    struct.pack_into(f"{order}H", out, place + 2, _UNDEFINED)
    return bytes(out)
