# SPDX-License-Identifier: Apache-2.0
"""Which landmark file belongs to which image, by their names alone.

Equal names belong together. Else a name may go on behind a separator: ``004_landmarks`` and ``004-1`` belong
to ``004``, ``004`` belongs to ``004_0000``, and ``004_F`` to ``004_T1`` where all images end in ``_T1``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

__all__ = ["Pairing", "pair_names"]

SEPARATOR = re.compile(r"[-_. ]")


@dataclass(frozen=True)
class Pairing:
    """
    What names say.

    Args:
        names_of: the landmark files' names by image; more than one for an image leaves open which is meant.
        images_of: the images a name may belong to, where they are not one: none, or several.
    """

    names_of: dict[str, list[str]]
    images_of: dict[str, list[str]]


def pair_names(images: Collection[str], names: Iterable[str]) -> Pairing:
    """
    Find the image of each landmark file.

    Args:
        images: names of the images, without suffixes.
        names: of the landmark files, without suffixes.
    """
    known = set(images)
    longer: dict[str, list[str]] = {}
    for image in images:
        for start in _starts(image):
            longer.setdefault(start, []).append(image)
    end = _common_end(images)
    shortened = {image[: -len(end)]: image for image in images} if end else {}

    def images_of(name: str) -> list[str]:
        if name in known:
            return [name]
        for start in reversed(_starts(name)):
            if start in known or start in shortened:
                return [start if start in known else shortened[start]]
        return longer.get(name, [])

    names_of: dict[str, list[str]] = {}
    open_names: dict[str, list[str]] = {}
    for name in names:
        found = images_of(name)
        if len(found) == 1:
            names_of.setdefault(found[0], []).append(name)
        else:
            open_names[name] = found
    return Pairing(names_of, open_names)


def _starts(name: str) -> list[str]:
    """What stands before each separator, shortest first."""
    return [name[: mark.start()] for mark in SEPARATOR.finditer(name) if mark.start()]


def _common_end(names: Collection[str]) -> str:
    """What all names end with, from a separator on; empty for a single name."""
    if len(names) < 2:
        return ""
    shared = os.path.commonprefix([name[::-1] for name in names])[::-1]  # noqa: RUF071 (no paths)
    mark = SEPARATOR.search(shared)
    end = shared[mark.start() :] if mark else ""
    return end if end and all(len(name) > len(end) for name in names) else ""
