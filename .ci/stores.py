"""Runs every call that the function can send on two more implementations of DynamoDB, and compares item by item.

The simulation assumes results, which the tests hold to the embedded store. An implementation may be wrong where DynamoDB's
documentation is clear: each such deviation is named here, and one that is gone or new is an error.
"""

import collections
import http.client
import json
import socket
import subprocess
import sys
import time

import dynamodb
from events import ID, free_port

# Per implementation, deviations from what DynamoDB documents: its name, and the calls that it concerns.
DEVIATIONS = {
    "moto": {
        "a call without an update is carried out, and ends in an exception": lambda case, result: (
            "UpdateExpression" not in case["request"]
            and "Attributes" in case["expected"]
            and result == {"error": "status 500"}
        ),
        "values of two types are compared, and it ends in an exception; they should not match": lambda case, result: (
            "updated_at >= :now" in case["request"]["ConditionExpression"]
            and "S" not in case["item"]["updated_at"]
            and "Attributes" in case["expected"]
            and result == {"error": "status 500"}
        ),
    },
    "dynalite": {
        "the item for which a condition does not hold is not returned": lambda case, result: (
            "Item" in case["expected"] and result == {}
        ),
    },
}

KEY = {"id": {"S": ID}}
TABLE = {
    "TableName": "distributors",
    "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
    "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
    "BillingMode": "PAY_PER_REQUEST",
}


class Store:
    def __init__(self, name, command):
        port = free_port()
        self.name = name
        self.stored = None
        self.process = subprocess.Popen([*command, str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(600):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.1)
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        assert self.call("CreateTable", TABLE)[0] == 200
        while self.call("DescribeTable", {"TableName": "distributors"})[1]["Table"]["TableStatus"] != "ACTIVE":
            time.sleep(0.1)

    def call(self, operation, body):
        self.connection.request("POST", "/", json.dumps(body), dynamodb.headers(operation))
        response = self.connection.getresponse()
        body = response.read()
        if response.getheader("content-type", "").startswith("text/html"):
            # An exception of the server.
            return response.status, {"__type": f"status {response.status}"}
        return response.status, json.loads(body)

    def result(self, case):
        """What becomes of a call: the members that the model has, or the error."""
        if self.stored != case["item"]:
            self.put(case["item"])
        status, body = self.call("UpdateItem", case["request"])
        stored = self.call("GetItem", {"TableName": "distributors", "Key": KEY, "ConsistentRead": True})[1].get("Item")
        self.stored = stored
        if status != 200 and not body["__type"].endswith("ConditionalCheckFailedException"):
            return {"error": body["__type"].rpartition("#")[2]}
        result = {name: value for name, value in body.items() if name in ("Attributes", "Item")}
        # What is stored is what was returned.
        assert stored == result.get("Attributes", case["item"]), (self.name, case, stored)
        return result

    def put(self, item):
        if item:
            status, body = self.call("PutItem", {"TableName": "distributors", "Item": item})
        else:
            status, body = self.call("DeleteItem", {"TableName": "distributors", "Key": KEY})
        assert status == 200, (self.name, item, body)


moto, dynalite = sys.argv[1:]
command = ["cargo", "run", "--quiet", "--locked", "--example", "simulate", "--", "--calls"]
cases = [json.loads(line) for line in subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.splitlines()]
for store in ("moto", [moto, "-H", "127.0.0.1", "-p"]), ("dynalite", [dynalite, "--createTableMs", "0", "--port"]):
    store = Store(*store)
    started = time.time()
    found = collections.Counter()
    unknown = []
    for case in cases:
        result = store.result(case)
        if result != case["expected"]:
            known = [name for name, concerns in DEVIATIONS[store.name].items() if concerns(case, result)]
            found.update(known)
            unknown.extend([] if known else [(case, result)])
    store.process.kill()
    print(f"{store.name}: {len(cases)} calls, {len(cases) - sum(found.values()) - len(unknown)} as DynamoDB documents them, {time.time() - started:.0f} s")
    for name in DEVIATIONS[store.name]:
        print(f"  {found[name]} deviate: {name}")
        assert found[name], f"{store.name} no longer deviates: {name}"
    for case, result in unknown[:20]:
        expressions = [case["request"].get(f"{kind}Expression", "") for kind in ("Update", "Condition")]
        print(json.dumps([case["item"], expressions, case["expected"], result])[:800])
    assert not unknown, len(unknown)
