"""Sends every sample event to the built function through AWS's Runtime Interface Emulator."""

import json
import os
import pathlib
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

from local import local

root = pathlib.Path(__file__).resolve().parent.parent
emulator, bootstrap = sys.argv[1:]


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def invoke(port, event):
    url = f"http://127.0.0.1:{port}/2015-03-31/functions/function/invocations"
    for _ in range(100):
        try:
            with urllib.request.urlopen(url, data=event, timeout=30) as response:
                return json.load(response)
        except urllib.error.URLError as error:
            # The emulator is not listening yet.
            if not isinstance(error.reason, ConnectionRefusedError):
                raise
            time.sleep(0.05)
    raise SystemExit("the emulator does not listen")


def outcome(answer):
    if "errorType" in answer:
        return "error." + answer["errorType"]
    body = json.loads(answer["body"])
    return f"{answer['statusCode']}.{body.get('code', 'ok')}"


with local() as example:
    settings = json.loads((root / "events/env.json").read_text())["Function"]
    port = free_port()
    environment = os.environ | settings | {
        "AWS_ENDPOINT_URL_DYNAMODB": example.dynamodb,
        "AWS_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
    }
    addresses = ["--runtime-interface-emulator-address", f"127.0.0.1:{port}", "--runtime-api-address", f"127.0.0.1:{free_port()}"]
    log = open(root / "target/emulator.log", "w")
    process = subprocess.Popen([emulator, *addresses, bootstrap], env=environment, stdout=log, stderr=log, cwd=root)
    try:
        failed = 0
        events = sorted(path for path in (root / "events").glob("*.json") if path.name != "env.json")
        for path in events:
            status, what = path.name.split(".")[:2]
            # An event of a success is named after its operation, an answer's code is not.
            expected = f"{status}.ok" if status == "200" else f"{status}.{what.split('-')[0]}"
            got = outcome(invoke(port, path.read_bytes()))
            if got != expected:
                failed += 1
                print(f"{path.name}: {got}")
    finally:
        process.terminate()
        process.wait()

print(f"{len(events) - failed} of {len(events)} events are answered as their names say")
sys.exit(1 if failed else 0)
