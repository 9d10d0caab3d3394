"""Terraform with the AWS provider, unmodified: what it applied it must find as it applied it.

Both are big, so nothing here fetches them: the tests are skipped where they are missing. The
provider is looked for where Terraform itself looks for copies on the machine, in `/opt/tf-plugins`,
and in the folder that TERRAFORM_PLUGINS names.
"""

import json
import os
import pathlib
import shutil
import subprocess

import pytest
from windlass import unique

SHAPES = pathlib.Path(__file__).parent / "terraform"
PROVIDER = "registry.terraform.io/hashicorp/aws/5.100.0/linux_amd64"
FOLDERS = (
    os.environ.get("TERRAFORM_PLUGINS"),
    "/opt/tf-plugins",
    os.path.expanduser("~/.terraform.d/plugins"),
    "/usr/local/share/terraform/plugins",
    "/usr/share/terraform/plugins",
)
PLUGINS = next((f for f in FOLDERS if f and (pathlib.Path(f) / PROVIDER).is_dir()), None)


class Terraform:
    """A working folder with the shapes, pointed at an installation by its environment alone."""

    def __init__(self, windlass, folder):
        self.folder = shutil.copytree(SHAPES, folder / "shapes")
        self._environment = windlass.environment() | {
            "TF_CLI_CONFIG_FILE": "/dev/null",
            "TF_IN_AUTOMATION": "1",
            "TF_INPUT": "0",
            "CHECKPOINT_DISABLE": "1",
            "TF_VAR_prefix": unique("tf"),
        }
        self.call("init", f"-plugin-dir={PLUGINS}")

    def run(self, verb, *arguments):
        return subprocess.run(
            ["terraform", verb, "-no-color", *arguments],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=300,
        )

    def call(self, verb, *arguments):
        done = self.run(verb, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def apply(self, generation):
        self.call("apply", "-auto-approve", f"-var=generation={generation}")

    def plan(self, generation):
        """What it would do, as resources and actions."""
        done = self.run("plan", "-out=plan", f"-var=generation={generation}")
        assert done.returncode == 0, done.stdout + done.stderr
        shown = json.loads(self.call("show", "-json", "plan"))
        changes = {c["address"]: c["change"]["actions"] for c in shown["resource_changes"]}
        return {name: how for name, how in changes.items() if how not in (["no-op"], ["read"])}

    def outputs(self):
        shown = json.loads(self.call("output", "-json"))
        return {name: output["value"] for name, output in shown.items()}


@pytest.fixture
def terraform(windlass, tmp_path):
    if not shutil.which("terraform"):
        pytest.skip("no terraform on this machine")
    if PLUGINS is None:
        pytest.skip(f"no folder of Terraform providers on this machine has {PROVIDER}")
    return Terraform(windlass, tmp_path)


# The provider waits 10 s before it first looks at a cluster.
@pytest.mark.timeout(480)
def test_what_terraform_applied_it_finds_again(terraform, ecs):
    terraform.apply(1)
    try:
        assert terraform.plan(1) == {}
        made = terraform.outputs()
        assert made["cluster_status"] == "ACTIVE"

        assert terraform.plan(2) == {
            "aws_ecs_cluster.plain": ["update"],
            "aws_ecs_cluster_capacity_providers.plain": ["update"],
            "aws_ecs_task_definition.bridge": ["update"],
            "aws_ecs_task_definition.minimal": ["delete", "create"],
        }
        terraform.apply(2)
        assert terraform.plan(2) == {}
        (cluster,) = ecs.describe_clusters(clusters=[made["cluster"]], include=["TAGS"])["clusters"]
        assert cluster["tags"] == [{"key": "generation", "value": "2"}]
        assert cluster["capacityProviders"] == ["FARGATE"]
        assert terraform.outputs()["minimal"] == made["minimal"].removesuffix(":1") + ":2"
    finally:
        terraform.call("destroy", "-auto-approve", "-var=generation=2")
    (cluster,) = ecs.describe_clusters(clusters=[made["cluster"]])["clusters"]
    assert cluster["status"] == "INACTIVE"
    for revision in (1, 2):
        arn = made["minimal"].removesuffix(":1") + f":{revision}"
        gone = ecs.describe_task_definition(taskDefinition=arn)["taskDefinition"]
        assert gone["status"] == "INACTIVE"
