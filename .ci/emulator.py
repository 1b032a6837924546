"""Sends every sample event to the function out of a package, through AWS's Runtime Interface Emulator.

The arguments are the emulator, the architecture, and what runs a function of that architecture here, if the machine itself does not.
The function is left in target/package/.
"""

import json
import pathlib
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile

import events
from events import free_port, root
from local import local

emulator, architecture, *runner = sys.argv[1:]
# Bytes, each of which a cold start has to load. Arbitrary.
MAX_PACKAGE = 4 * 2**20


def unpacked():
    """Takes the function out of its package, as Lambda does."""
    package = root / f"dist/update-distributor-{architecture}.zip"
    size = package.stat().st_size
    assert size <= MAX_PACKAGE, f"the package has {size} bytes, and should have {MAX_PACKAGE} at most"
    with zipfile.ZipFile(package) as files:
        (entry,) = files.infolist()
        mode = entry.external_attr >> 16 & 0o777
        assert (entry.filename, mode) == ("bootstrap", 0o755), entry
        function = files.extract(entry, root / "target/package" / architecture)
    pathlib.Path(function).chmod(mode)
    print(f"the package for {architecture} has {size / 2**20:.2f} MiB")
    return function


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


function = unpacked()
with local() as example:
    port = free_port()
    environment = events.environment(example.dynamodb)
    addresses = ["--runtime-interface-emulator-address", f"127.0.0.1:{port}", "--runtime-api-address", f"127.0.0.1:{free_port()}"]
    log = open(root / "target/emulator.log", "w")
    process = subprocess.Popen([emulator, *addresses, *runner, function], env=environment, stdout=log, stderr=log, cwd=root)
    try:
        failed = events.check(lambda path: invoke(port, path.read_bytes()))
    finally:
        process.terminate()
        process.wait()

sys.exit(1 if failed else 0)
