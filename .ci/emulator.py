"""Sends every sample event to the built function through AWS's Runtime Interface Emulator."""

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request

import events
from events import free_port, root
from local import local

emulator, *command = sys.argv[1:]


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


with local() as example:
    port = free_port()
    environment = events.environment(example.dynamodb)
    addresses = ["--runtime-interface-emulator-address", f"127.0.0.1:{port}", "--runtime-api-address", f"127.0.0.1:{free_port()}"]
    log = open(root / "target/emulator.log", "w")
    process = subprocess.Popen([emulator, *addresses, *command], env=environment, stdout=log, stderr=log, cwd=root)
    try:
        failed = events.check(lambda path: invoke(port, path.read_bytes()))
    finally:
        process.terminate()
        process.wait()

sys.exit(1 if failed else 0)
