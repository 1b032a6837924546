"""Holds the ways to write parameters that docs/operation.md shows to what the SAM CLI's own parser makes of them."""

import pathlib
import re
import shlex
import tempfile

import click
from samcli.cli.cli_config_file import ConfigProvider
from samcli.cli.types import CfnParameterOverridesType
from samcli.commands.deploy.command import cli as deploy

from events import root

EXPECTED = {
    "TokenIssuer": "https://a.example, https://b.example",
    "TokenAudience": "distributors, my api",
    "TokenNodeClaim": "",
    "TokenJwks": '{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}',
}


def converted(overrides):
    return CfnParameterOverridesType().convert(overrides, None, None)


def from_command(command):
    words = shlex.split(command.replace("\\\n", " "))
    return converted(tuple(words[words.index("--parameter-overrides") + 1 :]))


def from_configuration(text):
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "samconfig.toml"
        file.write_text("version = 0.1\n" + text)
        with click.Context(deploy):
            return converted(ConfigProvider(section="parameters")(file, "default", ["deploy"])["parameter_overrides"])


section = (root / "docs/operation.md").read_text().split("### Empty values, spaces, JSON")[1].split("\n## ")[0]
blocks = re.findall(r"```(\w+)\n(.*?)```", section, re.DOTALL)
assert [language for language, _ in blocks] == ["sh", "toml"], blocks
for language, text in blocks:
    found = from_command(text) if language == "sh" else from_configuration(text)
    assert found == EXPECTED, (language, found)
    print(f"{language}: {found}")
# What a reader would try first, and why the section is there.
for wrong, expected in [
    ("TokenJwks={\"keys\":[]}", {"TokenJwks": "{"}),
    ("TokenAudience=a, b", {"TokenAudience": "a,"}),
]:
    assert converted((wrong,)) == expected, wrong
try:
    converted(("TokenNodeClaim=",))
except click.BadParameter:
    pass
else:
    raise AssertionError("an empty value without quotes is taken by now")

# README's line for x86_64 reaches both commands; what `sam deploy --guided` saves reaches only one.
(line,) = re.findall(r"```toml\n(parameter_overrides = .*?)\n```", (root / "README.md").read_text())
configuration = (root / "samconfig.toml").read_text().replace("[default.global.parameters]", f"[default.global.parameters]\n{line}")
with tempfile.TemporaryDirectory() as folder:
    file = pathlib.Path(folder) / "samconfig.toml"
    file.write_text(configuration)
    for command in ["build", "deploy"]:
        with click.Context(deploy):
            found = ConfigProvider(section="parameters")(file, "default", [command])
        assert converted(found["parameter_overrides"]) == {"Architecture": "x86_64"}, (command, found)
        print(f"sam {command}: {line}")
