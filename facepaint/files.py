"""Files that are written whole or not at all, and lists of lines that a kill may have cut off."""

from __future__ import annotations

from pathlib import Path


def write_whole(path: Path, data: bytes | str) -> None:
    """Write a file beside its place and move it there, so that it is the new one or the old."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(data.encode() if isinstance(data, str) else data)
    temporary.replace(path)


def whole_lines(path: Path) -> list[str]:
    """The whole lines of a file that is only ever appended to; none where there is no file. A last
    line that was cut off while it was written is taken out of the file."""
    if not path.exists():
        return []
    *lines, cut_off = path.read_text().split("\n")
    if cut_off:
        write_whole(path, "".join(f"{line}\n" for line in lines))
    return lines
