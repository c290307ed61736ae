# SPDX-License-Identifier: Apache-2.0
"""Requests made up from the server's own description of what it takes, right ones and wrong ones: none is an
error of the server, and each refusal is a sentence."""

from __future__ import annotations

import contextlib
import json
from collections import Counter

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode

from .conftest import BUNDLE, Server, fill_studies

EXAMPLES = 30  # of each kind, for each operation
OPERATIONS = 25
THERE = {"image": "case 1", "label": "case 1", "model": "landmarks", "strategy": "first", "tag": "final"}
PLAIN = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def described_server(tmp_path_factory):
    """A server that serves the description of its requests."""
    studies = fill_studies(tmp_path_factory.mktemp("described") / "studies")
    conf = (("bundles", str(BUNDLE)), ("score", "false"), ("openapi", "true"))
    running = Server(studies, stock=[word for name, value in conf for word in ("--conf", name, value)])
    yield running
    running.stop()


@pytest.mark.slow
def test_made_up_requests_are_answered(described_server, capsys):
    schema = schemathesis.openapi.from_url(f"{described_server.url}/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    answers: Counter[int] = Counter()
    faults: dict[str, str] = {}
    session = requests.Session()

    def ask(case):
        send(case)
        if case.method != "DELETE":  # once more, of what there is: further in, and to be there still
            for values in (case.query, case.path_parameters):
                values.update({name: there for name, there in THERE.items() if name in (values or ())})
            send(case)

    def send(case):
        answer = case.call(session=session, timeout=60)
        answers[answer.status_code] += 1
        if answer.status_code >= 500:
            faults[f"{case.method} {case.path}: {answer.status_code}"] = case.as_curl_command()
        elif answer.status_code >= 400 and case.method != "HEAD":
            told = json.loads(answer.content)["detail"]
            if not isinstance(told, str):
                faults[f"{case.method} {case.path}: {told}"] = case.as_curl_command()

    for operation in operations:
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            with contextlib.suppress(Unsatisfiable):  # nothing is wrong where nothing can be said
                PLAIN(given(operation.as_strategy(generation_mode=mode))(ask))()
    with capsys.disabled():
        print(f"\n{len(operations)} operations, {answers.total()} requests: {dict(sorted(answers.items()))}")
    assert faults == {}, described_server.said()
    assert len(operations) >= OPERATIONS and answers.total() > EXAMPLES * OPERATIONS
    assert requests.get(f"{described_server.url}/info/", timeout=60).ok
