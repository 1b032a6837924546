"""The sample events, and the outcome that the name of each promises."""

import json
import os
import pathlib
import socket

root = pathlib.Path(__file__).resolve().parent.parent
# The documented distributor, which the local example has.
ID = "39e8003c-6342-4fd3-97a1-3f2a7b437d0a"
PATH = f"/api/v1/integration/distributors/{ID}"


def environment(dynamodb):
    """The environment of a function that the events are sent to, with a store that takes any credentials."""
    settings = json.loads((root / "events/env.json").read_text())["Function"]
    store = {"AWS_ENDPOINT_URL_DYNAMODB": dynamodb, "AWS_REGION": "eu-central-1"}
    credentials = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}
    return os.environ | settings | store | credentials


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def check(invoke):
    """Sends every event by `invoke`, which returns the response, and returns how many were answered otherwise."""
    failed = 0
    events = sorted(path for path in (root / "events").glob("*.json") if path.name != "env.json")
    for path in events:
        status, what = path.name.split(".")[:2]
        # An event of a success is named after its operation, which a response does not name.
        expected = f"{status}.ok" if status == "200" else f"{status}.{what.split('-')[0]}"
        got = outcome(invoke(path))
        if got != expected:
            failed += 1
            print(f"{path.name}: {got}")
    print(f"{len(events) - failed} of {len(events)} events are answered as their names say")
    return failed or not events


def outcome(response):
    if "errorType" in response:
        return "error." + response["errorType"]
    body = json.loads(response["body"])
    return f"{response['statusCode']}.{body.get('code', 'ok')}"
