data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  tasks_name = "${var.name}-tasks.fifo"
  dead_name  = "${var.name}-tasks-dead.fifo"

  # Made from the names, not from the queues: the provider waits 25 seconds after each queue, and what hangs on
  # the other queue's ARN would add its own 25 to that.
  arn_prefix = "arn:${data.aws_partition.current.partition}:sqs:${data.aws_region.current.name}:${data.aws_caller_identity.current.account_id}"
  tasks_arn  = "${local.arn_prefix}:${local.tasks_name}"
  dead_arn   = "${local.arn_prefix}:${local.dead_name}"
}

data "aws_iam_policy_document" "tls_only" {
  for_each = { tasks = local.tasks_arn, dead = local.dead_arn }

  statement {
    sid       = "RefuseWithoutTls"
    effect    = "Deny"
    actions   = ["sqs:*"]
    resources = [each.value]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_sqs_queue" "tasks" {
  name                       = local.tasks_name
  fifo_queue                 = true
  deduplication_scope        = "messageGroup"
  fifo_throughput_limit      = "perMessageGroupId"
  visibility_timeout_seconds = var.visibility_timeout_seconds
  message_retention_seconds  = var.retention_seconds
  receive_wait_time_seconds  = 20
  sqs_managed_sse_enabled    = true
  policy                     = data.aws_iam_policy_document.tls_only["tasks"].json

  lifecycle {
    # It belongs to the resource below.
    ignore_changes = [redrive_policy]
  }
}

resource "aws_sqs_queue" "dead" {
  name                       = local.dead_name
  fifo_queue                 = true
  deduplication_scope        = "messageGroup"
  fifo_throughput_limit      = "perMessageGroupId"
  visibility_timeout_seconds = var.visibility_timeout_seconds
  message_retention_seconds  = var.retention_seconds
  receive_wait_time_seconds  = 20
  sqs_managed_sse_enabled    = true
  policy                     = data.aws_iam_policy_document.tls_only["dead"].json
}

# SQS takes a redrive policy only when the dead-letter queue exists, so as an attribute of the tasks queue it would
# create the two queues one after the other. Apart, they are created at once and only this waits.
resource "aws_sqs_queue_redrive_policy" "tasks" {
  queue_url = aws_sqs_queue.tasks.url

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead.arn
    maxReceiveCount     = var.max_receive_count
  })
}
