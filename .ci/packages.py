"""Holds the bill of materials of the built function, made as the documentation says, to the lock file: all that is linked is
in it, and nothing else."""

import json
import shlex
import subprocess
import tomllib

from events import root

COMMAND = "syft scan file:.aws-sam/build/Function/bootstrap --output cyclonedx-json=target/bootstrap.cdx.json"
# The platform that the function is built for.
TARGET = "aarch64-unknown-linux-gnu"

assert COMMAND in (root / "docs/operation.md").read_text()
subprocess.run([*shlex.split(COMMAND), "--quiet"], cwd=root, check=True)
materials = json.loads((root / "target/bootstrap.cdx.json").read_text())
components = {(component["name"], component["version"]) for component in materials["components"]}

tree = ["cargo", "tree", "--locked", "--package", "update-distributor", "--edges", "normal,no-proc-macro", "--target", TARGET, "--prefix", "none"]
lines = subprocess.run(tree, cwd=root, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
linked = {(name, version.removeprefix("v")) for name, version, *_ in map(str.split, filter(None, lines))}
assert linked <= components, linked - components

with open(root / "Cargo.lock", "rb") as file:
    locked = {(package["name"], package["version"]) for package in tomllib.load(file)["package"]}
assert components <= locked, components - locked
print(f"the function's bill of materials has {len(components)} packages, all of Cargo.lock; the {len(linked)} that are linked are among them")
