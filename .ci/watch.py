"""Sends every sample event to `cargo lambda watch` with `cargo lambda invoke`, as a developer would."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import events
from events import free_port, root
from local import local

NAME = "bootstrap"


def invoke(port, path):
    command = ["cargo", "lambda", "invoke", "--invoke-address", "127.0.0.1", "--invoke-port", str(port)]
    result = subprocess.run([*command, "--data-file", str(path), NAME], capture_output=True, text=True, timeout=300)
    if result.returncode == 0:
        return json.loads(result.stdout)
    # An error of the invocation is printed for people, its type first.
    first = result.stderr.strip().splitlines()[0]
    return {"errorType": first.removeprefix("Error: ").strip()}


def listens(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


with local() as example:
    port = free_port()
    environment = events.environment(example.dynamodb)
    command = ["cargo", "lambda", "watch", "--ignore-changes", "--invoke-address", "127.0.0.1", "--invoke-port", str(port)]
    log = open(root / "target/watch.log", "w")
    # A group of its own: it runs cargo, which runs the function.
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=root, start_new_session=True)
    try:
        while not listens(port):
            assert process.poll() is None, "cargo lambda watch ended"
            time.sleep(0.1)
        failed = events.check(lambda path: invoke(port, path))
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()

sys.exit(1 if failed else 0)
