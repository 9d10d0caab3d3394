#!/usr/bin/env bash
# Shows Windlass at work: builds it, starts it, runs the sample of examples/ through `windlass`, the
# unmodified `aws` CLI and boto3, leaves the web server running, and says what to try next.
set -euo pipefail
cd "$(dirname "$0")/.."

data=${WINDLASS_DEMO_DATA:-$PWD/.cache/demo}

step() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
show() { printf '\033[2m$ %s\033[0m\n' "$*"; "$@"; }
fail() { echo "demo: $*" >&2; exit 1; }

[ "$(id -u)" = 0 ] || fail "containers need root: run it with sudo make demo"

step "What it needs"
scripts/packages.sh build-essential ca-certificates curl python3-venv
scripts/sample-images.sh
scripts/botocore.sh >/dev/null

step "Build"
cargo build --package windlass
bin=$(scripts/target-dir.sh)/debug
PATH=$bin:$PWD/.venv/bin:$PATH

step "Start Windlass"
if ! windlass version --data "$data" >/dev/null 2>&1 || [ ! -e "$data/endpoint" ]; then
    show windlass up --data "$data" --listen "${WINDLASS_DEMO_LISTEN:-127.0.0.1:7737}" --detach
fi
eval "$(windlass env --data "$data")"
for image in nginx redis busybox; do
    show windlass images load ".cache/images/$image.tar"
done

stop_all() {
    for task in $(aws ecs list-tasks --query 'taskArns[]' --output text); do
        [ "$task" = None ] || windlass stop "$task" >/dev/null
    done
}
stop_all

step "A web server and a database, as a task in bridge mode"
show windlass register examples/web-bridge.json
show windlass register examples/web-bridge.json
show windlass run web --detach
task=$(aws ecs list-tasks --family web --query 'taskArns[0]' --output text)
show windlass wait "$task" running
show curl -sS --retry 10 --retry-connrefused --retry-delay 1 http://localhost:8088/
show windlass ps
show windlass logs "$task"
show windlass stop "$task" --reason "the demo goes on"
show windlass wait "$task" stopped
show windlass why "$task"

step "The same in awsvpc mode on FARGATE, through the aws CLI"
show aws ecs register-task-definition --cli-input-json file://examples/web-awsvpc.json \
    --query 'taskDefinition.taskDefinitionArn'
task=$(aws ecs run-task --task-definition web-awsvpc --launch-type FARGATE \
    --network-configuration 'awsvpcConfiguration={subnets=[subnet-demo]}' \
    --query 'tasks[0].taskArn' --output text)
show aws ecs wait tasks-running --tasks "$task"
address=$(aws ecs describe-tasks --tasks "$task" --output text \
    --query 'tasks[0].containers[0].networkInterfaces[0].privateIpv4Address')
show curl -sS --retry 10 --retry-connrefused --retry-delay 1 "http://$address/"
show aws ecs stop-task --task "$task" --query 'task.[desiredStatus,stopCode]' --output text
show aws ecs wait tasks-stopped --tasks "$task"
show aws ecs describe-tasks --tasks "$task" --output table \
    --query 'tasks[0].{status:lastStatus,code:stopCode,why:stoppedReason,exits:join(`,`,containers[].to_string(exitCode))}'

step "Batch tasks: one computes, one fails with 3"
show windlass run examples/primes.json
status=0
show windlass run examples/fails.json || status=$?
[ "$status" = 3 ] || fail "expected exit code 3, got $status"
echo "(exit code $status, as the container's)"

step "And from boto3"
python3 - <<'PY'
import boto3
ecs = boto3.client("ecs")
task = ecs.run_task(taskDefinition="primes")["tasks"][0]["taskArn"]
ecs.get_waiter("tasks_stopped").wait(tasks=[task], WaiterConfig={"Delay": 1})
task = ecs.describe_tasks(tasks=[task])["tasks"][0]
print(task["lastStatus"], task["stopCode"], "exit code", task["containers"][0]["exitCode"])
PY

step "It serves"
windlass run web --detach >/dev/null
task=$(aws ecs list-tasks --family web --query 'taskArns[0]' --output text)
windlass wait "$task" running
show curl -sS --retry 10 --retry-connrefused --retry-delay 1 http://localhost:8088/
cat <<EOF

Try next:
  export PATH=$bin:$PWD/.venv/bin:\$PATH
  eval "\$(windlass env --data $data)"
  windlass ps
  windlass logs -f ${task##*/}
  windlass history ${task##*/}
  aws ecs describe-tasks --tasks ${task##*/}
  kill -9 $(python3 -c 'import json,sys; print(json.load(open(sys.argv[1]))["pid"])' "$data/endpoint")    # the web server keeps serving
  windlass up --data $data --detach    # and is found again
  windlass down --data $data    # stops everything and leaves nothing
EOF
