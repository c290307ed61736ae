# SPDX-License-Identifier: Apache-2.0
"""The module's window. What it does is in LandmarkReviewLib; here are buttons, a table, and what they
call."""

from __future__ import annotations

import html
import os
from collections.abc import Callable, Sequence
from typing import Any

import qt
import slicer
from LandmarkReviewLib.client import Client, ConnectionLost, Refused
from LandmarkReviewLib.points import PRESENT, UNKNOWN
from LandmarkReviewLib.session import Conflict, ReviewSession
from LandmarkReviewLib.slicer_scene import SlicerScene
from slicer.ScriptedLoadableModule import ScriptedLoadableModule, ScriptedLoadableModuleWidget

SECONDS_BETWEEN_LOOKS = 5
SETTINGS = "LandmarkReview"


def literal(text: str) -> str:
    """
    Text for a message box, which takes whatever looks like HTML for HTML: names and the server's sentences
    are shown letter by letter, and load nothing.
    """
    return "<p>" + html.escape(text).replace("\n", "<br>") + "</p>"


class LandmarkReview(ScriptedLoadableModule):
    """What Slicer shows in its list of modules."""

    def __init__(self, parent: Any) -> None:
        super().__init__(parent)
        parent.title = "Landmark Review"
        parent.categories = ["Active Learning"]
        parent.contributors = ["Auto3DLandmark"]
        parent.helpText = (
            "Review landmarks that a MONAI Label server predicts, and let it learn. For research only."
        )


class LandmarkReviewWidget(ScriptedLoadableModuleWidget):
    """The window."""

    def setup(self) -> None:
        super().setup()
        self.session: ReviewSession | None = None
        self.shown: list[str] = []
        self.scene = SlicerScene(self.on_placed, self.on_removed)
        kept = qt.QSettings()
        self.url = qt.QLineEdit(kept.value(f"{SETTINGS}/url", "http://127.0.0.1:8000"))
        self.reviewer = qt.QLineEdit(kept.value(f"{SETTINGS}/reviewer", ""))
        self.reviewer.placeholderText = "your name, kept with each label"
        self.token = qt.QLineEdit("")  # never kept: whoever has the settings would have it
        self.token.echoMode = qt.QLineEdit.Password
        self.token.placeholderText = "where the server asks for one"
        self.strategy, self.state = qt.QComboBox(), qt.QLabel("Not connected.")
        self.state.wordWrap = True
        self.state.textFormat = qt.Qt.PlainText
        form = qt.QFormLayout()
        for title, widget in (
            ("Server", self.url),
            ("Token", self.token),
            ("Reviewer", self.reviewer),
            ("Next case by", self.strategy),
        ):
            form.addRow(title, widget)
        self.layout.addLayout(form)
        self._buttons(
            ("Connect", self.on_connect), ("Next case", self.on_next), ("Unfinished…", self.on_unfinished)
        )
        self.table = qt.QTableWidget(0, 4)
        self.table.setHorizontalHeaderLabels(["Landmark", "within mm (95 %)", "there", "Status"])
        self.table.setEditTriggers(qt.QAbstractItemView.NoEditTriggers)
        self.table.setSelectionBehavior(qt.QAbstractItemView.SelectRows)
        self.table.setSelectionMode(qt.QAbstractItemView.SingleSelection)
        self.table.horizontalHeader().setSectionResizeMode(0, qt.QHeaderView.Stretch)
        self.table.connect("itemSelectionChanged()", self.on_select)
        self.layout.addWidget(self.table)
        self._buttons(
            ("Place", self.on_place),
            ("Absent", self.on_absent),
            ("Unknown", self.on_unknown),
            ("Revert", self.on_revert),
        )
        self._buttons(
            ("Submit", self.on_submit),
            ("Mine again", self.on_mine),
            ("Train", self.on_train),
            ("Stop training", self.on_stop),
        )
        self.layout.addWidget(self.state)
        self.timer = qt.QTimer()
        self.timer.setInterval(1000 * SECONDS_BETWEEN_LOOKS)
        self.timer.connect("timeout()", self.on_look)

    def _buttons(self, *buttons: tuple[str, Callable[[], None]]) -> None:
        row = qt.QHBoxLayout()
        for title, action in buttons:
            button = qt.QPushButton(title)
            button.connect("clicked()", self._guarded(action))
            row.addWidget(button)
        self.layout.addLayout(row)

    def _guarded(self, action: Callable[[], None]) -> Callable[[], None]:
        """Whatever goes wrong is told in a window; nothing of the review is lost by it."""

        def run() -> None:
            qt.QApplication.setOverrideCursor(qt.Qt.WaitCursor)
            error: Exception | None = None
            try:
                if self.session is None and action != self.on_connect:
                    self.on_connect()
                action()
            except Exception as caught:
                error = caught
            finally:
                qt.QApplication.restoreOverrideCursor()
            if isinstance(error, Conflict):
                self._settle(error)
            elif error is not None:
                sentence = (
                    str(error) if isinstance(error, (ConnectionLost, Refused, ValueError)) else repr(error)
                )
                slicer.util.errorDisplay(literal(sentence), windowTitle="Landmark Review")

        return run

    def _settle(self, conflict: Conflict) -> None:
        choice = "Yes: hand in yours; the other label stays in the history.\n"
        choice += "No: look at the other one first; Mine again brings yours back."
        text = f"{conflict}\n\n{choice}"
        action = (
            self.review.keep_mine
            if slicer.util.confirmYesNoDisplay(literal(text))
            else self.review.take_theirs
        )

        def settle() -> None:
            action()
            self.fill_table()

        self._guarded(settle)()

    @property
    def review(self) -> ReviewSession:
        """The session; every button connects first when there is none."""
        if self.session is None:
            raise ValueError("connect to a server first.")
        return self.session

    def on_connect(self) -> None:
        url, name = self.url.text.strip().rstrip("/"), self.reviewer.text.strip()
        qt.QSettings().setValue(f"{SETTINGS}/url", url)
        qt.QSettings().setValue(f"{SETTINGS}/reviewer", name)
        client = Client(url, name, self.token.text.strip() or None)
        if self.session is None:
            drafts = os.path.join(os.path.dirname(slicer.app.slicerUserSettingsFilePath), "LandmarkReview")
            images = os.path.join(slicer.app.temporaryPath, "LandmarkReview")
            session = ReviewSession(client, self.scene, drafts, images)
            info = session.connect()
        else:
            session = self.session
            info = session.connect(client)
        self.session = session
        chosen = self.strategy.currentText
        self.strategy.clear()
        self.strategy.addItems(session.strategies)
        self.strategy.setCurrentIndex(max(0, self.strategy.findText(chosen or "expected_gain")))
        stats = info["datastore"]
        self.state.text = f"{stats['completed']} of {stats['total']} cases are reviewed."
        self.fill_table()

    def on_next(self) -> None:
        kept = f"{self.review.case} is not submitted; it is kept as a draft. Go on to the next case?"
        if self.review.edited and not slicer.util.confirmYesNoDisplay(literal(kept)):
            return
        if self.review.next_case(self.strategy.currentText) is None:
            slicer.util.infoDisplay("All cases are reviewed.")
        self.fill_table()

    def on_unfinished(self) -> None:
        cases = self.review.unfinished()
        if not cases:
            slicer.util.infoDisplay("No case is unfinished on this computer.")
            return
        case = qt.QInputDialog.getItem(slicer.util.mainWindow(), "Unfinished cases", "Open", cases, 0, False)
        if case:
            self.review.open(case)
            self.fill_table()

    def fill_table(self) -> None:
        selected, points = self.name(), self.review.rows()
        self.table.blockSignals(True)
        self.shown = [point.name for point in points]
        self.table.setRowCount(len(points))
        for row, point in enumerate(points):
            radius = "" if point.radius is None else f"{point.radius:.1f}"
            chance = point.score if point.probability is None else point.probability
            there = "" if chance is None else f"{chance:.2f}"
            status = "placed by you" if point.status == PRESENT and point.score is None else point.status
            for column, text in enumerate((point.name, radius, there, status)):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(literal(point.note))
                self.table.setItem(row, column, item)
        if selected in self.shown:
            self.table.selectRow(self.shown.index(selected))
        self.table.blockSignals(False)

    def name(self) -> str | None:
        row = self.table.currentRow()
        return self.shown[row] if 0 <= row < len(self.shown) else None

    def on_select(self) -> None:
        name = self.name()
        if name is not None:
            self.review.select(name)

    def on_place(self) -> None:
        name = self.name()
        if name is not None:
            self.review.mark_unknown(name)  # until the click, or for good when there is none
            self.fill_table()
            self.scene.begin_placing(name)

    def on_placed(self, name: str, position: Sequence[float]) -> None:
        self.review.place(name, position)
        self.fill_table()

    def on_removed(self, name: str) -> None:
        if self.review.points[name].status == PRESENT:
            self.review.mark_unknown(name)
            self.fill_table()

    def _mark(self, action: Callable[[str], None]) -> None:
        name = self.name()
        if name is not None:
            action(name)
            self.fill_table()

    def on_absent(self) -> None:
        self._mark(self.review.mark_absent)

    def on_unknown(self) -> None:
        self._mark(self.review.mark_unknown)

    def on_revert(self) -> None:
        self._mark(self.review.revert)

    def on_submit(self) -> None:
        if self.review.case is None:
            raise ValueError("open a case first.")
        unknown = [point.name for point in self.review.rows() if point.status == UNKNOWN]
        some = f"{len(unknown)} landmarks are unknown ({', '.join(unknown[:5])})."
        question = f"{some} They will not be learnt from. Submit?"
        if unknown and not slicer.util.confirmYesNoDisplay(literal(question)):
            return
        self.review.client.name = self.reviewer.text.strip()
        self.review.submit()
        self.state.text = f"{self.review.case} is submitted."

    def on_mine(self) -> None:
        if self.review.case is None or not self.review.bring_back():
            slicer.util.infoDisplay("None of your points are set aside for this case.")
        self.fill_table()

    def on_train(self) -> None:
        self.review.client.train()
        self.timer.start()

    def on_stop(self) -> None:
        self.review.client.stop_training()
        self.on_look()

    def on_look(self) -> None:
        """Look how the training stands; a server that is away for a while is no reason for a window."""
        try:
            training = self.review.client.training()
        except (ConnectionLost, Refused) as error:
            self.state.text = str(error)
            return
        state = training.get("state")
        if state:
            if state in ("promoted", "refused", "failed", "stopped"):
                self.timer.stop()
            share = f" {100 * training['progress']:.0f} %" if "progress" in training else ""
            self.state.text = f"Training: {state}{share}. {training.get('reason', '')}"

    def cleanup(self) -> None:
        self.timer.stop()
