resource "aws_ecs_cluster" "plain" {
  name = "${var.prefix}-plain"
  tags = { generation = var.generation }
}

resource "aws_ecs_cluster" "full" {
  name = "${var.prefix}-full"
  setting {
    name  = "containerInsights"
    value = "enhanced"
  }
  configuration {
    execute_command_configuration {
      kms_key_id = "arn:aws:kms:eu-west-1:111122223333:key/abc"
      logging    = "OVERRIDE"
      log_configuration {
        cloud_watch_encryption_enabled = true
        cloud_watch_log_group_name     = "exec"
        s3_bucket_name                 = "bucket"
        s3_bucket_encryption_enabled   = true
        s3_key_prefix                  = "exec"
      }
    }
    managed_storage_configuration {
      fargate_ephemeral_storage_kms_key_id = "arn:aws:kms:eu-west-1:111122223333:key/abc"
    }
  }
  tags = { Name = "full", team = "a b:c/d" }
}

resource "aws_ecs_cluster" "exec_default" {
  name = "${var.prefix}-exec-default"
  configuration {
    execute_command_configuration {
      logging = "DEFAULT"
    }
  }
  service_connect_defaults {
    namespace = "arn:aws:servicediscovery:eu-west-1:111122223333:namespace/ns-abc"
  }
}

resource "aws_ecs_cluster_capacity_providers" "plain" {
  cluster_name       = aws_ecs_cluster.plain.name
  capacity_providers = var.generation == 1 ? ["FARGATE", "FARGATE_SPOT"] : ["FARGATE"]
  default_capacity_provider_strategy {
    base              = 1
    weight            = 100 + var.generation
    capacity_provider = "FARGATE"
  }
}

resource "aws_ecs_cluster_capacity_providers" "full" {
  cluster_name       = aws_ecs_cluster.full.name
  capacity_providers = ["FARGATE_SPOT", "FARGATE"]
}
