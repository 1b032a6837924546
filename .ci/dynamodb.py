"""Calls of a DynamoDB that verifies no signature, but wants one."""

import json
import urllib.request

SIGNATURE = "AWS4-HMAC-SHA256 Credential=any/20260101/eu-central-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0"


def headers(operation):
    return {
        "x-amz-target": f"DynamoDB_20120810.{operation}",
        "content-type": "application/x-amz-json-1.0",
        "x-amz-date": "20260101T000000Z",
        "authorization": SIGNATURE,
    }


def call(endpoint, operation, body):
    request = urllib.request.Request(endpoint, json.dumps(body).encode(), headers(operation))
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)
