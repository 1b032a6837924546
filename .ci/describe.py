"""Runs a property-based client against the local example: no undocumented answer and no 5xx."""

import subprocess
import sys

from local import local

CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "ignored_auth",
]

with local() as example:
    command = [sys.argv[1], "run", "openapi.yaml", "--url", example.url, "--no-color"]
    command += ["--header", f"Authorization: Bearer {example.token}", "--checks", ",".join(CHECKS)]
    sys.exit(subprocess.run([*command, "--max-examples", "200", "--seed", "1"]).returncode)
