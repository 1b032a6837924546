"""Holds a list of the function's packages to the lock file: all that is linked is in it, and nothing else. Without an
argument the list is the bill of materials, made as the documentation says; with one, what that function carries."""

import json
import subprocess
import sys
import tomllib
import zlib

from events import root

TARGET = "aarch64-unknown-linux-gnu"
FILE = root / "bootstrap_bin.cdx.json"

with open(root / "Cargo.lock", "rb") as file:
    locked = {(package["name"], package["version"]): package.get("checksum") for package in tomllib.load(file)["package"]}


def linked(edges):
    tree = ["cargo", "tree", "--locked", "--edges", edges, "--target", TARGET, "--prefix", "none"]
    lines = subprocess.run(tree, cwd=root, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    packages = {(name, version.removeprefix("v")) for name, version, *_ in map(str.split, filter(None, lines))}
    return {package for package in packages if locked[package]}


def bill_of_materials():
    command = ["cargo", "cyclonedx", "--quiet", "--format", "json", "--describe", "binaries", "--target", TARGET]
    assert " ".join(command).replace(" --quiet", "") in (root / "docs/development.md").read_text()
    subprocess.run(command, cwd=root, check=True)
    components = {
        (component["name"], component["version"]): component["hashes"][0]["content"]
        for component in json.loads(FILE.read_text())["components"]
    }
    built = linked("normal,build")
    assert built <= components.keys(), built - components.keys()
    assert components.items() <= locked.items(), components.items() - locked.items()
    print(f"{FILE.name}: {len(components)} packages as in Cargo.lock, the {len(built)} that are built among them")


def carried(function):
    # Only what runs this has the package.
    from elftools.elf.elffile import ELFFile

    with open(function, "rb") as file:
        section = ELFFile(file).get_section_by_name(".dep-v0")
        assert section, "the function carries no list"
        packages = json.loads(zlib.decompress(section.data()))["packages"]
    runtime = {(each["name"], each["version"]) for each in packages if each.get("kind", "runtime") == "runtime"}
    in_function = linked("normal,no-proc-macro")
    assert in_function <= runtime, in_function - runtime
    assert runtime <= locked.keys(), runtime - locked.keys()
    print(f"the function carries its list: {len(runtime)} packages as in Cargo.lock, {section.data_size} bytes")


if sys.argv[1:]:
    carried(*sys.argv[1:])
else:
    bill_of_materials()
