# SPDX-License-Identifier: Apache-2.0
"""The command that starts the server, and what is said where there is none."""

from __future__ import annotations

import importlib.util
import json
import os
import threading
import time
import webbrowser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from auto3dlandmark.cli import main
from auto3dlandmark.errors import LandmarkError
from auto3dlandmark.review import server as server_module
from auto3dlandmark.review.server import server_command


@pytest.fixture
def installed(monkeypatch):
    """As if MONAI Label were installed; it is tested with a real one in tests/label."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())


def test_without_monai_label_the_way_to_it_is_told(tmp_path, trained_bundle):
    with pytest.raises(SystemExit, match="MONAI Label is not installed .* run 'make label-env'"):
        main(["serve", str(tmp_path), "--bundle", str(trained_bundle)])


def test_the_server_listens_to_this_machine_alone(installed, trained_bundle, tmp_path):
    command, environment = server_command(tmp_path, [trained_bundle], minutes=3, hosts=None)
    assert command[command.index("--host") + 1] == "127.0.0.1"
    conf = {command[at + 1]: command[at + 2] for at, word in enumerate(command) if word == "--conf"}
    assert json.loads(conf.pop("bundles")) == [str(trained_bundle.resolve())] and conf == {"minutes": "3"}
    app = command[command.index("--app") + 1]
    assert (
        app == str(tmp_path / "review" / "app")
        and "LandmarksApp" in (tmp_path / "review" / "app" / "main.py").read_text()
    )
    assert environment["MONAI_LABEL_DATASTORE_AUTO_RELOAD"] == "false"


def test_what_cannot_be_served_is_told_before_it_starts(installed, trained_bundle, tmp_path):
    with pytest.raises(LandmarkError, match="nowhere: there is no such folder"):
        server_command(tmp_path / "nowhere", [trained_bundle])
    with pytest.raises(LandmarkError, match="is not a bundle"):
        server_command(tmp_path, [tmp_path])
    with pytest.raises(LandmarkError, match="no bundle given"):
        server_command(tmp_path, [])


def test_others_are_let_in_only_with_a_token(installed, trained_bundle, tmp_path, monkeypatch):
    monkeypatch.delenv("AUTO3DLANDMARK_TOKEN", raising=False)
    for host in ("0.0.0.0", "::", "192.168.1.5", "review.example.org"):
        with pytest.raises(LandmarkError, match="lets everybody in .* Add --token"):
            server_command(tmp_path, [trained_bundle], host)
    for host in ("127.0.0.1", "localhost", "::1", "127.1.2.3"):
        assert "AUTO3DLANDMARK_TOKEN" not in server_command(tmp_path, [trained_bundle], host)[1]
    with pytest.raises(LandmarkError, match="a token has 8 letters"):
        server_command(tmp_path, [trained_bundle], "0.0.0.0", token="short")
    command, environment = server_command(tmp_path, [trained_bundle], "0.0.0.0", token="long enough")
    assert environment["AUTO3DLANDMARK_TOKEN"] == "long enough" and "long enough" not in " ".join(command)
    monkeypatch.setenv("AUTO3DLANDMARK_TOKEN", "of the environment")
    assert server_command(tmp_path, [trained_bundle], "0.0.0.0")[0][-1] != "of the environment"


def test_several_bundles_may_follow_the_option(installed, trained_bundle, tmp_path, monkeypatch):
    seen = {}
    monkeypatch.setattr("os.execve", lambda path, command, environment: seen.update(command=command))
    main(["serve", str(tmp_path), "--bundle", str(trained_bundle), str(trained_bundle), "--port", "8123"])
    command = seen["command"]
    assert len(json.loads(command[command.index("bundles") + 1])) == 2
    assert command[command.index("--port") + 1] == "8123"


def test_a_browser_is_opened_once_the_server_answers(monkeypatch):
    opened, waited = [], []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    monkeypatch.setattr(SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    with ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler, bind_and_activate=False) as running:
        running.server_bind()
        address = f"http://127.0.0.1:{running.server_port}"

        def start(_):  # at the first pause
            if not waited:
                running.server_activate()
                threading.Thread(target=running.serve_forever, daemon=True).start()
            waited.append(1)

        monkeypatch.setattr(time, "sleep", start)
        server_module.main(address, str(os.getppid()))
        assert opened == [address] and waited
        running.shutdown()
    server_module.main(address, "0")  # the server is gone
    assert opened == [address]
