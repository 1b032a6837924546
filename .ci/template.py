"""Holds the template to what README says of it: permissions in every combination, access log, alarms, rules."""

import itertools
import json
import os
import re
import sys

from samcli.yamlhelper import yaml_parse
from samtranslator.translator.transform import transform

from events import root

os.environ.setdefault("AWS_DEFAULT_REGION", "eu-central-1")
TABLE = "arn:aws:dynamodb:eu-central-1:123456789012:table/"


class NoManagedPolicies:
    def load(self):
        return {}


def template():
    return yaml_parse((root / "template.yaml").read_text())


def translated(parameters):
    source = template()
    source["Resources"]["Function"]["Properties"]["CodeUri"] = "s3://bucket/key"
    return transform(source, parameters, NoManagedPolicies())


class Stack:
    """A translated template with the values of its parameters, as CloudFormation would see it."""

    def __init__(self, **parameters):
        source = template()["Parameters"]
        self.parameters = {name: str(parameter.get("Default", "")) for name, parameter in source.items()}
        self.parameters |= {"TokenIssuer": "https://issuer.example", "TokenAudience": "distributors"} | parameters
        self.template = translated(self.parameters)
        conditions = self.template.get("Conditions", {})
        self.conditions = {name: lambda body=body: self.resolve(body) for name, body in conditions.items()}
        resources = self.template["Resources"].items()
        self.resources = {
            name: self.resolve(resource)
            for name, resource in resources
            if "Condition" not in resource or self.conditions[resource["Condition"]]()
        }

    def resolve(self, value):
        if isinstance(value, list):
            return [item for item in map(self.resolve, value) if item is not None]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            (name, argument), = value.items()
            match name:
                case "Ref":
                    pseudo = {"AWS::NoValue": None, "AWS::StackName": "stack", "AWS::Partition": "aws"}
                    return pseudo.get(argument, self.parameters.get(argument, f"<{argument}>")) if argument != "AWS::NoValue" else None
                case "Fn::GetAtt":
                    resource, attribute = argument if isinstance(argument, list) else argument.split(".")
                    return TABLE + "<Table>" if resource == "Table" else f"<{resource}.{attribute}>"
                case "Fn::If":
                    return self.resolve(argument[1 if self.conditions[argument[0]]() else 2])
                case "Fn::Equals":
                    return str(self.resolve(argument[0])) == str(self.resolve(argument[1]))
                case "Fn::Not":
                    return not self.resolve(argument[0])
                case "Fn::And":
                    return all(self.resolve(item) for item in argument)
                case "Fn::Or":
                    return any(self.resolve(item) for item in argument)
                case "Condition":
                    return self.conditions[argument]() if isinstance(argument, str) else argument
                case "Fn::Sub":
                    text = argument if isinstance(argument, str) else argument[0]
                    fixed = {"AWS::Partition": "aws", "AWS::Region": "eu-central-1", "AWS::AccountId": "123456789012"}
                    fixed |= {"AWS::StackName": "stack", **self.parameters}
                    return re.sub(r"\$\{([^}]+)\}", lambda found: fixed.get(found[1], f"<{found[1]}>"), text)
        return {name: resolved for name, item in value.items() if (resolved := self.resolve(item)) is not None}

    def of_type(self, type):
        return {name: body["Properties"] for name, body in self.resources.items() if body["Type"] == type}


def permissions(stack):
    """Every allowed action with its resource."""
    roles = stack.of_type("AWS::IAM::Role")
    assert list(roles) == ["Role"], roles
    assert "ManagedPolicyArns" not in roles["Role"], roles
    assert stack.of_type("AWS::IAM::Policy") == {} and stack.of_type("AWS::IAM::ManagedPolicy") == {}
    allowed = set()
    for policy in roles["Role"]["Policies"]:
        for statement in policy["PolicyDocument"]["Statement"]:
            actions = statement["Action"]
            for action in [actions] if isinstance(actions, str) else actions:
                allowed.add((action, statement["Resource"]))
    return allowed


def check_permissions():
    for table, tracing, format in itertools.product(["", "existing"], ["PassThrough", "Active"], ["JSON", "Text"]):
        stack = Stack(ExistingTableName=table, Tracing=tracing, LogFormat=format)
        expected = {("dynamodb:UpdateItem", TABLE + (table or "<Table>"))}
        expected |= {(action, "<FunctionLogGroup.Arn>") for action in ["logs:CreateLogStream", "logs:PutLogEvents"]}
        if tracing == "Active":
            expected |= {(action, "*") for action in ["xray:PutTraceSegments", "xray:PutTelemetryRecords"]}
        assert permissions(stack) == expected, permissions(stack)
        assert bool(stack.of_type("AWS::DynamoDB::Table")) == (not table)
        actions = ", ".join(sorted(action for action, _ in expected))
        print(f"table {table or 'made':<9} tracing {tracing:<12} log {format:<5} {actions}")


# What the gateway puts in for a variable, unescaped; where a caller or another service chooses the text, the worst of it.
NASTY = 'a\\",\n"status":"200'
VARIABLES = {
    "requestId": "JKJaXmPLvHcESHA=",
    "requestTime": "23/Dec/2025:23:16:10 +0000",
    "identity.sourceIp": "192.0.2.1",
    # A token (RFC 9110, 5.6.2), which has no quotes.
    "httpMethod": "P'UT",
    "routeKey": "ANY /api/v1/integration/distributors/{id}",
    "status": "404",
    "error.responseType": "DEFAULT_4XX",
    "responseLength": "42",
    "responseLatency": "7",
    "integrationStatus": "200",
    "integrationLatency": "-",
    "path": NASTY,
    "identity.userAgent": NASTY,
    "error.message": NASTY,
    "integrationErrorMessage": NASTY,
}


def check_access_log():
    (format,) = [stage["AccessLogSettings"]["Format"] for stage in Stack().of_type("AWS::ApiGatewayV2::Stage").values()]
    line = re.sub(r"\$context\.([A-Za-z.]+)", lambda found: VARIABLES[found[1]], format)
    assert json.loads(line)["status"] == "404", line
    assert "\n" not in line, line
    print("access log:", line)


def alarm_state(alarm, values):
    """Whether an alarm is raised by these sums of its periods, the last one now; None is a period without data."""
    periods = alarm["EvaluationPeriods"]
    window = ([None] * periods + values)[-periods:]
    breaching = [value is not None and value > float(alarm["Threshold"]) for value in window]
    assert alarm["TreatMissingData"] == "notBreaching" and alarm["ComparisonOperator"] == "GreaterThanThreshold"
    return sum(breaching) >= alarm.get("DatapointsToAlarm", periods)


def check_alarms():
    alarms = Stack().of_type("AWS::CloudWatch::Alarm")
    for name, metric, quiet, raising in [
        ("ErrorsAlarm", "Errors", [0, 0], [None, 1]),
        ("ThrottlesAlarm", "Throttles", [0, None], [None, 1]),
        # The function answers 500 itself, so that Lambda counts no error: one in a quiet hour is enough.
        ("InternalErrorAlarm", "Requests", [None, 0], [None] * 59 + [1]),
        ("KeysUnavailableAlarm", "Requests", [None, 0], [None] * 59 + [1]),
        ("ThrottledRequestsAlarm", "ThrottledRequests", [0, 0, 0], [0, 0, 3]),
        ("ServerErrorsAlarm", "5xx", [0, 0, 1, 0, 0], [0, 1, 0, 1, 0]),
        ("LatencyAlarm", "Latency", [5_000, 5_000, 30], [1_001, 1_001, 1_001]),
    ]:
        alarm = alarms.pop(name)
        assert alarm["MetricName"] == metric, alarm
        assert not alarm_state(alarm, quiet) and alarm_state(alarm, raising), name
        print(f"{name:<24} raised by {raising[-5:]}, not by {quiet[-5:]}")
    assert not alarms, alarms
    codes = {
        name: dimension["Value"]
        for name, alarm in Stack().of_type("AWS::CloudWatch::Alarm").items()
        for dimension in alarm.get("Dimensions", [])
        if dimension["Name"] == "code"
    }
    assert codes == {"InternalErrorAlarm": "internal_error", "KeysUnavailableAlarm": "keys_unavailable"}, codes
    # Without metrics there is nothing that they could be raised by.
    for without in [Stack(LogFormat="Text"), Stack(MetricsNamespace="")]:
        left = set(without.of_type("AWS::CloudWatch::Alarm"))
        assert not left & set(codes) and "Dashboard" not in without.resources, left
    body = json.loads(Stack(MetricsNamespace="My/Space").resources["Dashboard"]["Properties"]["DashboardBody"])
    expression = body["widgets"][0]["properties"]["metrics"][0][0]["expression"]
    assert expression.startswith("SEARCH('{\"My/Space\",code}"), expression


def check_parameters():
    parameters = template()["Parameters"]
    for name, value, allowed in [
        ("TokenIssuer", "https://a.example", True),
        ("TokenIssuer", "https://a.example, acme.com", True),
        ("TokenIssuer", " https://a.example", False),
        ("TokenIssuer", "https://a.example,", False),
        ("TokenAudience", "my api, b", True),
        ("TokenAudience", "a ", False),
        ("TokenAudience", "a,,b", False),
        ("TokenJwksUri", "https://a.example/jwks", True),
        ("TokenJwksUri", "https://u:p@a.example/", False),
        ("TokenJwksUri", "http://a.example/", False),
        ("TokenJwks", '{"keys":[]}', True),
        ("TokenJwks", " ", False),
        ("TokenNodeClaim", "", True),
        ("TokenNodeClaim", "/ext/node_id", True),
        ("TokenNodeClaim", "node_id ", False),
        ("MetricsNamespace", "", True),
        ("MetricsNamespace", "AWS/Lambda", False),
    ]:
        matches = re.fullmatch(parameters[name]["AllowedPattern"], value) is not None
        assert matches == allowed, (name, value)
    assert "NoEcho" not in json.dumps(parameters), "the CLI asks for such a parameter until something is typed"
    (rule,) = template()["Rules"]["OneSourceOfKeys"]["Assertions"]
    for uri, jwks, allowed in [("", "", True), ("u", "", True), ("", "j", True), ("u", "j", False)]:
        stack = Stack()
        stack.parameters |= {"TokenJwksUri": uri, "TokenJwks": jwks}
        assert stack.resolve(rule["Assert"]) == allowed, (uri, jwks)


for check in [check_parameters, check_permissions, check_access_log, check_alarms]:
    check()
sys.exit(0)
