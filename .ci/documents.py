"""Writes what goes with the package of a release: the template that deploys it, and its bill of materials.

The arguments are the architecture, as SAM names it, and the folder of the package. The bill of materials is held to the lock file:
all that is linked is in it, and nothing else.
"""

import json
import pathlib
import shlex
import subprocess
import sys
import tomllib

from events import root

# The command of the documentation, without the file that it writes.
SCAN = "syft scan file:.aws-sam/build/Function/bootstrap --output cyclonedx-json"
TARGETS = {"arm64": "aarch64-unknown-linux-gnu", "x86_64": "x86_64-unknown-linux-gnu"}


def replaced(text, old, new):
    assert text.count(old) == 1, f"the template has {old!r} {text.count(old)} times"
    return text.replace(old, new)


def template(architecture):
    """The template with the package in place of what `sam build` would make, and with no other architecture to choose."""
    text = (root / "template.yaml").read_text()
    text = replaced(text, "      CodeUri: .\n", f"      CodeUri: update-distributor-{architecture}.zip\n")
    text = replaced(text, "      BuildMethod: rust-cargolambda\n      BuildProperties:\n        Binary: bootstrap\n", "")
    return replaced(
        text,
        "    Default: arm64\n    AllowedValues: [arm64, x86_64]\n",
        f"    Default: {architecture}\n    AllowedValues: [{architecture}]\n",
    )


def bill_of_materials(version):
    """The bill of materials, without the time and the number that would make each scan another."""
    assert f"\n{SCAN}=" in (root / "docs/operation.md").read_text()
    command = [*shlex.split(SCAN), "--quiet", "--source-name", "update-distributor", "--source-version", version]
    materials = json.loads(subprocess.run(command, cwd=root, check=True, stdout=subprocess.PIPE).stdout)
    del materials["serialNumber"], materials["metadata"]["timestamp"]
    return materials


def check(materials, target):
    components = {(component["name"], component["version"]) for component in materials["components"]}
    tree = ["cargo", "tree", "--locked", "--package", "update-distributor", "--edges", "normal,no-proc-macro", "--target", target, "--prefix", "none"]
    lines = subprocess.run(tree, cwd=root, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    linked = {(name, version.removeprefix("v")) for name, version, *_ in map(str.split, filter(None, lines))}
    assert linked <= components, linked - components
    with open(root / "Cargo.lock", "rb") as file:
        locked = {(package["name"], package["version"]) for package in tomllib.load(file)["package"]}
    assert components <= locked, components - locked
    print(f"the function's bill of materials has {len(components)} packages, all of Cargo.lock; the {len(linked)} that are linked are among them")


architecture, folder = sys.argv[1], pathlib.Path(sys.argv[2])
with open(root / "Cargo.toml", "rb") as file:
    version = tomllib.load(file)["package"]["version"]
materials = bill_of_materials(version)
check(materials, TARGETS[architecture])
(folder / f"update-distributor-{architecture}.cdx.json").write_text(json.dumps(materials, indent=2) + "\n")
(folder / f"update-distributor-{architecture}.yaml").write_text(template(architecture))
