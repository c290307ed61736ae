# SPDX-License-Identifier: Apache-2.0
"""What a review needs of whatever shows it. Slicer's scene is in slicer_scene.py, a test's in the tests."""

from __future__ import annotations

from collections.abc import Sequence

from .points import Point

__all__ = ["Scene"]


class Scene:
    """The methods a review calls; positions are RAS millimetres of the world, whatever transforms the scene
    has."""

    def show(self, image: str, case: str, points: Sequence[Point]) -> None:
        """
        Replace what is shown by a case.

        Args:
            image: path of a file.
            points: all landmarks; those without a position are listed and not drawn.
        """
        raise NotImplementedError

    def clear(self) -> None:
        """Show no case."""
        raise NotImplementedError

    def update(self, point: Point) -> None:
        """Show one landmark as it is now."""
        raise NotImplementedError

    def jump(self, position: Sequence[float]) -> None:
        """Move the slices to a position."""
        raise NotImplementedError
