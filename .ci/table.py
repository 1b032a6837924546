"""Runs check-table on a table that has one item of each deviation."""

import os
import subprocess

import dynamodb
from local import local

GOOD = {
    "node_id": {"S": "e40efce4-38a3-46c4-a202-e8db95d0409c"},
    "created_at": {"S": "2025-12-23T23:16:10.419732Z"},
    "updated_at": {"S": "2025-12-23T23:16:10.419732Z"},
}
DEVIATIONS = [
    {"id": {"S": "39E8003C-6342-4FD3-97A1-3F2A7B437D0A"}},
    {"node_id": None},
    {"created_at": {"N": "1"}},
    {"updated_at": None},
    {"updated_at": {"S": "a b"}},
    {"updated_at": {"S": "2025-12-23T23:16:10Z"}},
    {"updated_at": {"S": "2999-01-01T00:00:00.000000Z"}},
    {"meta": {"S": "{}"}},
    {"meta": {"M": {"url": {"S": "SECRET"}}}},
    {"meta": {"M": {"host": {"S": "example.com"}}}},
    {"meta": {"M": {"path": {"N": "1"}}}},
    {"meta": {"M": {"method": {"S": "GET"}}}},
    {"meta": {"M": {"method": {"N": "9"}}}},
    {"meta": {"M": {"authentication": {"S": "SECRET"}}}},
    {"meta": {"M": {"authentication": {"M": {"type": {"N": "3"}}}}}},
    {"meta": {"M": {"authentication": {"M": {"password": {"N": "1"}}}}}},
    {"meta": {"M": {"authentication": {"M": {"key": {"S": "SECRET"}}}}}},
    {"name": {"S": "SECRET"}},
]


with local() as example:
    for number, deviation in enumerate(DEVIATIONS):
        item = {"id": {"S": "00000000-0000-4000-8000-%012d" % number}, **GOOD, **deviation}
        item = {name: value for name, value in item.items() if value is not None}
        dynamodb.call(example.dynamodb, "PutItem", {"TableName": "distributors", "Item": item})
    environment = os.environ | {
        "AWS_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_ENDPOINT_URL_DYNAMODB": example.dynamodb,
    }
    command = ["cargo", "run", "--quiet", "--locked", "--example", "check-table", "--", "distributors"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)

print(result.stdout, end="")
assert result.returncode == 1, result
lines = result.stdout.splitlines()
# One line each, and one for all; the documented distributor has none.
assert len(lines) == len(DEVIATIONS) + 1, len(lines)
assert lines[-1] == f"{len(DEVIATIONS) + 1} items, {len(DEVIATIONS)} of them deviate", lines[-1]
assert "SECRET" not in result.stdout
