resource "aws_ecs_task_definition" "minimal" {
  family = "${var.prefix}-minimal"
  container_definitions = jsonencode([
    { name = "app", image = "busybox:1.36.1", memory = 64 + var.generation }
  ])
}

resource "aws_ecs_task_definition" "bridge" {
  family       = "${var.prefix}-bridge"
  network_mode = "bridge"
  tags         = { generation = var.generation, Name = "bridge" }
  container_definitions = jsonencode([
    {
      name              = "web"
      image             = "nginx:1.28"
      cpu               = 10
      memory            = 128
      memoryReservation = 64
      essential         = true
      links             = ["side:helper"]
      portMappings = [
        { containerPort = 80, hostPort = 0 },
        { containerPort = 81, hostPort = 8081, protocol = "tcp" },
        { containerPort = 53, protocol = "udp", name = "dns" },
        { containerPortRange = "9000-9010" },
      ]
      entryPoint = ["sh", "-c"]
      command    = ["sleep 1"]
      environment = [
        { name = "B", value = "2" },
        { name = "A", value = "1" },
        { name = "EMPTY", value = "" },
      ]
      mountPoints = [
        { sourceVolume = "scratch", containerPath = "/scratch", readOnly = false },
        { sourceVolume = "bind", containerPath = "/bind", readOnly = true },
        { sourceVolume = "shared", containerPath = "/shared" },
        { sourceVolume = "minimal", containerPath = "/minimal" },
      ]
      volumesFrom = [{ sourceContainer = "side", readOnly = true }]
      linuxParameters = {
        capabilities       = { drop = ["ALL"] }
        initProcessEnabled = true
        sharedMemorySize   = 64
        maxSwap            = 100
        swappiness         = 10
        devices            = [{ hostPath = "/dev/null", containerPath = "/dev/nil", permissions = ["read"] }]
        tmpfs              = [{ containerPath = "/tmp", size = 16, mountOptions = ["noexec"] }]
      }
      dependsOn = [
        { containerName = "side", condition = "HEALTHY" },
        { containerName = "init", condition = "SUCCESS" },
      ]
      startTimeout           = 30
      stopTimeout            = 5
      hostname               = "web"
      user                   = "1000:1000"
      workingDirectory       = "/srv"
      privileged             = false
      readonlyRootFilesystem = true
      dnsServers             = ["10.0.0.2"]
      dnsSearchDomains       = ["example.com"]
      extraHosts             = [{ hostname = "db", ipAddress = "10.0.0.5" }]
      dockerSecurityOptions  = ["no-new-privileges"]
      interactive            = true
      pseudoTerminal         = true
      dockerLabels           = { "com.example.a" = "b" }
      ulimits = [
        { name = "nofile", softLimit = 1024, hardLimit = 4096 },
        { name = "core", softLimit = -1, hardLimit = -1 },
      ]
      logConfiguration = {
        logDriver = "json-file"
        options   = { max-size = "10m", max-file = "3" }
      }
      healthCheck        = { command = ["CMD-SHELL", "true"] }
      systemControls     = [{ namespace = "net.core.somaxconn", value = "1024" }]
      restartPolicy      = { enabled = true, ignoredExitCodes = [0, 3], restartAttemptPeriod = 120 }
      versionConsistency = "disabled"
    },
    {
      name        = "side"
      image       = "busybox:1.36.1"
      memory      = 32
      essential   = false
      healthCheck = { command = ["CMD", "true"], interval = 10, timeout = 3, retries = 5, startPeriod = 20 }
    },
    {
      name            = "init"
      image           = "busybox:1.36.1"
      memory          = 32
      essential       = false
      linuxParameters = { capabilities = { add = ["NET_ADMIN"] } }
    },
  ])
  volume {
    name = "scratch"
  }
  volume {
    name      = "bind"
    host_path = "/srv/data"
  }
  volume {
    name = "shared"
    docker_volume_configuration {
      scope         = "shared"
      autoprovision = true
      driver        = "local"
      driver_opts   = { type = "tmpfs", device = "tmpfs" }
      labels        = { a = "b" }
    }
  }
  volume {
    name = "minimal"
    docker_volume_configuration {
      autoprovision = true
      scope         = "shared"
    }
  }
  placement_constraints {
    type       = "memberOf"
    expression = "attribute:ecs.os-type == linux"
  }
  pid_mode = "task"
  ipc_mode = "task"
}

resource "aws_ecs_task_definition" "fargate" {
  family                   = "${var.prefix}-fargate"
  network_mode             = "awsvpc"
  requires_compatibilities = ["FARGATE"]
  cpu                      = "256"
  memory                   = "512"
  execution_role_arn       = local.role
  task_role_arn            = local.role
  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = "X86_64"
  }
  ephemeral_storage {
    size_in_gib = 25
  }
  container_definitions = jsonencode([
    {
      name      = "app"
      image     = "nginx:1.28"
      essential = true
      portMappings = [
        { containerPort = 80, name = "http", appProtocol = "http" },
        { containerPort = 443, hostPort = 443, protocol = "tcp" },
      ]
      logConfiguration = {
        logDriver = "awslogs"
        options = {
          awslogs-group         = "/ecs/app"
          awslogs-region        = "eu-west-1"
          awslogs-stream-prefix = "ecs"
        }
      }
      secrets = [
        { name = "PASSWORD", valueFrom = "arn:aws:ssm:eu-west-1:${data.aws_caller_identity.here.account_id}:parameter/password" },
        { name = "TOKEN", valueFrom = "token" },
      ]
      environmentFiles       = [{ value = "arn:aws:s3:::bucket/app.env", type = "s3" }]
      repositoryCredentials  = { credentialsParameter = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:reg" }
      linuxParameters        = { capabilities = { add = ["SYS_PTRACE"] }, initProcessEnabled = true }
      ulimits                = [{ name = "nofile", softLimit = 65535, hardLimit = 65535 }]
      mountPoints            = [{ sourceVolume = "scratch", containerPath = "/data" }, { sourceVolume = "efs", containerPath = "/efs" }, { sourceVolume = "ap", containerPath = "/ap" }, { sourceVolume = "plain", containerPath = "/plain" }]
      readonlyRootFilesystem = false
    }
  ])
  volume {
    name = "scratch"
  }
  volume {
    name = "efs"
    efs_volume_configuration {
      file_system_id = "fs-12345678"
      root_directory = "/sub"
      authorization_config {
        iam = "DISABLED"
      }
    }
  }
  volume {
    name = "plain"
    efs_volume_configuration {
      file_system_id = "fs-12345678"
    }
  }
  volume {
    name = "ap"
    efs_volume_configuration {
      file_system_id          = "fs-12345678"
      transit_encryption      = "ENABLED"
      transit_encryption_port = 2049
      authorization_config {
        access_point_id = "fsap-1234567890"
        iam             = "ENABLED"
      }
    }
  }
}

resource "aws_ecs_task_definition" "fargate_words" {
  family                   = "${var.prefix}-fargate-words"
  network_mode             = "awsvpc"
  requires_compatibilities = ["FARGATE", "EC2"]
  cpu                      = 1024
  memory                   = 2048
  track_latest             = true
  runtime_platform {
    operating_system_family = "LINUX"
  }
  container_definitions = jsonencode([
    {
      name         = "app", image = "nginx:1.28", cpu = 0, essential = true, command = [], environment = [], mountPoints = []
      volumesFrom  = [], portMappings = [], secrets = [], dnsServers = [], links = [], ulimits = [], systemControls = []
      dockerLabels = {}, entryPoint = [], extraHosts = [], resourceRequirements = []
    }
  ])
}

resource "aws_ecs_task_definition" "launch_volume" {
  family = "${var.prefix}-launch-volume"
  container_definitions = jsonencode([
    { name = "app", image = "nginx:1.28", memory = 64, mountPoints = [{ sourceVolume = "ebs", containerPath = "/ebs" }] }
  ])
  volume {
    name                = "ebs"
    configure_at_launch = true
  }
}

resource "aws_ecs_task_definition" "host" {
  family                 = "${var.prefix}-host"
  network_mode           = "host"
  pid_mode               = "host"
  ipc_mode               = "host"
  enable_fault_injection = false
  container_definitions = jsonencode([
    {
      name             = "app", image = "nginx:1.28", memoryReservation = 64, privileged = true
      portMappings     = [{ containerPort = 8080, hostPort = 8080 }, { containerPort = 9090, hostPort = 9090, protocol = "udp" }]
      restartPolicy    = { enabled = true }
      logConfiguration = { logDriver = "awslogs", options = { awslogs-group = "g", awslogs-region = "eu-west-1" }, secretOptions = [] }
      healthCheck      = { command = ["CMD-SHELL", "exit 0"], interval = 30, timeout = 5, retries = 3 }
      linuxParameters  = { devices = [], capabilities = { add = [], drop = [] } }
    }
  ])
}

resource "aws_ecs_task_definition" "none" {
  family       = "${var.prefix}-none"
  network_mode = "none"
  container_definitions = jsonencode([
    { name = "app", image = "busybox:1.36.1", memory = 64, linuxParameters = { initProcessEnabled = false }, dockerLabels = {} }
  ])
}

resource "aws_ecs_task_definition" "mesh" {
  family       = "${var.prefix}-mesh"
  network_mode = "awsvpc"
  proxy_configuration {
    type           = "APPMESH"
    container_name = "envoy"
    properties = {
      AppPorts         = "8080"
      EgressIgnoredIPs = "169.254.170.2,169.254.169.254"
      IgnoredUID       = "1337"
      ProxyEgressPort  = 15001
      ProxyIngressPort = 15000
    }
  }
  container_definitions = jsonencode([
    { name = "app", image = "nginx:1.28", memory = 64 },
    { name = "envoy", image = "envoy:1", memory = 64, user = "1337" },
    { name = "router", image = "fluent:1", memory = 64, firelensConfiguration = { type = "fluentbit", options = { enable-ecs-log-metadata = "true" } } },
    { name = "logged", image = "nginx:1.28", memory = 64, logConfiguration = { logDriver = "awsfirelens", options = { Name = "cloudwatch" } } },
  ])
}
