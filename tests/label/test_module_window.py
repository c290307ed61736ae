# SPDX-License-Identifier: Apache-2.0
"""The module's window and Slicer's scene fit the logic behind them; stand-ins are there for what Slicer
brings."""

from __future__ import annotations

import ast
import importlib
import sys
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
from LandmarkReviewLib.points import read_points
from LandmarkReviewLib.session import Conflict

from .conftest import MODULE, Server, fill_studies

UNDEFINED, DEFINED = 0, 2


class PointList(MagicMock):
    """What the module uses of a vtkMRMLMarkupsFiducialNode; the rest does nothing."""

    PositionUndefined, PositionDefined = UNDEFINED, DEFINED

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.__dict__.update(places=[], status=[], observers={})

    def AddControlPointWorld(self, place, label):
        self.places.append(place)
        self.status.append(DEFINED)

    def SetNthControlPointPositionWorld(self, index, *place):
        self.places[index], self.status[index] = place, DEFINED
        self.tell("PointPositionDefinedEvent")

    def UnsetNthControlPointPosition(self, index):
        self.status[index] = UNDEFINED
        self.tell("PointPositionUndefinedEvent")

    def GetNthControlPointPositionStatus(self, index):
        return self.status[index]

    def GetNthControlPointPositionWorld(self, index, into):
        into[:] = self.places[index]

    def AddObserver(self, event, action):
        self.observers[event] = action

    def tell(self, event):
        if event in self.observers:
            self.observers[event](self, event)


class Table(MagicMock):
    """A QTableWidget that knows its cells and the chosen row."""

    def __init__(self, *args, **kwargs):
        super().__init__(**kwargs)
        self.__dict__.update(cells={}, row=-1)

    def setItem(self, row, column, text):
        self.cells[row, column] = text

    def currentRow(self):
        return self.row

    def selectRow(self, row):
        self.__dict__["row"] = row


class Item(str):
    """A QTableWidgetItem that is its text."""

    def setToolTip(self, text):
        self.tip = text


class LineEdit(SimpleNamespace):
    """A QLineEdit that is its text."""

    Password = "password"

    def __init__(self, text):
        super().__init__(text=text)


class Widget:
    """ScriptedLoadableModuleWidget."""

    def setup(self):
        self.layout = MagicMock()


@pytest.fixture
def window(server, tmp_path, monkeypatch):
    """The module's window, not connected yet."""
    slicer, qt = MagicMock(), MagicMock()
    names = ("PointPositionDefinedEvent", "PointEndInteractionEvent", "PointPositionUndefinedEvent")
    slicer.vtkMRMLMarkupsNode = SimpleNamespace(**{name: name for name in names})
    slicer.mrmlScene.AddNewNodeByClass = lambda *_: PointList()
    slicer.app.slicerUserSettingsFilePath = str(tmp_path / "settings" / "Slicer.ini")
    slicer.app.temporaryPath = str(tmp_path)
    qt.QLineEdit = LineEdit
    qt.QTableWidget, qt.QTableWidgetItem = Table, Item
    qt.QComboBox.return_value.findText.return_value = 0
    qt.QSettings.return_value.value = lambda key, default: default
    module = SimpleNamespace(ScriptedLoadableModule=object, ScriptedLoadableModuleWidget=Widget)
    vtk = SimpleNamespace(vtkVector3d=lambda *values: values)
    for name, stand_in in {
        "slicer": slicer,
        "qt": qt,
        "vtk": vtk,
        "slicer.ScriptedLoadableModule": module,
    }.items():
        monkeypatch.setitem(sys.modules, name, stand_in)
    for name in ("LandmarkReview", "LandmarkReviewLib.slicer_scene"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    opened = importlib.import_module("LandmarkReview").LandmarkReviewWidget()
    opened.setup()
    opened.slicer = slicer
    opened.url.text, opened.reviewer.text, opened.strategy.currentText = server.url, "ann", "first"
    return opened


def press(window, action):
    """What a button does."""
    window._guarded(action)()


def test_a_case_is_reviewed_in_the_window(window, server):
    press(window, window.on_next)  # connects by itself
    session, points = window.session, window.session.scene.list
    window.slicer.util.errorDisplay.assert_not_called()
    assert session.case and len(window.table.cells) == 4 * len(session.names)
    names = [window.table.cells[row, 0] for row in range(len(session.names))]
    radii = [float(window.table.cells[row, 1]) for row in range(len(names))]
    assert radii == sorted(radii, reverse=True) and sorted(names) == sorted(session.names)

    window.table.selectRow(0)
    window.on_select()
    window.slicer.modules.markups.logic().JumpSlicesToLocation.assert_called_with(
        *session.points[names[0]].position, True
    )
    index = session.names.index(names[0])
    points.places[index] = (11.0, 12.0, 13.0)  # she drags it, and lets go
    points.tell("PointEndInteractionEvent")
    assert session.points[names[0]].position == (11.0, 12.0, 13.0)
    assert window.table.cells[0, 3] == "placed by you" and window.table.cells[1, 3] == "present"
    assert sum(point.score is None for point in session.points.values()) == 1  # the others were not touched

    window.table.selectRow(1)
    press(window, window.on_absent)
    window.table.selectRow(2)
    press(window, window.on_place)
    third = session.names.index(names[2])
    points.SetNthControlPointPositionWorld(third, 14.0, 15.0, 16.0)  # the click
    points.UnsetNthControlPointPosition(session.names.index(names[3]))  # she deletes one
    statuses = {row: window.table.cells[row, 3] for row in range(4)}
    assert statuses == {0: "placed by you", 1: "absent", 2: "placed by you", 3: "unknown"}
    window.table.selectRow(3)
    press(window, window.on_revert)
    press(window, window.on_submit)
    window.slicer.util.errorDisplay.assert_not_called()
    stored = {point.name: point for point in read_points(session.client.label(session.case)[0])}
    assert stored[names[0]].position == (11.0, 12.0, 13.0) and stored[names[1]].status == "absent"
    assert stored[names[2]].position == (14.0, 15.0, 16.0) and stored[names[3]].score is not None
    window.on_look()
    window.cleanup()


def test_an_error_is_a_window_with_a_sentence(window):
    window.url.text = "http://127.0.0.1:9"
    press(window, window.on_connect)
    (sentence,), _ = window.slicer.util.errorDisplay.call_args
    assert "cannot be reached" in sentence and window.session is None


def test_a_conflict_asks_whose_label_to_keep(window, server, make_label):
    press(window, window.on_connect)
    session = window.session
    session.open("case 2")
    session.place(session.names[0], (15, 20, 10))
    base = session.client.label("case 2")[1]
    session.client.submit("case 2", make_label(0.5), base)  # somebody else
    window.slicer.util.confirmYesNoDisplay.return_value = True
    press(window, window.on_submit)
    window.slicer.util.errorDisplay.assert_not_called()
    stored = {point.name: point for point in read_points(session.client.label("case 2")[0])}
    assert stored[session.names[0]].position == (15, 20, 10)


def test_another_server_begins_with_an_empty_table(window, server, own_server):
    press(window, window.on_next)
    points = window.session.scene.list
    window.url.text = own_server.url
    press(window, window.on_connect)
    assert window.shown == [] and window.table.setRowCount.call_args.args == (0,)
    window.table.selectRow(0)
    press(window, window.on_absent)  # there is nothing to mark
    assert window.session.scene.list is None
    window.slicer.mrmlScene.RemoveNode.assert_any_call(points)
    window.slicer.util.errorDisplay.assert_not_called()


def test_names_and_sentences_are_never_taken_for_html(window, server):
    evil = '<img src="http://evil.example/x"> & <b>x</b>'
    assert window.state.textFormat is sys.modules["qt"].Qt.PlainText
    press(window, window.on_next)
    window.session.case = window.session.names[0] = evil
    window.session.edited = True
    window.slicer.util.confirmYesNoDisplay.return_value = False
    press(window, window.on_next)

    def refuse(*_):
        raise ValueError(evil)

    window.session.submit = refuse
    window.slicer.util.confirmYesNoDisplay.return_value = True
    press(window, window.on_submit)
    window._settle(Conflict(evil))
    boxes = window.slicer.util
    said = [call.args[0] for call in (*boxes.errorDisplay.mock_calls, *boxes.confirmYesNoDisplay.mock_calls)]
    assert len(said) >= 3
    assert all("<img" not in text and "<b>" not in text and "&lt;img" in text for text in said)


def test_all_message_boxes_show_text_literally():
    """Those of later code too: what goes into one is a constant, or goes through ``literal``."""
    tree = ast.parse((MODULE / "LandmarkReview.py").read_text())
    boxes = ("errorDisplay", "infoDisplay", "confirmYesNoDisplay", "warningDisplay")
    shown = [
        node.args[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in boxes
    ]
    assert len(shown) >= 5
    for argument in shown:
        constant = isinstance(argument, ast.Constant)
        assert constant or argument.func.id == "literal", ast.dump(argument)


def test_the_token_is_typed_and_never_kept(window, tmp_path):
    running = Server(fill_studies(tmp_path / "studies", 1), token="Zwei-Drei*Vier")
    try:
        window.url.text = running.url
        press(window, window.on_connect)
        assert "asks for a token" in window.slicer.util.errorDisplay.call_args.args[0]
        window.token.text = running.token
        press(window, window.on_connect)
        assert window.state.text == "0 of 1 cases are reviewed."
        assert window.token.echoMode == "password"
        kept = sys.modules["qt"].QSettings.return_value.setValue.call_args_list
        assert kept and running.token not in str(kept)
    finally:
        running.stop()
