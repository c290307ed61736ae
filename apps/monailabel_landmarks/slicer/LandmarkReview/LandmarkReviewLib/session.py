# SPDX-License-Identifier: Apache-2.0
"""
A review, case by case, in front of a scene that is Slicer's or a test's.

Every edit is written to a draft on this computer at once; only when the server has acknowledged a label is
its draft removed. So neither a lost connection nor a crash loses work.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Sequence
from typing import Any

from .client import Client, Refused, write_whole
from .points import ABSENT, PRESENT, UNKNOWN, Point, read_points, write_points
from .scene import Scene

__all__ = ["Conflict", "ReviewSession"]


class Conflict(Exception):
    """Somebody else saved the same case meanwhile; the draft is kept."""


class ReviewSession:
    """
    Args:
        client: of the server.
        scene: shows things.
        drafts: a folder for what is not handed in yet; must be kept between sessions.
        images: a folder for downloads; may be emptied.
    """

    def __init__(self, client: Client, scene: Scene, drafts: str, images: str) -> None:
        self.client, self.scene, self.drafts, self.images = client, scene, drafts, images
        for path in (self.images, self.drafts):
            os.makedirs(path, exist_ok=True)
        self.names: list[str] = []
        self.strategies: list[str] = []
        self._close()

    def _close(self) -> None:
        self.case: str | None = None
        self.base, self.edited = "", False
        self.mark: str | None = None
        self.points: dict[str, Point] = {}
        self.begun: dict[str, Point] = {}

    def _opened(self) -> str:
        """The case that is open; without one there is nothing to change or to hand in."""
        if self.case is None:
            raise ValueError("open a case first.")
        return self.case

    def connect(self, client: Client | None = None) -> dict[str, Any]:
        """
        Ask the server what it offers.

        Args:
            client: of another server, or of the same one again. What is being edited stays as it is on the
                same one; a case of another server is closed, and kept as a draft.
        """
        info = (client or self.client).info()
        if client is not None:
            if client.url != self.client.url:
                self._close()
                self.scene.clear()
            self.client = client
        self.names, self.strategies = list(info["labels"]), list(info["strategies"])
        return info

    # Cases

    def next_case(self, strategy: str) -> str | None:
        """
        Open the next case of a strategy.

        Returns:
            its id; None when no case waits.
        """
        found = self.client.next_case(strategy)
        if not found:
            return None
        self.open(found["id"], found["name"])
        return self.case

    def open(self, case: str, file_name: str | None = None) -> None:
        """
        Show a case: with the draft of an earlier, unfinished review, else its reviewed label, else the
            model's points.
        """
        if file_name is None:
            file_name = case + self.client.cases()[case]["image"]["ext"]
        path, mark = self.client.download_image(case, file_name, self.images)
        label, base = self.client.label(case)
        points = read_points(label if label is not None else self.client.infer(case))
        draft = self._load(self._draft(case))
        # From here on nothing can fail but the scene.
        self.case, self.base, self.mark = case, base, mark
        self.begun = {point.name: point for point in self._ordered(points)}
        self.points, self.edited = dict(self.begun), False
        if draft is not None and draft.get("mark") == mark:  # else it was made on another image of this name
            self.base, self.edited = draft["base"], True
            self.points.update({point.name: point for point in draft["points"] if point.name in self.points})
        self.scene.show(path, case, list(self.points.values()))

    def _ordered(self, points: Iterable[Point]) -> list[Point]:
        by_name = {point.name: point for point in points}
        return [by_name.get(name, Point(name)) for name in self.names or list(by_name)]

    # The points of a case

    def rows(self) -> list[Point]:
        """
        What the table shows: the points, riskiest first; those of which nothing is said come before, they
            need a look.
        The order stays the same while a case is edited.
        """
        return sorted(self._all(), key=lambda point: -self.begun[point.name].risk)

    def _all(self) -> list[Point]:
        return list(self.points.values())

    def select(self, name: str) -> None:
        """Show the slices through a landmark, or, where it is not placed, through where it was."""
        for point in (self.points[name], self.begun[name]):
            if point.position is not None:
                self.scene.jump(point.position)
                return

    def place(self, name: str, position: Sequence[float]) -> None:
        """Put a landmark somewhere, RAS millimetres; a person's point has no score."""
        before = self.points[name].position
        if before is None or _apart(before, position):
            self._change(Point(name, position, PRESENT))

    def mark_absent(self, name: str) -> None:
        """Say that a landmark is not there, such as an extracted tooth."""
        self._change(Point(name, None, ABSENT))

    def mark_unknown(self, name: str) -> None:
        """Say nothing about a landmark."""
        self._change(Point(name, None, UNKNOWN))

    def revert(self, name: str) -> None:
        """Back to what the case was opened with."""
        self._change(self.begun[name])

    def _change(self, point: Point) -> None:
        if point.name not in self.points:
            raise KeyError(point.name)
        self.points[point.name] = point
        self.edited = self.points != self.begun
        if self.edited:
            self._write_draft()
        else:
            self._remove(self._draft(self._opened()))
        self.scene.update(point)

    # Handing in

    def submit(self) -> None:
        """
        Hand in the case as it is shown.

        Raises:
            Conflict: when somebody else handed it in since it was opened.
            ConnectionLost, Refused: the draft is kept; try again later.
        """
        case, content = self._opened(), write_points(self._all())
        self._write_draft()
        try:
            self.base = self.client.submit(case, content, self.base, self.mark)
        except Refused as error:
            if error.status == 409:
                raise Conflict(str(error)) from error
            raise
        self._remove(self._draft(case))
        self._remove(self._aside(case))
        self.edited = False
        self.begun = dict(self.points)

    def take_theirs(self) -> None:
        """After a conflict: show what the other reviewer handed in; one's own is kept for
        :meth:`bring_back`."""
        case = self._opened()
        draft, aside = self._draft(case), self._aside(case)
        os.replace(draft, aside)
        try:
            self.open(case)
        except BaseException:
            os.replace(aside, draft)
            raise

    def bring_back(self) -> bool:
        """
        Put one's own points, kept when :meth:`take_theirs` showed another's, over what is shown.

        Returns:
            whether there were any.
        """
        kept = self._load(self._aside(self._opened()))
        for point in kept["points"] if kept is not None else []:
            if point.name in self.points and point != self.points[point.name]:
                self._change(point)
        return kept is not None

    def keep_mine(self) -> None:
        """After a conflict: hand in one's own; the other label stays in the server's history."""
        self.base = self.client.label(self._opened())[1]
        self.submit()

    def unfinished(self) -> list[str]:
        """Cases with a draft on this computer."""
        found = []
        for name in sorted(os.listdir(self.drafts)):
            draft = self._load(os.path.join(self.drafts, name)) if name.endswith(".json") else None
            if draft is not None:
                found.append(draft["case"])
        return found

    def _draft(self, case: str) -> str:
        known = hashlib.sha256(f"{self.client.url} {case}".encode()).hexdigest()[:16]
        return os.path.join(self.drafts, f"{re.sub(r'[^A-Za-z0-9._-]', '_', case)[:80]}-{known}.json")

    def _aside(self, case: str) -> str:
        return f"{self._draft(case)}.aside"

    @staticmethod
    def _remove(path: str) -> None:
        if os.path.exists(path):
            os.remove(path)

    def _write_draft(self) -> None:
        case = self._opened()
        points = write_points(self._all()).decode()
        content = {
            "case": case,
            "base": self.base,
            "mark": self.mark,
            "server": self.client.url,
            "points": points,
        }
        write_whole(self._draft(case), json.dumps(content, ensure_ascii=False).encode())

    def _load(self, path: str) -> dict[str, Any] | None:
        """A draft for this server, its points read; None when there is none, or the file is broken."""
        try:
            with open(path, "rb") as stream:
                draft = json.loads(stream.read())
            case, base, points = draft["case"], draft["base"], read_points(draft["points"])
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return None
        whole = isinstance(case, str) and isinstance(base, str) and draft.get("server") == self.client.url
        return {**draft, "points": points} if whole else None


def _apart(first: Sequence[float], second: Sequence[float]) -> bool:
    """Whether two positions differ by more than a scene's rounding."""
    return max(abs(a - b) for a, b in zip(first, second)) > 1e-4
