"""Starts the local example on free ports and hands out what it prints."""

import contextlib
import re
import subprocess
import threading


class Local:
    def __init__(self, introduction):
        self.url, self.dynamodb = re.search(r"listens on (\S+), DynamoDB on (\S+) ", introduction).groups()
        self.token = re.search(r"^TOKEN=(\S*)$", introduction, re.M).group(1)
        # What a person would paste: the token, then each command.
        self.commands = re.findall(r"^curl .*?'$", introduction, re.M | re.S)


@contextlib.contextmanager
def local(*options):
    command = ["cargo", "run", "--quiet", "--locked", "--example", "local", "--", "--port", "0", "--dynamodb-port", "0", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        introduction = ""
        for line in process.stdout:
            introduction += line
            if line == "\n" and "# Read the distributor" in introduction:
                break
        else:
            raise SystemExit("the local example ended: " + introduction)
        # The log goes on, and a full pipe would hold up whoever writes to it.
        threading.Thread(target=process.stdout.read, daemon=True).start()
        yield Local(introduction)
    finally:
        process.terminate()
        process.wait()
