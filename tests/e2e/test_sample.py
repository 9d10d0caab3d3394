"""The sample application: nginx in front of redis, as a user of ECS would write it."""

import json

import pytest
from windlass import container, http_get, http_get_soon, told, unique, wait_until

NETWORK = {"awsvpcConfiguration": {"subnets": ["subnet-1"], "securityGroups": ["sg-1"]}}


def sample(mode, host_port=None):
    """Web waits for a healthy cache, asks it over the network, and serves a page of its volume."""
    cache_name = "cache" if mode == "bridge" else "127.0.0.1"
    ask = f"printf 'PING\\r\\nQUIT\\r\\n' | nc {cache_name} 6379"
    web = {
        "name": "web",
        "image": "nginx:latest",
        "cpu": 64,
        "memory": 64,
        "essential": True,
        "environment": [{"name": "GREETING", "value": "hello from the web"}],
        "command": [
            "sh",
            "-c",
            f"echo $GREETING; echo cache says $({ask}); exec nginx -g 'daemon off;'",
        ],
        "portMappings": [{"containerPort": 80, "protocol": "tcp"}],
        "mountPoints": [
            {"sourceVolume": "shared", "containerPath": "/usr/share/nginx/html/shared"}
        ],
        "dependsOn": [{"containerName": "cache", "condition": "HEALTHY"}],
    }
    cache = {
        "name": "cache",
        "image": "redis:latest",
        "cpu": 64,
        "memory": 64,
        "essential": True,
        "command": [
            "sh",
            "-c",
            "echo written by the cache > /shared/page.txt; exec redis-server --protected-mode no",
        ],
        "mountPoints": [{"sourceVolume": "shared", "containerPath": "/shared"}],
        "healthCheck": {
            "command": ["CMD-SHELL", "redis-cli ping | grep -q PONG"],
            "interval": 5,
            "timeout": 2,
            "retries": 3,
        },
    }
    definition = {
        "networkMode": mode,
        "containerDefinitions": [web, cache],
        "volumes": [{"name": "shared"}],
    }
    if mode == "bridge":
        web["links"] = ["cache"]
        web["portMappings"][0]["hostPort"] = host_port
    else:
        definition |= {"cpu": "256", "memory": "512"}
    return definition


@pytest.mark.parametrize("mode", ["bridge", "awsvpc"])
def test_the_sample_runs(windlass, ecs, tasks, mode, host_port):
    family = unique(f"sample-{mode}")
    definition = sample(mode, host_port)
    for revision in (1, 2):
        made = ecs.register_task_definition(family=family, **definition)["taskDefinition"]
        assert (made["revision"], made["status"]) == (revision, "ACTIVE")
        assert made["taskDefinitionArn"] == windlass.arn(f"task-definition/{family}:{revision}")

    network = {"networkConfiguration": NETWORK} if mode == "awsvpc" else {}
    task = tasks.run(family, **network)
    ecs.get_waiter("tasks_running").wait(
        cluster="default", tasks=[task], WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    record = tasks.describe(task)
    assert record["taskDefinitionArn"].endswith(f"{family}:2")
    wait_until(lambda: tasks.describe(task)["healthStatus"] == "HEALTHY", "the task is HEALTHY")

    if mode == "bridge":
        bindings = container(record, "web")["networkBindings"]
        assert [(b["containerPort"], b["hostPort"]) for b in bindings] == [(80, host_port)]
        address = f"127.0.0.1:{host_port}"
    else:
        details = {d["name"]: d["value"] for d in record["attachments"][0]["details"]}
        address = details["privateIPv4Address"]
        assert container(record, "web")["networkInterfaces"][0]["privateIpv4Address"] == address
    status, page = http_get_soon(f"http://{address}/")
    assert status == 200 and "nginx" in page
    assert http_get(f"http://{address}/shared/page.txt") == (200, "written by the cache\n")

    said = windlass.text(task, "web")
    assert "hello from the web" in said and "cache says +PONG" in said, said
    assert "GET /shared/page.txt" in wait_until(
        lambda: "GET /shared/page.txt" in windlass.text(task, "web") and windlass.text(task, "web"),
        "nginx logs the request",
    )
    assert "Ready to accept connections" in windlass.text(task, "cache")

    stopping = ecs.stop_task(task=task, reason="enough seen")["task"]
    assert (stopping["desiredStatus"], stopping["stopCode"]) == ("STOPPED", "UserInitiated")
    ecs.get_waiter("tasks_stopped").wait(
        cluster="default", tasks=[task], WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    record = tasks.describe(task)
    assert record["stoppedReason"] == "enough seen"
    # Both end by themselves when they are asked to.
    assert [c["exitCode"] for c in record["containers"]] == [0, 0], told(record)


def test_the_aws_cli_runs_a_task(windlass, tmp_path):
    """The same from a shell, with the files and waiters of the `aws` command."""
    family = unique("cli")
    definition = {
        "family": family,
        "containerDefinitions": [
            {"name": "main", "image": "busybox", "memory": 16, "command": ["sh", "-c", "exit 3"]}
        ],
    }
    path = tmp_path / "definition.json"
    path.write_text(json.dumps(definition))

    def aws(*arguments):
        code, out, err = windlass.aws("ecs", *arguments)
        assert code == 0, err
        return out.strip()

    arn = "taskDefinition.taskDefinitionArn"
    register = ["register-task-definition", "--cli-input-json", f"file://{path}"]
    made = aws(*register, "--query", arn, "--output", "text")
    assert made == windlass.arn(f"task-definition/{family}:1")
    run = ["run-task", "--task-definition", family, "--query", "tasks[0].taskArn"]
    task = aws(*run, "--output", "text")
    aws("wait", "tasks-stopped", "--tasks", task)
    shown = json.loads(aws("describe-tasks", "--tasks", task))["tasks"][0]
    assert shown["containers"][0]["exitCode"] == 3
    assert task in json.loads(aws("list-tasks", "--desired-status", "STOPPED"))["taskArns"]
    code, out, err = windlass.aws("ecs", "describe-tasks", "--tasks", task, "--cluster", "nowhere")
    assert code != 0 and "ClusterNotFoundException" in err and "Cluster not found." in err


def test_the_caller_is_known(windlass):
    code, out, err = windlass.aws("sts", "get-caller-identity")
    assert code == 0, err
    assert json.loads(out)["Account"] == windlass.account


def test_batch_tasks_end_with_their_exit_codes(windlass, tasks):
    from windlass import busybox

    wanted = {0: None, 3: None, 42: None}
    started = {
        code: tasks.start(busybox(f"echo out {code}; echo err {code} >&2; exit {code}"))
        for code in wanted
    }
    for code, task in started.items():
        record = tasks.stopped(task)
        assert record["stopCode"] == "EssentialContainerExited"
        assert record["stoppedReason"] == "Essential container in task exited"
        assert container(record, "main")["exitCode"] == code
        lines = [("main", "stderr", f"err {code}"), ("main", "stdout", f"out {code}")]
        assert sorted(windlass.logs(task)) == lines
