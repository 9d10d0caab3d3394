"""The door before any operation: signatures, targets, bodies, and the words of its refusals."""

import signal
import subprocess
import urllib.request
from datetime import datetime, timedelta, timezone

import pytest
from botocore import UNSIGNED
from botocore.client import Config
from botocore.exceptions import ClientError
from windlass import TARGET, send, signed, wait_until

LIST = f"{TARGET}.ListClusters"
MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your "
    "AWS Secret Access Key and signing method. Consult the service documentation for details."
)


def now(**shift):
    return datetime.now(timezone.utc) + timedelta(**shift)


def test_a_signed_request_is_answered(windlass):
    answer = windlass.raw(LIST, {})
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/x-amz-json-1.1"
    assert len(answer.headers["x-amzn-requestid"]) == 36
    assert windlass.arn("cluster/default") in answer.json()["clusterArns"]


@pytest.mark.parametrize(
    "how, code, message",
    [
        ({"sign": False}, "MissingAuthenticationTokenException", "Missing Authentication Token"),
        ({"secret": "x" * 40}, "InvalidSignatureException", MISMATCH),
        (
            {"access_key": "AKIAIOSFODNN7EXAMPLE"},
            "UnrecognizedClientException",
            "The security token included in the request is invalid.",
        ),
        (
            {"headers": {"x-amz-security-token": "made-up"}},
            "UnrecognizedClientException",
            "The security token included in the request is invalid.",
        ),
        ({"minutes": -6}, "InvalidSignatureException", "Signature expired"),
        ({"minutes": 6}, "InvalidSignatureException", "Signature expired"),
        ({"region": "eu-north-1"}, "InvalidSignatureException", "in region us-east-1"),
        ({"service": "s3"}, "UnknownOperationException", "serves ecs and sts, and not s3"),
    ],
)
def test_what_is_not_signed_right_is_refused(windlass, how, code, message):
    if "minutes" in how:
        # By the clock of this moment, not of when the tests were collected.
        how = {"at": now(**how)}
    answer = windlass.raw(LIST, {}, **how)
    assert (answer.status, answer.code) == (400, code)
    assert answer.headers["x-amzn-errortype"] == code
    assert message in answer.message


# Keys as a shell may have them that points at Windlass: its own, somebody's of AWS, a wrong secret.
KEYS = [{}, {"aws_access_key_id": "AKIAIOSFODNN7EXAMPLE"}, {"aws_secret_access_key": "x" * 40}]


@pytest.mark.parametrize("keys", KEYS)
@pytest.mark.parametrize(
    "service, operation, members, code",
    [
        ("elbv2", "describe_load_balancers", {}, "InvalidAction"),
        ("iam", "list_users", {}, "InvalidAction"),
        ("sns", "list_topics", {}, "InvalidAction"),
        ("route53", "list_hosted_zones", {}, "InvalidAction"),
        ("ec2", "describe_instances", {}, "InvalidAction"),
        ("s3", "list_buckets", {}, "InvalidAction"),
        ("s3", "put_object", {"Bucket": "b", "Key": "k", "Body": b"x"}, "InvalidAction"),
        ("sqs", "list_queues", {}, "UnknownOperationException"),
        ("ssm", "get_parameter", {"Name": "n"}, "UnknownOperationException"),
        ("dynamodb", "list_tables", {}, "UnknownOperationException"),
        ("cloudwatch", "list_metrics", {}, "UnknownOperationException"),
        ("logs", "describe_log_groups", {}, "UnknownOperationException"),
        ("lambda", "list_functions", {}, "UnknownOperationException"),
    ],
)
def test_a_service_that_is_not_served_says_so_in_its_own_protocol(
    windlass, service, operation, members, code, keys
):
    client = windlass.client(service, **keys)
    with pytest.raises(ClientError) as error:
        getattr(client, operation)(**members)
    told = error.value.response["Error"]
    assert told["Code"] == code, told
    assert "This endpoint is Windlass, which serves ecs and sts, and not" in told["Message"], told
    assert "unset AWS_ENDPOINT_URL" in told["Message"], told
    assert error.value.response["ResponseMetadata"]["RequestId"]


def test_other_operations_of_sts_say_what_is_served(windlass):
    with pytest.raises(ClientError) as error:
        windlass.client("sts").assume_role(RoleArn="r" * 20, RoleSessionName="me")
    assert error.value.response["Error"]["Code"] == "InvalidAction"
    assert "GetCallerIdentity" in error.value.response["Error"]["Message"]


@pytest.mark.parametrize(
    "keys, code",
    [
        ({"aws_secret_access_key": "x" * 40}, "SignatureDoesNotMatch"),
        ({"aws_access_key_id": "AKIAIOSFODNN7EXAMPLE"}, "InvalidClientTokenId"),
        ({"config": Config(signature_version=UNSIGNED)}, "MissingAuthenticationToken"),
    ],
)
def test_a_wrong_caller_of_sts_is_told_in_xml(windlass, keys, code):
    with pytest.raises(ClientError) as error:
        windlass.client("sts", **keys).get_caller_identity()
    assert error.value.response["Error"]["Code"] == code


def test_a_clock_that_is_a_little_off_is_accepted(windlass):
    for minutes in (-4, 4):
        assert windlass.raw(LIST, {}, at=now(minutes=minutes)).status == 200


def test_what_was_changed_on_the_way_is_refused(windlass):
    access_key, secret = windlass.keys()
    body = b"{}"
    made = signed(windlass.listen, LIST, body, access_key, secret, windlass.region)
    assert send(windlass.url, made, body).status == 200
    other = send(windlass.url, made, b'{"maxResults":1}')
    assert (other.code, other.message) == ("InvalidSignatureException", MISMATCH)
    target = made | {"x-amz-target": f"{TARGET}.CreateCluster"}
    assert send(windlass.url, target, body).code == "InvalidSignatureException"
    added = made | {"x-amz-more": "1"}
    assert send(windlass.url, added, body).code == "InvalidSignatureException"
    cut = made | {"authorization": made["authorization"].rsplit(",", 1)[0]}
    assert send(windlass.url, cut, body).code == "IncompleteSignatureException"


@pytest.mark.parametrize(
    "target",
    ["", f"{TARGET}.NoSuchOperation", f"{TARGET}.runTask", "DynamoDB_20120810.ListTables"],
)
def test_an_unknown_operation_is_refused(windlass, target):
    answer = windlass.raw(target, {})
    assert (answer.status, answer.code) == (400, "UnknownOperationException")


def test_an_operation_without_target_is_refused(windlass):
    assert windlass.raw(None, {}).code == "UnknownOperationException"


@pytest.mark.parametrize("operation", ["CreateService", "ExecuteCommand", "CreateGateway"])
def test_an_operation_that_is_not_built_says_so(windlass, operation):
    answer = windlass.raw(f"{TARGET}.{operation}", {})
    assert (answer.status, answer.code) == (400, "UnsupportedFeatureException")
    assert operation in answer.message and "docs/coverage.md" in answer.message


@pytest.mark.parametrize(
    "operation, body",
    [
        ("ListClusters", b"{"),
        ("ListClusters", b"[]"),
        ("ListClusters", b'"text"'),
        ("ListClusters", b"{}{}"),
        ("ListClusters", b'{"maxResults": "10"}'),
        ("ListClusters", b'{"maxResults": 1e99}'),
        ("ListClusters", b'{"nextToken": 7}'),
        ("DescribeTasks", b'{"tasks": "one"}'),
        ("DescribeTasks", b'{"tasks": [1]}'),
        ("DescribeTasks", b'{"tasks": [null]}'),
        ("RunTask", b'{"taskDefinition": "x", "count": "1"}'),
        ("RunTask", b'{"taskDefinition": "x", "overrides": []}'),
        ("RegisterTaskDefinition", b'{"family": "x", "containerDefinitions": {}}'),
        (
            "RegisterTaskDefinition",
            b'{"family": "x", "containerDefinitions": [{"name": "a", "memory": true}]}',
        ),
        ("ListClusters", b"\xff\xfe{}"),
    ],
)
def test_a_body_of_a_wrong_shape_is_refused(windlass, operation, body):
    answer = windlass.raw(f"{TARGET}.{operation}", body)
    assert (answer.status, answer.code) == (400, "SerializationException"), answer.body


def test_deep_nesting_is_refused(windlass):
    answer = windlass.raw(LIST, b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}")
    assert (answer.status, answer.code) == (400, "SerializationException")


def test_what_clients_add_is_accepted(windlass):
    for body in (b"", b"{}", b'{"unknown": {"deep": [1, null]}}', b'{"maxResults": null}'):
        assert windlass.raw(LIST, body).status == 200, body


def test_a_body_that_is_too_large_is_refused(windlass):
    answer = windlass.raw(LIST, b'{"x":"' + b"a" * (2 << 20) + b'"}')
    assert (answer.status, answer.code) == (413, "RequestEntityTooLarge")
    assert "262144 bytes" in answer.message


def test_only_post_is_served(windlass):
    access_key, secret = windlass.keys()
    made = signed(windlass.listen, LIST, b"", access_key, secret, windlass.region)
    # Signed as POST: the method is part of the signature.
    assert send(windlass.url, made, None, method="GET").code == "InvalidSignatureException"


def test_many_requests_at_once(windlass):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda _: windlass.raw(LIST, {}).status, range(400)))
    assert answers == [200] * 400


def test_a_second_person_gets_a_key_and_loses_it(windlass, tmp_path):
    def keys(*words, **environment):
        command = [windlass.executable, "keys", *words, "--data", windlass.data]
        env = {"PATH": "/usr/bin:/bin"} | environment
        done = subprocess.run(command, capture_output=True, text=True, env=env)
        assert done.returncode == 0, done.stderr
        return done.stdout

    made = dict(line.split("=", 1) for line in keys("create", "alice").splitlines())
    alice = {
        "aws_access_key_id": made["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": made["AWS_SECRET_ACCESS_KEY"],
    }
    arn = windlass.client("sts", **alice).get_caller_identity()["Arn"]
    assert arn.endswith(":user/alice")
    own = {"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY": "s" * 40}
    keys("import", "--name", "bob", **own)
    bob = {name.lower(): value for name, value in own.items()}
    assert windlass.client("ecs", **bob).list_clusters()["clusterArns"]
    listed = keys("ls")
    assert "alice" in listed and "bob" in listed and "s" * 40 not in listed
    keys("rm", "alice")
    with pytest.raises(ClientError) as error:
        windlass.client("ecs", **alice).list_clusters()
    assert error.value.response["Error"]["Code"] == "UnrecognizedClientException"
    keys("rm", "bob")


def test_health_and_metrics_need_no_signature(windlass):
    with urllib.request.urlopen(f"{windlass.url}/healthz") as answer:
        assert answer.read() == b"ok\n"
    windlass.raw(LIST, {})
    with urllib.request.urlopen(f"{windlass.url}/metrics") as answer:
        text = answer.read().decode()
    for name in ("windlass_api_calls_total", "windlass_store_bytes", "windlass_disk_free_bytes"):
        assert f"\n{name}" in text, text


def test_an_import_ends_with_its_client(windlass, tmp_path):
    root = tmp_path / "rootfs"
    root.mkdir()
    with open(root / "large", "wb") as large:
        large.truncate(1 << 40)
    command = [windlass.executable, "images", "import-rootfs", "endless:1", root]
    client = subprocess.Popen(
        [*command, "--data", windlass.data], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    temporary = windlass.data / "images" / "tmp"
    written = lambda: sum(file.stat().st_size for file in temporary.iterdir())
    wait_until(lambda: written() > 1 << 20, "it is being written")
    client.send_signal(signal.SIGINT)
    client.wait(20)
    wait_until(lambda: not list(temporary.iterdir()), "nothing of it is left")


def test_a_folder_with_the_data_folder_in_it_is_no_root_file_system(windlass):
    for folder in (windlass.folder, windlass.data, windlass.data / "images"):
        answer = windlass.raw("Windlass.ImportRootfs", {"name": "own:1", "directory": str(folder)})
        assert (answer.status, answer.code) == (400, "InvalidParameterException")
        assert "choose a folder apart from the data folder" in answer.message
