"""Generates clients in Python, TypeScript and Rust from the description, and makes five calls with each to the local example."""

import os
import pathlib
import shutil
import subprocess
import sys

from events import root
from local import local

SOURCES = root / ".ci/clients"
CLIENTS = root / "target/clients"


def run(*command, **options):
    subprocess.run(command, check=True, **options)


def generate(language, *options):
    target = CLIENTS / language
    # A build of dependencies is kept, what was generated is not.
    for part in ["src", "apis", "models", "openapi_client"]:
        shutil.rmtree(target / part, ignore_errors=True)
    with open(CLIENTS / f"{language}.log", "w") as log:
        command = ["openapi-generator-cli", "generate", "-i", "openapi.yaml", "-g", language, "-o", str(target), *options]
        run(*command, cwd=root, stdout=log, stderr=log)
    return target


def python():
    target = generate("python")
    run(sys.executable, "-m", "compileall", "-q", str(target / "openapi_client"))
    return [sys.executable, str(SOURCES / "calls.py")], {"PYTHONPATH": str(target)}


def typescript():
    target = generate("typescript-fetch")
    for name in ["calls.ts", "package.json", "package-lock.json", "tsconfig.json"]:
        shutil.copy(SOURCES / name, target)
    run("npm", "ci", "--silent", "--no-audit", "--no-fund", cwd=target)
    run("node_modules/.bin/tsc", "--project", ".", cwd=target)
    return ["node", str(target / "built/calls.js")], {}


def rust():
    # The lock file has the version of the client, too: one that no release changes.
    target = generate("rust", "--additional-properties=packageVersion=0.0.0")
    (target / "examples").mkdir(exist_ok=True)
    shutil.copy(SOURCES / "calls.rs", target / "examples")
    shutil.copy(SOURCES / "Cargo.lock", target)
    manifest = (target / "Cargo.toml").read_text()
    # A workspace of its own, below the folder of another package; the calls need a runtime.
    runtime = 'tokio = { version = "1", features = ["macros", "rt"] }'
    (target / "Cargo.toml").write_text(f"{manifest}\n[dev-dependencies]\n{runtime}\n\n[workspace]\n")
    # The example speaks plain HTTP, so that no TLS is built. Half of the other packages are the function's.
    command = ["cargo", "build", "--quiet", "--locked", "--no-default-features", "--example", "calls"]
    run(*command, "--target-dir", str(root / "target"), cwd=target)
    return [str(root / "target/debug/examples/calls")], {}


CLIENTS.mkdir(parents=True, exist_ok=True)
clients = {"Python": python(), "TypeScript": typescript(), "Rust": rust()}
with local() as example:
    for language, (command, environment) in clients.items():
        environment |= {"URL": example.url, "TOKEN": example.token}
        result = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, cwd=pathlib.Path("/"))
        calls = result.stdout.split()
        assert result.returncode == 0 and calls == ["set", "round-trip", "remove", "read", "422"], (language, result)
        print(f"the client in {language} is compiled, and has made the calls: {', '.join(calls)}")
