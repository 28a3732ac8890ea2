mock_provider "aws" {
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
  name                  = "orca-01j00000000000000000000000"
  workspace_id          = "01j00000000000000000000000"
  region                = "eu-central-1"
  bucket_name           = "orca-01j00000000000000000000000"
  instance_profile_name = "orca-01j00000000000000000000000-instance"
  instance_type         = "t3.small"
  volume_gb             = 20
  ssh_cidrs             = ["203.0.113.0/24", "2001:db8::/32"]

  agent = {
    bucket = "orca-platform-100000000001"
    key    = "agents/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.tar.gz"
    sha256 = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
  }
}

run "a_hardened_instance" {
  command = plan

  assert {
    condition     = one(aws_instance.this[0].metadata_options).http_tokens == "required" && one(aws_instance.this[0].metadata_options).http_put_response_hop_limit == 1
    error_message = "Credentials come by IMDSv2 only, and not through another hop."
  }

  assert {
    condition = (
      one(aws_instance.this[0].root_block_device).encrypted
      && one(aws_instance.this[0].root_block_device).volume_type == "gp3"
      && one(aws_instance.this[0].root_block_device).volume_size == 20
    )
    error_message = "The root volume is encrypted, of the right kind and size."
  }

  assert {
    condition     = aws_instance.this[0].iam_instance_profile == "orca-01j00000000000000000000000-instance" && aws_instance.this[0].tags.Name == "orca-01j00000000000000000000000-1"
    error_message = "The instance has its role and its name."
  }

  assert {
    condition     = one(aws_instance.this[0].credit_specification).cpu_credits == "standard"
    error_message = "A small instance is not billed for more than its share."
  }

  assert {
    condition     = aws_instance.this[0].ami == "ami-00000000000000001" && endswith(data.aws_ssm_parameter.image[0].name, "-x86_64")
    error_message = "The image is Amazon Linux for the instance type's processor."
  }
}

run "ssh_is_let_in_from_named_networks_only" {
  command = plan

  assert {
    condition     = toset(keys(aws_vpc_security_group_ingress_rule.ssh)) == toset(["203.0.113.0/24", "2001:db8::/32"])
    error_message = "One rule for each network."
  }

  assert {
    condition = alltrue([
      for rule in aws_vpc_security_group_ingress_rule.ssh : rule.from_port == 22 && rule.to_port == 22 && rule.ip_protocol == "tcp"
    ])
    error_message = "Port 22 and no other."
  }

  assert {
    condition = (
      aws_vpc_security_group_ingress_rule.ssh["203.0.113.0/24"].cidr_ipv4 == "203.0.113.0/24"
      && aws_vpc_security_group_ingress_rule.ssh["2001:db8::/32"].cidr_ipv6 == "2001:db8::/32"
    )
    error_message = "IPv4 and IPv6 are told apart."
  }
}

run "no_network_no_port" {
  command = plan

  variables {
    ssh_cidrs = []
  }

  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.ssh) == 0
    error_message = "Without networks the port is closed."
  }
}

run "user_data_carries_no_secret_and_no_surprise" {
  command = plan

  assert {
    condition = alltrue([
      for line in [
        "workspace='01j00000000000000000000000'",
        "bucket='orca-01j00000000000000000000000'",
        "agent_bucket='orca-platform-100000000001'",
        "agent_sha256='aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'",
        "metadata=$${AWS_EC2_METADATA_SERVICE_ENDPOINT:-http://169.254.169.254}",
        ] : strcontains(templatefile("./templates/user_data.sh.tftpl", {
          workspace_id = var.workspace_id
          region       = var.region
          bucket       = var.bucket_name
          agent        = var.agent
      }), line)
    ])
    error_message = "The script knows the workspace and the agent, and leaves the shell's variables alone."
  }

  assert {
    condition     = aws_instance.this[0].user_data_replace_on_change != true
    error_message = "New user data never replaces an instance."
  }
}

run "several_instances" {
  command = plan

  variables {
    instance_count = 3
  }

  assert {
    condition     = aws_instance.this[*].tags.Name == ["orca-01j00000000000000000000000-1", "orca-01j00000000000000000000000-2", "orca-01j00000000000000000000000-3"]
    error_message = "Instances are numbered from 1."
  }
}

run "an_arm_processor_takes_an_arm_image" {
  command = plan

  override_data {
    target = data.aws_ec2_instance_type.this
    values = {
      supported_architectures         = ["arm64"]
      burstable_performance_supported = false
    }
  }

  assert {
    condition     = endswith(data.aws_ssm_parameter.image[0].name, "-arm64") && length(aws_instance.this[0].credit_specification) == 0
    error_message = "The image fits the processor; only burstable types have credits."
  }
}

run "an_image_of_ones_own" {
  command = plan

  variables {
    image_id = "ami-0123456789abcdef0"
  }

  assert {
    condition     = aws_instance.this[0].ami == "ami-0123456789abcdef0" && length(data.aws_ssm_parameter.image) == 0
    error_message = "A named image is taken as it is."
  }
}

run "wishes_with_bounds" {
  command = plan

  variables {
    instance_count = 101
    volume_gb      = 7
    image_id       = "latest"
    ssh_cidrs      = ["everyone"]
    instance_type  = "big"
  }

  expect_failures = [var.instance_count, var.volume_gb, var.image_id, var.ssh_cidrs, var.instance_type]
}

run "an_agent_from_elsewhere" {
  command = plan

  variables {
    agent = {
      bucket = "orca-platform-100000000001"
      key    = "bundles/agent.tar.gz'; reboot; '"
      sha256 = "latest"
    }
  }

  expect_failures = [var.agent]
}
