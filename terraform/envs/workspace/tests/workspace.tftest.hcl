mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }

  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }

  mock_data "aws_region" {
    defaults = { name = "eu-central-1" }
  }

  mock_data "aws_caller_identity" {
    defaults = { account_id = "100000000001" }
  }

  mock_data "aws_ec2_instance_type" {
    defaults = {
      supported_architectures         = ["x86_64"]
      burstable_performance_supported = true
    }
  }

  mock_data "aws_ssm_parameter" {
    defaults = { insecure_value = "ami-00000000000000001" }
  }
}

variables {
  workspace_id       = "01j00000000000000000000000"
  region             = "eu-central-1"
  user_principal_arn = "arn:aws:iam::100000000001:root"
  user_external_id   = "only-for-tests"
  events_queue_url   = "https://sqs.eu-central-1.amazonaws.com/100000000001/orca-events"
  events_queue_arn   = "arn:aws:sqs:eu-central-1:100000000001:orca-events"
  signing_key        = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
  slots              = 4

  agent = {
    bucket = "orca-platform-100000000001"
    key    = "agents/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.tar.gz"
    sha256 = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
  }
}

run "a_whole_workspace" {
  command = apply

  assert {
    condition     = output.bucket == "orca-01j00000000000000000000000"
    error_message = "The bucket is called after the workspace."
  }

  assert {
    condition     = length(output.instance_ids) == 1 && output.tasks_queue_url != "" && output.user_role_arn != ""
    error_message = "It has an instance, a queue and a role for the person."
  }
}

run "destroyed_but_for_its_data" {
  command = apply

  variables {
    data_only = true
  }

  assert {
    condition     = output.bucket == "orca-01j00000000000000000000000"
    error_message = "The bucket stays."
  }

  assert {
    condition = (
      length(output.instance_ids) == 0 && output.tasks_queue_url == "" && output.dead_queue_url == ""
      && output.user_role_arn == "" && output.instance_role_arn == ""
    )
    error_message = "Nothing else does."
  }
}

run "wishes_with_bounds" {
  command = plan

  variables {
    workspace_id         = "alice"
    region               = "home"
    provisioner_role_arn = "role"
    user_principal_arn   = "*"

    permissions_boundary_arn = "everything"
    user_external_id         = "x"
    events_queue_url         = "orca-events"
    events_queue_arn         = "orca-events"
    signing_key              = "secret"
    slots                    = 0
    volume_gb                = 1
    image_id                 = "latest"
    instance_count           = -1
    instance_type            = "big"
    ssh_cidrs                = ["everyone"]
  }

  expect_failures = [
    var.workspace_id, var.region, var.provisioner_role_arn, var.permissions_boundary_arn, var.user_principal_arn, var.user_external_id,
    var.events_queue_url, var.events_queue_arn, var.signing_key, var.slots, var.volume_gb, var.image_id,
    var.instance_count, var.instance_type, var.ssh_cidrs,
  ]
}
