"""Makes the bill of materials as the documentation says, and holds it to the lock file: all that is linked, and with the same
checksums."""

import json
import subprocess
import tomllib

from events import root

TARGET = "aarch64-unknown-linux-gnu"
FILE = root / "bootstrap_bin.cdx.json"

command = ["cargo", "cyclonedx", "--quiet", "--format", "json", "--describe", "binaries", "--target", TARGET]
assert " ".join(command).replace(" --quiet", "") in (root / "docs/development.md").read_text()
subprocess.run(command, cwd=root, check=True)
components = {
    (component["name"], component["version"]): component["hashes"][0]["content"]
    for component in json.loads(FILE.read_text())["components"]
}
with open(root / "Cargo.lock", "rb") as file:
    locked = {(package["name"], package["version"]): package.get("checksum") for package in tomllib.load(file)["package"]}
tree = ["cargo", "tree", "--locked", "--edges", "normal,build", "--target", TARGET, "--prefix", "none"]
lines = subprocess.run(tree, cwd=root, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
linked = {(name, version.removeprefix("v")) for name, version, *_ in map(str.split, filter(None, lines))}
linked = {package for package in linked if locked[package]}
assert linked <= components.keys(), linked - components.keys()
assert components.items() <= locked.items(), components.items() - locked.items()
print(f"{FILE.name}: {len(components)} packages as in Cargo.lock, the {len(linked)} that are built among them")
