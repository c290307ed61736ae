# SPDX-License-Identifier: Apache-2.0
"""Slicer as the scene of a review: a volume, and one point list whose n-th control point is the n-th
landmark."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import slicer
import vtk

from .points import Point
from .scene import Scene

__all__ = ["SlicerScene"]


class SlicerScene(Scene):
    """
    Args:
        placed: called with the name and the world position, RAS millimetres, when a person placed or moved a
            point.
        removed: called with the name when a person deleted a point.
    """

    def __init__(
        self, placed: Callable[[str, Sequence[float]], None], removed: Callable[[str], None]
    ) -> None:
        self.placed, self.removed = placed, removed
        self.volume: Any = None
        self.list: Any = None
        self.names: list[str] = []
        self.busy = False

    def show(self, image: str, case: str, points: Sequence[Point]) -> None:
        """Replace what is shown by a case."""
        self.clear()
        self.volume = slicer.util.loadVolume(image, properties={"name": case, "show": True})
        self.names = [point.name for point in points]
        self._make_list(case, points)

    def clear(self) -> None:
        """Remove what this module has put into the scene, and nothing else."""
        for node in (self.list, self.volume):
            if node is not None and slicer.mrmlScene.IsNodePresent(node):
                slicer.mrmlScene.RemoveNode(node)
        self.volume, self.list, self.names = None, None, []

    def update(self, point: Point) -> None:
        """Show one landmark as it is now."""
        self.busy = True
        try:
            self._set(self.names.index(point.name), point)
        finally:
            self.busy = False

    def jump(self, position: Sequence[float]) -> None:
        """Move the slices to a position."""
        slicer.modules.markups.logic().JumpSlicesToLocation(*position, True)

    def begin_placing(self, name: str) -> None:
        """The next click into a view places this landmark."""
        index = self.names.index(name)
        slicer.modules.markups.logic().SetActiveList(self.list)
        self.list.SetControlPointPlacementStartIndex(index)
        slicer.modules.markups.logic().StartPlaceMode(False)

    def _make_list(self, case: str, points: Sequence[Point]) -> None:
        self.busy = True
        try:
            self.list = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", f"{case} landmarks")
            self.list.CreateDefaultDisplayNodes()
            for index, point in enumerate(points):
                self.list.AddControlPointWorld(vtk.vtkVector3d(0, 0, 0), point.name)
                self._set(index, point)
            self.list.SetFixedNumberOfControlPoints(True)
        finally:
            self.busy = False
        events = slicer.vtkMRMLMarkupsNode
        for event in (events.PointPositionDefinedEvent, events.PointEndInteractionEvent):
            self.list.AddObserver(event, self._moved)
        self.list.AddObserver(events.PointPositionUndefinedEvent, self._unset)

    def _set(self, index: int, point: Point) -> None:
        if point.position is None:
            self.list.UnsetNthControlPointPosition(index)
        else:
            self.list.SetNthControlPointPositionWorld(index, *point.position)
        note = "" if point.score is None else f"score={point.score:.3g}"
        self.list.SetNthControlPointDescription(index, note or point.status)

    def _moved(self, node: Any, event: Any) -> None:
        """A point was placed or let go: tell all that are defined; those that did not move change nothing."""
        if self.busy:
            return
        for index, name in enumerate(self.names):
            if node.GetNthControlPointPositionStatus(index) == node.PositionDefined:
                position = [0.0, 0.0, 0.0]
                node.GetNthControlPointPositionWorld(index, position)
                self.placed(name, position)

    def _unset(self, node: Any, event: Any) -> None:
        if self.busy or slicer.app.applicationLogic().GetInteractionNode().GetCurrentInteractionMode() == 1:
            return  # while a point is being placed, it is undefined until the click
        for index, name in enumerate(self.names):
            if node.GetNthControlPointPositionStatus(index) == node.PositionUndefined:
                self.removed(name)
