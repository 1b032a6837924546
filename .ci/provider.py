"""Tokens of a third-party OpenID provider, before and after a rotation of its keys.

The built function finds the keys by discovery. Each token is accepted, and refused when any part of it was changed. What
check-token says of them is the same.
"""

import base64
import contextlib
import http.server
import json
import os
import pathlib
import queue
import subprocess
import sys
import threading
import urllib.parse
import urllib.request

from local import local

root = pathlib.Path(__file__).resolve().parent.parent
ALGORITHMS = ["RS256", "PS256", "ES256", "EdDSA"]
AUDIENCE = "urn:distributors"


class RuntimeApi:
    """Hands events to the function, one at a time, and returns its responses."""

    def __init__(self):
        events, self.responses = queue.Queue(), queue.Queue()
        self.events = events
        responses = self.responses

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def reply(self, status, headers, body):
                self.send_response(status)
                for name, value in {**headers, "content-length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                event = events.get()
                if event is not None:
                    self.reply(200, {"lambda-runtime-aws-request-id": "1"}, json.dumps(event).encode())

            def do_POST(self):
                responses.put(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                self.reply(202, {}, b"")

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        # A function that is stopped while it waits for an event is no error.
        self.server.handle_error = lambda *_: None
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def call(self, token):
        self.events.put({
            "version": "2.0",
            "rawPath": "/api/v1/integration/distributors/39e8003c-6342-4fd3-97a1-3f2a7b437d0a",
            "requestContext": {"http": {"method": "PUT"}},
            "headers": {"authorization": f"Bearer {token}", "x-target-server": "integration"},
            "body": "{}",
        })
        response = self.responses.get(timeout=30)
        return f"{response['statusCode']} {json.loads(response['body']).get('code', 'ok')}"


@contextlib.contextmanager
def provider():
    command = ["node", str(root / ".ci/node/provider.mjs")]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=open(root / "target/provider-server.log", "w"), text=True)
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def function(api, issuer, dynamodb):
    environment = {
        "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:%d" % api.server.server_address[1],
        "AWS_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_ENDPOINT_URL_DYNAMODB": dynamodb,
        "TABLE_NAME": "distributors",
        "TOKEN_ISSUER": issuer,
        "TOKEN_AUDIENCE": AUDIENCE,
        "TOKEN_SCOPE": "distributors:write",
    }
    log = open(root / "target/provider.log", "w")
    process = subprocess.Popen([root / "target/debug/bootstrap"], env=environment, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def explained(token, issuer):
    """The last line of check-token, and its exit status."""
    settings = {"TOKEN_ISSUER": issuer, "TOKEN_AUDIENCE": AUDIENCE, "TOKEN_SCOPE": "distributors:write"}
    command = [root / "target/debug/examples/check-token"]
    result = subprocess.run(command, env=settings, input=token, stdout=subprocess.PIPE, text=True)
    assert not any(part in result.stdout for part in token.split(".") if part), result.stdout
    return f"{result.stdout.splitlines()[-1].split('result')[1].strip()}, exit status {result.returncode}"


def token(issuer, alg):
    form = {"grant_type": "client_credentials", "resource": AUDIENCE, "scope": "distributors:write"}
    request = urllib.request.Request(f"{issuer}/token", data=urllib.parse.urlencode(form).encode())
    request.add_header("authorization", "Basic " + base64.b64encode(f"{alg}:secret".encode()).decode())
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)["access_token"]


def decode(part):
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def encode(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def tampered(token, alg, other):
    """Changes of a token, each of which makes it one that the provider has not signed."""
    header, claims, signature = token.split(".")
    changed = {**decode(claims), "node_id": "00000000-0000-4000-8000-000000000000"}
    yield "other claims", ".".join([header, encode(changed), signature])
    yield "no signature", ".".join([encode({**decode(header), "alg": "none"}), claims, ""])
    yield "another algorithm", ".".join([encode({**decode(header), "alg": other}), claims, signature])
    yield "another signature", ".".join([header, claims, signature[::-1]])


failed = 0


def check(name, got, expected):
    global failed
    print(f"{name:<50} {got}")
    if got != expected:
        failed += 1
        print(f"  expected {expected}")


subprocess.run(["cargo", "build", "--quiet", "--locked", "--bin", "bootstrap", "--example", "check-token"], check=True, cwd=root)
with local() as example, provider() as (process, issuer):
    api = RuntimeApi()
    with function(api, issuer, example.dynamodb):
        first = {alg: token(issuer, alg) for alg in ALGORITHMS}
        for alg in ALGORITHMS:
            assert decode(first[alg].split(".")[0])["alg"] == alg, first[alg]
            check(f"{alg}", api.call(first[alg]), "200 ok")
        process.stdin.write("\n")
        process.stdin.flush()
        # The provider has notices of its own to print.
        while process.stdout.readline().strip() != "generation 2":
            assert process.poll() is None
        second = {alg: token(issuer, alg) for alg in ALGORITHMS}
        for alg in ALGORITHMS:
            assert decode(second[alg].split(".")[0])["kid"] == f"{alg}-2", second[alg]
            check(f"{alg}, after the rotation", api.call(second[alg]), "200 ok")
            check(f"{alg}, signed before it", api.call(first[alg]), "200 ok")
        # Last: one that no key verifies has the keys fetched again, and then none does for ten seconds.
        for alg in ALGORITHMS:
            for name, bad in tampered(first[alg], alg, "RS384" if alg != "RS384" else "RS512"):
                check(f"{alg}, {name}", api.call(bad), "401 invalid_token")
            for name, bad in tampered(second[alg], alg, "RS384"):
                check(f"{alg}, after the rotation, {name}", api.call(bad), "401 invalid_token")
                check(f"check-token: {alg}, {name}", explained(bad, issuer), "401 invalid_token, exit status 1")
            accepted = "the token is accepted: 200, unless a later check fails, exit status 0"
            check(f"check-token: {alg}", explained(second[alg], issuer), accepted)
print("every token was judged as expected" if not failed else f"{failed} tokens were not judged as expected")
sys.exit(1 if failed else 0)
