"""Drives `sam deploy --guided` at a terminal, with Enter for everything but issuer and audience, up to its call of AWS.

The argument is the template.
"""

import http.server
import os
import pathlib
import pty
import re
import select
import sys
import threading
import time

template = pathlib.Path(sys.argv[1]).resolve()
ANSWERS = {"Parameter TokenIssuer": "https://issuer.example", "Parameter TokenAudience": "distributors"}
calls = []


class Aws(http.server.BaseHTTPRequestHandler):
    """Refuses whatever it is asked."""

    def do_POST(self):
        calls.append(self.rfile.read(int(self.headers["content-length"])).decode())
        body = b"<ErrorResponse><Error><Code>AccessDenied</Code><Message>refused</Message></Error></ErrorResponse>"
        self.send_response(403)
        self.send_header("content-type", "text/xml")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def plain(text):
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Aws)
threading.Thread(target=server.serve_forever, daemon=True).start()
child, terminal = pty.fork()
if child == 0:
    os.chdir(template.parent)
    os.environ |= {
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:%d" % server.server_address[1],
        "AWS_MAX_ATTEMPTS": "1",
        "SAM_CLI_TELEMETRY": "0",
    }
    os.execvp("sam", ["sam", "deploy", "--guided", "--template-file", template.name])

output, line, asked, end = "", "", 0, time.monotonic() + 120
while time.monotonic() < end:
    if select.select([terminal], [], [], 1)[0]:
        try:
            read = os.read(terminal, 65536).decode(errors="replace")
        except OSError:
            break
        if not read:
            break
        output += read
        line += read
    question = plain(line).splitlines()[-1].strip() if plain(line).strip() else ""
    # A prompt is a line that waits after its default.
    if re.search(r"\[[^\]]*\]:$", question):
        answer = next((answer for name, answer in ANSWERS.items() if question.startswith(name)), "")
        os.write(terminal, f"{answer}\n".encode())
        asked += 1
        line = ""

print(plain(output).strip())
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
assert "no authentication" not in output
assert calls and "Action=" in calls[0], f"AWS was not called, exit status {status}"
print(f"{asked} prompts, {len(ANSWERS)} answers typed, then AWS was called: {calls[0].split('&')[0]}")
sys.exit(0)
