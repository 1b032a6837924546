"""Holds the template to what README says of it: permissions in every combination, access log, alarms, rules."""

import collections
import concurrent.futures
import copy
import functools
import itertools
import json
import logging
import os
import re
import sys

from cfnlint.config import ConfigMixIn
from cfnlint.decode.decode import decode_str
from cfnlint.runner import Runner
from samcli.yamlhelper import yaml_parse
from samtranslator.translator.transform import transform

from events import root

os.environ.setdefault("AWS_DEFAULT_REGION", "eu-central-1")
# The translator warns of its own metrics each time.
logging.getLogger("samtranslator").setLevel(logging.ERROR)
TABLE = "arn:aws:dynamodb:eu-central-1:123456789012:table/"
STACK_ID = "arn:aws:cloudformation:eu-central-1:123456789012:stack/stack/51af3dc0-da77-11e4-872e-1234567db123"
KEY = "arn:aws:kms:eu-central-1:123456789012:key/8f2b1c1e-5f0a-4c54-9c0e-0f6f0d2b7a11"

# For each condition of the template, the parameter that it asks for, with a value for either outcome.
CHOICES = {
    "MakesTable": ("ExistingTableName", ["", "existing"]),
    "HasEndpoint": ("DynamoDbEndpoint", ["", "https://dynamodb.example"]),
    "HasReservedConcurrency": ("ReservedConcurrency", ["-1", "5"]),
    "HasAlarmTopic": ("AlarmTopicArn", ["", "arn:aws:sns:eu-central-1:123456789012:topic"]),
    "HasJsonLog": ("LogFormat", ["JSON", "Text"]),
    "HasMetrics": ("MetricsNamespace", ["UpdateDistributor", ""]),
    "IsTraced": ("Tracing", ["PassThrough", "Active"]),
    "HasKmsKey": ("KmsKeyArn", ["", KEY]),
    "HasOtherIssuer": ("OtherTokenIssuer", ["", "acme.com"]),
    "HasNamespace": ("MetricsNamespace", ["UpdateDistributor", ""]),
    "IsGradual": ("DeploymentPreference", ["AllAtOnce", "Canary10Percent5Minutes"]),
    "HasClosedEndpoint": ("DisableExecuteApiEndpoint", ["false", "true"]),
}
# Several conditions may ask for the same parameter.
OPTIONS = dict(CHOICES.values())


class NoManagedPolicies:
    def load(self):
        return {}


@functools.cache
def parsed_template():
    return yaml_parse((root / "template.yaml").read_text())


def template():
    return copy.deepcopy(parsed_template())


# Not every combination uses every parameter. Made once: it reads all rules from files.
linter = functools.cache(lambda: Runner(ConfigMixIn(regions=["eu-central-1"], ignore_checks=["W2001"])))


def translated(parameters):
    source = template()
    source["Resources"]["Function"]["Properties"]["CodeUri"] = "s3://bucket/key"
    return transform(source, parameters, NoManagedPolicies())


class Stack:
    """A translated template with the values of its parameters, as CloudFormation would see it."""

    def __init__(self, stack_name="stack", **parameters):
        self.name = stack_name
        source = template()["Parameters"]
        self.parameters = {name: str(parameter.get("Default", "")) for name, parameter in source.items()}
        self.parameters |= {"TokenIssuer": "https://issuer.example", "TokenAudience": "distributors"} | parameters
        self.template = translated(self.parameters)
        conditions = self.template.get("Conditions", {})
        self.conditions = {name: lambda body=body: self.resolve(body) for name, body in conditions.items()}
        self.made = {
            name: resource
            for name, resource in self.template["Resources"].items()
            if "Condition" not in resource or self.conditions[resource["Condition"]]()
        }
        self.resources = {name: self.resolve(resource) for name, resource in self.made.items()}

    def folded(self, value):
        """The value as a template without conditions would have it, references and all."""
        if isinstance(value, list):
            return [item for item in map(self.folded, value) if item != {"Ref": "AWS::NoValue"}]
        if not isinstance(value, dict):
            return value
        if list(value) == ["Fn::If"]:
            condition, true, false = value["Fn::If"]
            return self.folded(true if self.conditions[condition]() else false)
        items = {name: self.folded(item) for name, item in value.items()}
        return {name: item for name, item in items.items() if item != {"Ref": "AWS::NoValue"}}

    def lint(self):
        """What cfn-lint finds in the template of just this combination."""
        resources = {
            name: {key: self.folded(part) for key, part in resource.items() if key != "Condition"}
            for name, resource in self.made.items()
        }
        parameters = {
            name: {"Type": parameter["Type"], "Default": self.parameters[name]}
            for name, parameter in self.template["Parameters"].items()
        }
        outputs = self.folded(self.template["Outputs"])
        parts = {"Parameters": parameters, "Resources": resources, "Outputs": outputs}
        decoded, errors = decode_str(json.dumps(parts))
        return [str(match) for match in errors or linter().validate_template(decoded)]

    def resolve(self, value):
        if isinstance(value, list):
            return [item for item in map(self.resolve, value) if item is not None]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            (name, argument), = value.items()
            match name:
                case "Ref":
                    pseudo = {"AWS::NoValue": None, "AWS::StackName": self.name, "AWS::Partition": "aws", "AWS::StackId": STACK_ID}
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
                case "Fn::Select":
                    return self.resolve(argument[1])[argument[0]]
                case "Fn::Split":
                    return self.resolve(argument[1]).split(argument[0])
                case "Fn::Join":
                    return argument[0].join(self.resolve(argument[1]))
                case "Condition":
                    return self.conditions[argument]() if isinstance(argument, str) else argument
                case "Fn::Sub":
                    text = argument if isinstance(argument, str) else argument[0]
                    fixed = {"AWS::Partition": "aws", "AWS::Region": "eu-central-1", "AWS::AccountId": "123456789012"}
                    fixed |= {"AWS::StackName": self.name, "AWS::URLSuffix": "amazonaws.com", **self.parameters}
                    fixed |= {} if isinstance(argument, str) else {name: str(self.resolve(item)) for name, item in argument[1].items()}
                    return re.sub(r"\$\{([^}]+)\}", lambda found: fixed.get(found[1], f"<{found[1]}>"), text)
        return {name: resolved for name, item in value.items() if (resolved := self.resolve(item)) is not None}

    def of_type(self, type):
        return {name: body["Properties"] for name, body in self.resources.items() if body["Type"] == type}


def permissions(stack):
    """Every allowed action of the function's role with its resource and its condition."""
    roles = stack.of_type("AWS::IAM::Role")
    assert sorted(roles) == ["CodeDeployServiceRole", "ExecutionRole"], roles
    assert "ManagedPolicyArns" not in roles["ExecutionRole"], roles
    assert stack.of_type("AWS::Lambda::Function")["Function"]["Role"] == "<ExecutionRole.Arn>"
    assert stack.of_type("AWS::IAM::Policy") == {} and stack.of_type("AWS::IAM::ManagedPolicy") == {}
    policies = stack.of_type("AWS::IAM::RolePolicy").values()
    assert {policy["RoleName"] for policy in policies} == {"<ExecutionRole>"}, policies
    return set().union(*map(allowed, [*roles["ExecutionRole"]["Policies"], *policies]))


def allowed(policy):
    """What a policy of a role allows."""
    found = set()
    for statement in policy["PolicyDocument"]["Statement"]:
        actions = statement["Action"]
        for action in [actions] if isinstance(actions, str) else actions:
            found.add((action, statement["Resource"], json.dumps(statement.get("Condition"))))
    return found


def expected_permissions(table, traced, key):
    allowed = {("dynamodb:UpdateItem", TABLE + (table or "stack-distributors"), "null")}
    allowed |= {(action, "<FunctionLogGroup.Arn>", "null") for action in ["logs:CreateLogStream", "logs:PutLogEvents"]}
    if traced:
        allowed |= {(action, "*", "null") for action in ["xray:PutTraceSegments", "xray:PutTelemetryRecords"]}
    if key:
        through = {"StringEquals": {"kms:ViaService": "dynamodb.eu-central-1.amazonaws.com"}}
        allowed.add(("kms:Decrypt", KEY, json.dumps(through)))
    return allowed


def check_combination(values):
    """Returns what cfn-lint finds; everything else is asserted."""
    parameters = dict(zip(OPTIONS, values))
    if parameters["OtherTokenIssuer"]:
        parameters |= {"TokenIssuer": "", "TokenJwksUri": "https://acme.com/jwks"}
    stack = Stack(**parameters)
    table, key = parameters["ExistingTableName"], parameters["KmsKeyArn"]
    expected = expected_permissions(table, parameters["Tracing"] == "Active", key)
    assert permissions(stack) == expected, permissions(stack)
    assert bool(stack.of_type("AWS::DynamoDB::Table")) == (not table)
    for group in stack.of_type("AWS::Logs::LogGroup").values():
        assert group.get("KmsKeyId", "") == key, group
    for made in stack.of_type("AWS::DynamoDB::Table").values():
        assert made["SSESpecification"].get("KMSMasterKeyId", "") == key, made
        assert made["DeletionProtectionEnabled"] is True, made
    environment = stack.of_type("AWS::Lambda::Function")["Function"]["Environment"]["Variables"]
    assert environment["TOKEN_ISSUER"] == (parameters["OtherTokenIssuer"] or "https://issuer.example"), environment
    assert environment["TABLE_NAME"] == (table or "stack-distributors"), environment
    return stack.lint()


def pairs(values):
    """The pairs of values of two parameters in a combination."""
    return set(itertools.combinations(enumerate(values), 2))


def covering(combinations):
    """Few combinations in which every pair of values of two parameters occurs."""
    missing, chosen = set().union(*map(pairs, combinations)), []
    while missing:
        chosen.append(max(combinations, key=lambda values: len(pairs(values) & missing)))
        missing -= pairs(chosen[-1])
    return chosen


def check_combinations():
    assert set(CHOICES) == set(template()["Conditions"]), "a condition whose two outcomes are not looked at"
    every = list(itertools.product(*OPTIONS.values()))
    # Each takes half a second: all of them where this is asked for, else those that have every pair.
    combinations = every if "--all" in sys.argv else covering(every)
    rows = collections.Counter()
    with concurrent.futures.ProcessPoolExecutor() as pool:
        for values, found in zip(combinations, pool.map(check_combination, combinations, chunksize=2)):
            assert not found, (values, found)
            parameters = dict(zip(OPTIONS, values))
            rows[parameters["ExistingTableName"], parameters["Tracing"], parameters["KmsKeyArn"]] += 1
    for (table, tracing, key), count in rows.items():
        actions = ", ".join(sorted(action for action, _, _ in expected_permissions(table, tracing == "Active", key)))
        print(f"table {table or 'made':<9} tracing {tracing:<12} key {'given' if key else 'none':<6} {count} combinations: {actions}")
    print(f"{len(combinations)} of {len(every)} combinations of the conditions, each without a finding of cfn-lint")


def check_existing_api():
    """It has the alarms that the stack has of its own API, but for the API and the log that they watch."""
    existing = yaml_parse((root / "docs/existing-api.yaml").read_text())
    own = template()["Resources"]
    for name in ["ServerErrorsAlarm", "LatencyAlarm", "ThrottledRequestsAlarm", "ThrottledRequests"]:
        expected, found = copy.deepcopy(own[name]["Properties"]), copy.deepcopy(existing["Resources"][name]["Properties"])
        for properties in [expected, found]:
            for part in ["AlarmDescription", "Dimensions", "LogGroupName", "FilterPattern"]:
                properties.pop(part, None)
        assert found == expected, (name, found, expected)
    watched = [existing["Resources"][name]["Properties"]["Dimensions"] for name in ["ServerErrorsAlarm", "LatencyAlarm"]]
    assert watched == [[{"Name": "ApiId", "Value": {"Ref": "ApiId"}}]] * 2, watched
    for name in ["AlarmTopicArn", "LatencyAlarmMilliseconds"]:
        assert existing["Parameters"][name] == template()["Parameters"][name], name
    api = lambda **parameters: json.dumps(Stack(**parameters).of_type("AWS::ApiGatewayV2::Api"))
    assert '"disableExecuteApiEndpoint": true' in api(DisableExecuteApiEndpoint="true"), api(DisableExecuteApiEndpoint="true")
    assert '"disableExecuteApiEndpoint": false' in api(), api()
    print("an API that exists has the alarms of the stack's own, which can be closed")


def references(value):
    """The logical ids that a part of a template refers to."""
    if isinstance(value, list):
        return set().union(*map(references, value))
    if not isinstance(value, dict):
        return set()
    found = set().union(*map(references, value.values()))
    if "Ref" in value:
        found.add(value["Ref"])
    if "Fn::GetAtt" in value:
        target = value["Fn::GetAtt"]
        found.add(target[0] if isinstance(target, list) else target.split(".")[0])
    if "Fn::Sub" in value:
        text = value["Fn::Sub"] if isinstance(value["Fn::Sub"], str) else value["Fn::Sub"][0]
        found |= {name.split(".")[0] for name in re.findall(r"\$\{([^}]+)\}", text)}
    depends = value.get("DependsOn", [])
    return found | set([depends] if isinstance(depends, str) else depends)


def reachable(resources, name):
    """Everything that is made before `name`."""
    before, open_ = set(), {name}
    while open_:
        following = set().union(*(references(resources[each]) for each in open_)) & set(resources)
        open_ = following - before
        before |= following
    return before


def check_table_is_made_last():
    resources = Stack().template["Resources"]
    assert "Table" not in reachable(resources, "Table")
    assert set(resources) - reachable(resources, "Table") == {"Table"}, set(resources) - reachable(resources, "Table")
    assert resources["Table"]["DeletionPolicy"] == "RetainExceptOnCreate"
    print("the table is made after all others")


def function_configuration(stack):
    """What a version of the function has, apart from its code."""
    properties = dict(stack.of_type("AWS::Lambda::Function")["Function"])
    # Neither is part of a version.
    properties.pop("ReservedConcurrentExecutions", None)
    properties.pop("Code")
    return json.dumps(properties, sort_keys=True)


def settings(stack):
    return stack.resources["SettingsVersion"]["Properties"]["Content"]


# Other values of each parameter than its default, and what is set with it.
JWKS_URI = {"TokenJwksUri": "https://issuer.example/jwks"}
CHANGES = [
    {"TokenIssuer": "https://issuer.example, https://b.example"},
    {"TokenIssuer": "https://issuer.example"},
    JWKS_URI,
    {"TokenIssuer": "", "OtherTokenIssuer": "https://issuer.example"} | JWKS_URI,
    {"TokenIssuer": "", "OtherTokenIssuer": "acme.com"} | JWKS_URI,
    {"TokenAudience": "other"},
    {"TokenJwks": '{"keys":[]}'},
    {"TokenScope": "distributors:write"},
    {"TokenNodeClaim": ""},
    {"TargetServer": "other"},
    {"WebhookAllowPrivateHosts": "true"},
    {"ThrottlingRateLimit": "7"},
    {"ThrottlingBurstLimit": "7"},
    {"DisableExecuteApiEndpoint": "true"},
    {"ExistingTableName": "existing"},
    {"ExistingTableName": "stack-distributors"},
    {"DynamoDbEndpoint": "https://dynamodb.example"},
    {"KmsKeyArn": KEY},
    {"Architecture": "x86_64"},
    {"MemorySize": "256"},
    {"ReservedConcurrency": "7"},
    {"Prime": "false"},
    {"Tracing": "Active"},
    {"SettingsRevision": "2"},
    {"DeploymentPreference": "Linear10PercentEvery1Minute"},
    {"LogRetentionInDays": "7"},
    {"MetricsNamespace": ""},
    {"MetricsNamespace": "Other"},
    {"AlarmTopicArn": "arn:aws:sns:eu-central-1:123456789012:topic"},
    {"LatencyAlarmMilliseconds": "7"},
    *({"LogLevel": level, "LogFormat": format} for level in ["INFO", "DEBUG", "WARN", "ERROR"] for format in ["JSON", "Text"]),
]


def check_versions():
    """Another configuration of the function has another version, since the alias would stay at the old one; and the same
    configuration has the same, since Lambda refuses a version that differs in nothing."""
    assert set().union(*CHANGES) == set(template()["Parameters"]), "a parameter that is never another"
    stacks = [Stack(), *(Stack(**change) for change in CHANGES)]
    changes, same = [{}, *CHANGES], 0
    for (change, one), (other_change, other) in itertools.combinations(zip(changes, stacks), 2):
        configuration = function_configuration(one) == function_configuration(other)
        assert configuration == (settings(one) == settings(other)), (change, other_change, configuration)
        same += configuration
    versions = Stack().of_type("AWS::Lambda::Version")
    assert [version["Description"] for version in versions.values()] == ["settings <SettingsVersion>"], versions
    (alias,) = Stack().of_type("AWS::Lambda::Alias").values()
    assert alias["FunctionVersion"] == f"<{list(versions)[0]}.Version>", alias
    assert Stack().resources["Settings"]["Properties"]["Name"] == STACK_ID.rsplit("/", 1)[1]
    pairs = len(stacks) * (len(stacks) - 1) // 2
    print(f"{pairs} pairs of settings: {same} with one configuration and one version, all others with two of each")


# What CloudFormation makes anew when it changes; of others, only a new logical id does.
REPLACED_BY = {"AWS::IAM::RolePolicy": ["PolicyName", "RoleName"], "AWS::Lambda::Version": ["Description"]}


def update(before, after):
    """The logical ids that an update makes or changes, in an order that their references allow."""
    changed = {name for name, body in after.resources.items() if before.resources.get(name) != body}
    # A version's description has the number of the settings.
    if settings(before) != settings(after):
        changed |= {name for name, body in after.resources.items() if body["Type"] in ["AWS::Lambda::Version", "AWS::Lambda::Alias"]}
    order, source = [], after.template["Resources"]
    while changed - set(order):
        # The alias as early as its references allow: nothing else may be waited for by chance.
        ready = [name for name in changed - set(order) if not (reachable(source, name) & changed) - set(order)]
        order.append(min(ready, key=lambda name: (after.resources[name]["Type"] != "AWS::Lambda::Alias", name)))
    return order


def policies_of(stack, role):
    """The policies of a role by logical id and name."""
    found = {
        (name, body["Properties"]["PolicyName"]): allowed(body["Properties"])
        for name, body in stack.resources.items()
        if body["Type"] == "AWS::IAM::RolePolicy" and body["Properties"]["RoleName"] == f"<{role}>"
    }
    inline = stack.resources[role]["Properties"]["Policies"] if role in stack.resources else []
    return found | {(role, policy["PolicyName"]): allowed(policy) for policy in inline}


def role_of(stack):
    return stack.of_type("AWS::Lambda::Function")["Function"]["Role"].strip("<>").split(".")[0]


def cut_off(before, after):
    """The permissions that the version which serves lacks at some time of an update."""
    missing = set()
    granted = {role_of(before): policies_of(before, role_of(before))}
    serving = before
    for name in update(before, after):
        type = after.resources[name]["Type"]
        if type == "AWS::IAM::Role" and name == role_of(after):
            # Its inline policies are changed at once; what is named otherwise goes.
            kept = {key: value for key, value in granted.get(name, {}).items() if key[0] != name}
            granted[name] = kept | {key: value for key, value in policies_of(after, name).items() if key[0] == name}
        elif type == "AWS::IAM::RolePolicy":
            role = role_of(after)
            new = {key: value for key, value in policies_of(after, role).items() if key[0] == name}
            # One with another name is made beside the old one, which is deleted after everything else.
            granted[role] = granted.get(role, {}) | new
        elif type == "AWS::Lambda::Alias":
            serving = after
        wanted = set().union(*policies_of(serving, role_of(serving)).values())
        missing |= wanted - set().union(set(), *granted.get(role_of(serving), {}).values())
    return missing


OTHER_KEY = KEY.replace("8f2b", "9f2b")
MOVES = [
    ({}, {"ExistingTableName": "restored"}),
    ({"ExistingTableName": "restored"}, {}),
    ({"ExistingTableName": "one"}, {"ExistingTableName": "two"}),
    ({}, {"KmsKeyArn": KEY}),
    ({"KmsKeyArn": KEY}, {}),
    ({"KmsKeyArn": KEY}, {"KmsKeyArn": OTHER_KEY}),
    ({"KmsKeyArn": KEY}, {"ExistingTableName": "restored", "KmsKeyArn": OTHER_KEY}),
    ({"Tracing": "Active"}, {"Tracing": "PassThrough"}),
    ({}, {"Tracing": "Active"}),
]


def check_updates_cut_no_version_off():
    """Until requests have moved to the new version, the old one has the permissions that it needs, and so has the new one
    from then on."""
    for before, after in MOVES:
        missing = cut_off(Stack(**before), Stack(**after))
        assert not missing, (before, after, missing)
    order = update(Stack(), Stack(ExistingTableName="restored"))
    kept = [name for name in order if re.fullmatch(r"TablePolicy|Function|FunctionVersion.*|FunctionAliaslive", name)]
    print(f"another table: {', '.join(re.sub('Version.*', 'Version', name) for name in kept)}, and then the old policy is deleted")


def metrics(stack):
    """The metrics that a stack's alarms and dashboard look at or its filters write, by namespace and dimensions."""
    found = set()
    for name, alarm in stack.of_type("AWS::CloudWatch::Alarm").items():
        for metric in [alarm, *(part["MetricStat"]["Metric"] for part in alarm.get("Metrics", []) if "MetricStat" in part)]:
            if "Namespace" in metric:
                found.add((metric["Namespace"], json.dumps(metric.get("Dimensions"))))
    for filter in stack.of_type("AWS::Logs::MetricFilter").values():
        found |= {(part["MetricNamespace"], "null") for part in filter["MetricTransformations"]}
    for dashboard in stack.of_type("AWS::CloudWatch::Dashboard").values():
        text = dashboard["DashboardBody"]
        for widget in json.loads(text)["widgets"]:
            for metric in widget["properties"]["metrics"]:
                if isinstance(metric[0], dict):
                    found.add((re.search(r'\{"([^"]+)"', metric[0]["expression"])[1], "null"))
                else:
                    found.add((metric[0], json.dumps([part for part in metric[2:] if isinstance(part, str)])))
    found.add((stack.of_type("AWS::Lambda::Function")["Function"]["Environment"]["Variables"]["METRICS_NAMESPACE"], "null"))
    return found


def check_stacks_share_nothing():
    one, two = (metrics(Stack(name, DeploymentPreference="Canary10Percent5Minutes")) for name in ["production", "staging"])
    # The platform's own metrics are told apart by the function or the API that the stack makes.
    shared = {(space, dimensions) for space, dimensions in one & two if not (space.startswith("AWS/") and "<" in dimensions)}
    assert not shared, shared
    parameter = template()["Parameters"]["MetricsNamespace"]["AllowedPattern"]
    longest = "N" * 126
    assert re.fullmatch(parameter, longest) and not re.fullmatch(parameter, longest + "N")
    (space,) = {space for space, _ in metrics(Stack("s" * 128, MetricsNamespace=longest)) if space.startswith("N")}
    assert len(space) == 255, len(space)
    environment = Stack(MetricsNamespace="").of_type("AWS::Lambda::Function")["Function"]["Environment"]["Variables"]
    assert environment["METRICS_NAMESPACE"] == "", environment
    print(f"{len(one)} metrics of a stack, none of another's: {', '.join(sorted(space for space, _ in one if not space.startswith('AWS/')))}")


def check_settings_have_no_secret():
    """What CloudFormation would resolve in the settings, and what a query may hold."""
    reference = "{{resolve:secretsmanager:keys:SecretString:::%s}}"
    contents = []
    for version in ["EXAMPLE1-90ab-cdef-fedc-ba987EXAMPLE", "EXAMPLE2-90ab-cdef-fedc-ba987EXAMPLE"]:
        stack = Stack(TokenJwks=reference % version)
        assert stack.of_type("AWS::Lambda::Function")["Function"]["Environment"]["Variables"]["TOKEN_JWKS"] == reference % version
        contents.append(stack.resources["SettingsVersion"]["Properties"]["Content"])
        assert "resolve" not in contents[-1] and version in contents[-1], contents[-1]
    assert contents[0] != contents[1], "another version of the secret makes a new version of the function"
    content = Stack(TokenJwksUri="https://a.example/jwks?key=SECRET").resources["SettingsVersion"]["Properties"]["Content"]
    assert "TOKEN_JWKS_URI https://a.example/jwks\n" in content and "SECRET" not in content, content
    print("settings:", [line for line in contents[0].splitlines() if line.startswith("TOKEN_JWKS ")][0])


def check_gradual_deployment():
    """An alarm stops a deployment in steps, and none stops the one that would end it."""
    for preference, namespace in itertools.product(template()["Parameters"]["DeploymentPreference"]["AllowedValues"], ["UpdateDistributor", ""]):
        stack = Stack(DeploymentPreference=preference, MetricsNamespace=namespace)
        (group,) = stack.of_type("AWS::CodeDeploy::DeploymentGroup").values()
        assert group["DeploymentConfigName"] == f"CodeDeployDefault.Lambda{preference}", group
        assert "DEPLOYMENT_STOP_ON_ALARM" in group["AutoRollbackConfiguration"]["Events"], group
        if preference == "AllAtOnce":
            # Empty, not absent: an absent one would leave the alarms of the deployment before.
            assert group["AlarmConfiguration"] == {} and "DeploymentAlarm" not in stack.resources, group
            continue
        assert group["AlarmConfiguration"] == {"Enabled": True, "Alarms": [{"Name": "<DeploymentAlarm>"}]}, group
        alarm = stack.of_type("AWS::CloudWatch::Alarm")["DeploymentAlarm"]
        watched = {
            (part["MetricStat"]["Metric"]["MetricName"], *(each["Value"] for each in part["MetricStat"]["Metric"]["Dimensions"]))
            for part in alarm["Metrics"]
            if "MetricStat" in part
        }
        codes = {("Requests", "internal_error"), ("Requests", "keys_unavailable")} if namespace else set()
        assert watched == {("Errors", "<Function>")} | codes, watched
        assert not alarm_state(alarm, [0, None]) and alarm_state(alarm, [None, 1]), alarm


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


def check_access_log_group():
    group = Stack().resources["AccessLogGroup"]["Properties"]
    assert group["LogGroupName"] == "/aws/vendedlogs/stack/access", group


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
    assert set(Stack(LogLevel="WARN").of_type("AWS::CloudWatch::Alarm")) == set(Stack().of_type("AWS::CloudWatch::Alarm"))
    for parameters in [{"LogFormat": "Text"}, {"MetricsNamespace": ""}, {"LogLevel": "ERROR"}, {"LogLevel": "FATAL"}]:
        without = Stack(**parameters)
        left = set(without.of_type("AWS::CloudWatch::Alarm"))
        assert not left & set(codes) and "Dashboard" not in without.resources, left
    body = json.loads(Stack(MetricsNamespace="My/Space").resources["Dashboard"]["Properties"]["DashboardBody"])
    expression = body["widgets"][0]["properties"]["metrics"][0][0]["expression"]
    assert expression.startswith("SEARCH('{\"My/Space/stack\",code}"), expression


def check_parameters():
    parameters = template()["Parameters"]
    for name, value, allowed in [
        ("TokenIssuer", "https://a.example", True),
        ("TokenIssuer", "https://a.example , https://b.example/x", True),
        ("TokenIssuer", "", True),
        ("TokenIssuer", "acme.com", False),
        ("TokenIssuer", "https://a.example, acme.com", False),
        ("TokenIssuer", "http://a.example", False),
        ("TokenIssuer", "https://a.example?b", False),
        ("TokenIssuer", "https://a.example#b", False),
        ("TokenIssuer", "https://a@b.example", False),
        ("TokenIssuer", "https://a.example, https://a@b.example/", False),
        ("TokenIssuer", "https://a.example/b@c, https://a.example/", True),
        ("OtherTokenIssuer", "acme.com", True),
        ("OtherTokenIssuer", "https://a.example, acme.com", True),
        ("OtherTokenIssuer", "acme.com ", False),
        ("TokenIssuer", " https://a.example", False),
        ("TokenIssuer", "https://a.example,", False),
        ("TokenAudience", "my api, b", True),
        ("TokenAudience", "a ", False),
        ("TokenAudience", "a,,b", False),
        ("TokenJwksUri", "https://a.example/jwks", True),
        ("TokenJwksUri", "https://u:p@a.example/", False),
        ("TokenJwksUri", "http://a.example/", False),
        ("TokenJwksUri", "https://www.googleapis.com/service_accounts/v1/jwk/securetoken@system.gserviceaccount.com", True),
        ("TokenJwksUri", "https://a.example?key=a@b", True),
        ("TokenJwksUri", "https://a.example/a b", False),
        ("DynamoDbEndpoint", "http://host.docker.internal:8000", True),
        ("DynamoDbEndpoint", "https://a.example/?b", False),
        ("DynamoDbEndpoint", "https://u@a.example/", False),
        ("SettingsRevision", "2026-11-27.1", True),
        ("SettingsRevision", "", False),
        ("TokenJwks", '{"keys":[]}', True),
        ("TokenJwks", " ", False),
        ("TokenNodeClaim", "", True),
        ("TokenNodeClaim", "/ext/node_id", True),
        ("TokenNodeClaim", "node_id ", False),
        ("MetricsNamespace", "", True),
        ("MetricsNamespace", "AWS/Lambda", False),
        ("MetricsNamespace", "AWS", False),
        ("MetricsNamespace", "AWSome", True),
        ("ExistingTableName", "a" * 122, True),
        ("ExistingTableName", "a" * 123, False),
        ("KmsKeyArn", KEY, True),
        ("KmsKeyArn", "arn:aws:kms:eu-central-1:123456789012:alias/key", False),
        ("KmsKeyArn", KEY + " ", False),
    ]:
        matches = re.fullmatch(parameters[name]["AllowedPattern"], value) is not None
        assert matches == allowed, (name, value)
    assert "NoEcho" not in json.dumps(parameters), "the CLI asks for such a parameter until something is typed"
    for issuer, other, uri, jwks, allowed in [
        ("i", "", "", "", True),
        ("i", "", "u", "", True),
        ("i", "", "", "j", True),
        ("i", "", "u", "j", False),
        ("", "", "", "", False),
        ("", "", "u", "", False),
        ("i", "o", "u", "", False),
        ("", "o", "", "", False),
        ("", "o", "u", "", True),
        ("", "o", "", "j", True),
        ("", "o", "u", "j", False),
    ]:
        stack = Stack()
        stack.parameters |= {"TokenIssuer": issuer, "OtherTokenIssuer": other, "TokenJwksUri": uri, "TokenJwks": jwks}
        rules = template()["Rules"].values()
        held = all(
            stack.resolve(assertion["Assert"])
            for rule in rules
            if stack.resolve(rule.get("RuleCondition", {"Fn::Equals": ["", ""]}))
            for assertion in rule["Assertions"]
        )
        assert held == allowed, (issuer, other, uri, jwks)


CHECKS = [
    check_parameters,
    check_versions,
    check_updates_cut_no_version_off,
    check_stacks_share_nothing,
    check_existing_api,
    check_settings_have_no_secret,
    check_access_log_group,
    check_gradual_deployment,
    check_table_is_made_last,
    check_access_log,
    check_alarms,
    check_combinations,
]
if __name__ == "__main__":
    for check in CHECKS:
        check()
