"""Render the table of the licences of what an installation brings, for docs/licences.md."""

import re
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "openengagement": {"cluster", "kafka", "nats", "otel", "samples"},
    "openengagement-client": {"cli", "frames", "plot"},
}
_CLASSIFIER = "License :: OSI Approved :: "
_VENDORED = {"uPlot (JavaScript, included)": "MIT"}
# Names in use for licences that SPDX calls otherwise.
_SPDX = {
    "MIT License": "MIT",
    "The MIT License": "MIT",
    "BSD License": "BSD-3-Clause",
    "BSD": "BSD-3-Clause",
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache Software License": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "ISC License (ISCL)": "ISC",
    "GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0-only",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}


def licence_of(package: Distribution) -> str:
    """Return the licence of a package, from the first place in its metadata that names one."""
    metadata = package.metadata
    if expression := metadata.get("License-Expression"):
        return expression
    names = [
        each.removeprefix(_CLASSIFIER)
        for each in metadata.get_all("Classifier") or []
        if each.startswith(_CLASSIFIER)
    ]
    stated = metadata.get("License") or ""
    if not names and "\n" not in stated.strip():
        names = [stated.strip()]
    return " OR ".join(sorted({_SPDX.get(name, name) for name in names}))


def needed() -> Iterator[Distribution]:
    """Yield every package that an installation with all extras brings."""
    waiting = [
        (name, extra) for name, extras in PACKAGES.items() for extra in ("", *sorted(extras))
    ]
    known = set(waiting)
    seen = set()
    while waiting:
        name, extra = waiting.pop()
        package = distribution(name)
        if name not in seen and name not in PACKAGES:
            yield package
        seen.add(name)
        for text in package.requires or []:
            requirement = Requirement(text)
            if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
                continue
            found = re.sub(r"[-_.]+", "-", requirement.name).lower()
            new = {(found, each) for each in ("", *requirement.extras)} - known
            known |= new
            waiting += sorted(new)


def render_licences() -> str:
    """Render the table as Markdown."""
    found = {package.metadata["Name"].lower(): licence_of(package) for package in needed()}
    rows = [f"| {name} | {licence} |" for name, licence in sorted((found | _VENDORED).items())]
    return "\n".join(["| package | licence |", "|---|---|", *rows]) + "\n"
