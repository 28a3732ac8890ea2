data "aws_ec2_instance_type" "this" {
  instance_type = var.instance_type
}

data "aws_ssm_parameter" "image" {
  count = var.image_id == "" ? 1 : 0

  name = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-${local.architecture}"
}

locals {
  architecture = contains(data.aws_ec2_instance_type.this.supported_architectures, "arm64") ? "arm64" : "x86_64"
  image_id     = var.image_id == "" ? data.aws_ssm_parameter.image[0].insecure_value : var.image_id
}

resource "aws_instance" "this" {
  #checkov:skip=CKV_AWS_126:Agents report load and memory every ten seconds; detailed monitoring is billed and tells less.
  #checkov:skip=CKV_AWS_135:Current types are EBS-optimised by default, and some small ones refuse the setting.
  count = var.instance_count

  ami                    = local.image_id
  instance_type          = var.instance_type
  vpc_security_group_ids = [aws_security_group.this.id]
  iam_instance_profile   = var.instance_profile_name

  user_data = templatefile("${path.module}/templates/user_data.sh.tftpl", {
    workspace_id = var.workspace_id
    region       = var.region
    bucket       = var.bucket_name
    agent        = var.agent
  })

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  root_block_device {
    volume_type = "gp3"
    volume_size = var.volume_gb
    encrypted   = true
  }

  # The default of the small types is to be billed for what they use beyond their share.
  dynamic "credit_specification" {
    for_each = data.aws_ec2_instance_type.this.burstable_performance_supported ? ["standard"] : []

    content {
      cpu_credits = credit_specification.value
    }
  }

  tags = { Name = "${var.name}-${count.index + 1}" }

  lifecycle {
    # The root volume holds the person's home. Each of these would replace the instance, or stop it (user data),
    # because something new was published and not because anyone asked: a newer image, or a newer agent, which running
    # agents fetch by themselves. They count for new instances only.
    ignore_changes = [ami, user_data]
  }

  # So that the way out is there as long as the instance is: an agent that stops has something to report.
  depends_on = [aws_vpc_security_group_egress_rule.all]
}
