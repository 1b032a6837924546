"""Tokens of a third-party OpenID provider, before and after a rotation of its keys.

The local example finds the keys by discovery. Each token is accepted, and refused when any part of it was changed. What
check-token says of them is the same.
"""

import base64
import contextlib
import json
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request

from events import PATH, root
from local import local

ALGORITHMS = ["RS256", "PS256", "ES256", "EdDSA"]
AUDIENCE = "urn:distributors"


def call(example, token):
    """The outcome of a request with a token."""
    headers = {"authorization": f"Bearer {token}", "x-target-server": "integration", "content-type": "application/json"}
    request = urllib.request.Request(example.url + PATH, b"{}", headers, method="PUT")
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return f"{response.status} ok"
    except urllib.error.HTTPError as response:
        return f"{response.code} {json.load(response)['code']}"


@contextlib.contextmanager
def provider():
    command = ["node", str(root / ".ci/node/provider.mjs")]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=open(root / "target/provider-server.log", "w"), text=True)
    try:
        yield process, process.stdout.readline().strip()
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


subprocess.run(["cargo", "build", "--quiet", "--locked", "--example", "check-token"], check=True, cwd=root)
with provider() as (process, issuer):
    with local("--issuer", issuer, "--audience", AUDIENCE) as example:
        first = {alg: token(issuer, alg) for alg in ALGORITHMS}
        for alg in ALGORITHMS:
            assert decode(first[alg].split(".")[0])["alg"] == alg, first[alg]
            check(f"{alg}", call(example, first[alg]), "200 ok")
        process.stdin.write("\n")
        process.stdin.flush()
        # The provider has notices of its own to print.
        while process.stdout.readline().strip() != "generation 2":
            assert process.poll() is None
        second = {alg: token(issuer, alg) for alg in ALGORITHMS}
        for alg in ALGORITHMS:
            assert decode(second[alg].split(".")[0])["kid"] == f"{alg}-2", second[alg]
            check(f"{alg}, after the rotation", call(example, second[alg]), "200 ok")
            check(f"{alg}, signed before it", call(example, first[alg]), "200 ok")
        # Last: one that no key verifies has the keys fetched again, and then none does for ten seconds.
        for alg in ALGORITHMS:
            for name, bad in tampered(first[alg], alg, "RS384" if alg != "RS384" else "RS512"):
                check(f"{alg}, {name}", call(example, bad), "401 invalid_token")
            for name, bad in tampered(second[alg], alg, "RS384"):
                check(f"{alg}, after the rotation, {name}", call(example, bad), "401 invalid_token")
                check(f"check-token: {alg}, {name}", explained(bad, issuer), "401 invalid_token, exit status 1")
            accepted = "the token is accepted: 200, unless a later check fails, exit status 0"
            check(f"check-token: {alg}", explained(second[alg], issuer), accepted)
print("every token was judged as expected" if not failed else f"{failed} tokens were not judged as expected")
sys.exit(1 if failed else 0)
