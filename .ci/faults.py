"""Puts each fault of testing/faults into a copy of the sources, and holds the test that its patch names to finding it.

Names on the command line are those of patches; without any, all of them are tried.
"""

import pathlib
import re
import shutil
import subprocess
import sys
import time

from events import root

FAULTS = root / "testing/faults"
COPY = root / "target/faults/tree"
# What is not in this repository is compiled already. What is has another profile, or a build of the copy would be taken for
# one of the tree.
BUILD = ["--target-dir", root / "target"]
for package in ["update-distributor", "testing"]:
    BUILD += ["--config", f"profile.dev.package.{package}.debug=false"]


def copy():
    """The tracked files as they are now; those that have not changed keep their times."""
    listed = subprocess.run(["git", "-c", f"safe.directory={root}", "ls-files", "-z"], cwd=root, check=True, capture_output=True, text=True)
    files = [name for name in listed.stdout.split("\0") if name and (root / name).exists()]
    for name in files:
        source, target = root / name, COPY / name
        if not target.exists() or target.read_bytes() != source.read_bytes():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
    for path in [path for path in COPY.rglob("*.rs") if str(path.relative_to(COPY)) not in files]:
        path.unlink()


def patch(file, *options):
    # Outside of a repository, so that git looks at nothing but the folder.
    subprocess.run(["git", "apply", "--unsafe-paths", f"--directory={COPY}", *options, file], cwd="/", check=True)


def failed(test):
    """Runs one test. Returns whether it fails, and for how long it ran, its build apart; a fault has to compile."""
    target = ["--test", "contract"] if (root / "tests/contract" / (test.split("::")[0] + ".rs")).exists() else ["--lib"]
    command = ["cargo", "test", "--quiet", "--locked", *BUILD, *target]
    subprocess.run([*command, "--no-run"], cwd=COPY, check=True)
    start = time.monotonic()
    try:
        result = subprocess.run([*command, "--", test], cwd=COPY, capture_output=True, text=True, timeout=300)
    except subprocess.TimeoutExpired:
        return True, time.monotonic() - start
    took = time.monotonic() - start
    ran = re.search(r"test result: \w+\. (\d+) passed; (\d+) failed", result.stdout)
    assert ran and int(ran[1]) + int(ran[2]) > 0, f"{test} is not a test: {result.stdout[-2000:]}{result.stderr[-2000:]}"
    return int(ran[2]) > 0, took


copy()
files = sorted(FAULTS.glob("*.patch"))
wanted = [file for file in files if not sys.argv[1:] or file.stem in sys.argv[1:]]
missed = []
for file in wanted:
    what, found_by, *_ = file.read_text().splitlines()
    test = found_by.removeprefix("Found by ")
    patch(file)
    try:
        found, took = failed(test)
    finally:
        patch(file, "--reverse")
    print(f"{file.stem:<40} {'found' if found else 'MISSED'} by {test} in {took:.1f} s", flush=True)
    missed += [] if found else [file.stem]
assert not missed, f"not found: {', '.join(missed)}"
print(f"{len(wanted)} faults, each found by the test that its patch names")
