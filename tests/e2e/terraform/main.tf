# What `test_terraform.py` applies: `generation` 2 changes what can be changed in place, and a
# definition.
terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "5.100.0"
    }
  }
}

provider "aws" {}

variable "generation" {
  type    = number
  default = 1
}

variable "prefix" {
  type = string
}

data "aws_caller_identity" "here" {}

locals {
  role = "arn:aws:iam::${data.aws_caller_identity.here.account_id}:role/deploy/app"
}

data "aws_ecs_cluster" "plain" {
  cluster_name = aws_ecs_cluster.plain.name
}

data "aws_ecs_task_definition" "bridge" {
  task_definition = aws_ecs_task_definition.bridge.family
}

output "cluster" {
  value = aws_ecs_cluster.plain.arn
}

output "cluster_status" {
  value = data.aws_ecs_cluster.plain.status
}

output "minimal" {
  value = aws_ecs_task_definition.minimal.arn
}

output "revision" {
  value = data.aws_ecs_task_definition.bridge.revision
}
