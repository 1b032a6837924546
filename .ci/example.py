"""Runs the curl commands that the local example prints, as pasted, and checks the answers."""

import json
import subprocess

from local import local


def paste(token, command):
    result = subprocess.run(["bash", "-c", f"TOKEN={token}\n{command}"], capture_output=True, text=True, check=True)
    head, body = result.stdout.replace("\r\n", "\n").split("\n\n", 1)
    return head.splitlines()[0].split()[1], json.loads(body)


with local() as example:
    answers = [paste(example.token, command) for command in example.commands]
    # Reading twice: nothing changes.
    answers.append(paste(example.token, example.commands[2]))

statuses = [status for status, _ in answers]
(_, set_), (_, removed), (_, read), (_, again) = answers
assert statuses == ["200"] * 4, answers
assert list(set_) == ["id", "node_id", "meta", "created_at", "updated_at"], set_
assert set_["meta"] == {
    "host": "https://example.com222",
    "path": "/webhook",
    "method": "GET",
    "authentication": {"type": 1, "username": "user", "password": "pass"},
}, set_
assert removed["meta"] is None and removed["updated_at"] > set_["updated_at"], removed
assert read == removed == again, (removed, read, again)
print("the printed commands set, remove and read the distributor")
