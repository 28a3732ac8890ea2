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
}

variables {
  name = "orca-01j00000000000000000000000"
}

run "two_fifo_queues" {
  command = apply

  assert {
    condition     = aws_sqs_queue.tasks.name == "orca-01j00000000000000000000000-tasks.fifo" && aws_sqs_queue.tasks.fifo_queue
    error_message = "The tasks queue is a FIFO queue of the agreed name."
  }

  assert {
    condition     = aws_sqs_queue.dead.name == "orca-01j00000000000000000000000-tasks-dead.fifo" && aws_sqs_queue.dead.fifo_queue
    error_message = "The dead-letter queue is a FIFO queue of the agreed name."
  }

  assert {
    condition     = aws_sqs_queue.tasks.sqs_managed_sse_enabled && aws_sqs_queue.dead.sqs_managed_sse_enabled
    error_message = "Both queues are encrypted."
  }

  assert {
    condition     = aws_sqs_queue.tasks.deduplication_scope == "messageGroup" && aws_sqs_queue.tasks.fifo_throughput_limit == "perMessageGroupId"
    error_message = "Pipelines do not hold each other up."
  }

  assert {
    condition = jsondecode(aws_sqs_queue_redrive_policy.tasks.redrive_policy) == {
      deadLetterTargetArn = aws_sqs_queue.dead.arn
      maxReceiveCount     = 10
    }
    error_message = "A task that is handed out too often goes to the dead-letter queue."
  }
}

run "tls_only" {
  command = plan

  assert {
    condition = alltrue([
      for key, name in { tasks = "tasks", dead = "tasks-dead" } : (
        one(data.aws_iam_policy_document.tls_only[key].statement).effect == "Deny"
        && one(one(data.aws_iam_policy_document.tls_only[key].statement).condition).variable == "aws:SecureTransport"
        && one(one(data.aws_iam_policy_document.tls_only[key].statement).resources) == "arn:aws:sqs:eu-central-1:100000000001:orca-01j00000000000000000000000-${name}.fifo"
      )
    ])
    error_message = "Each queue refuses requests without TLS."
  }
}

run "visibility_has_bounds" {
  command = plan

  variables {
    visibility_timeout_seconds = 43201
  }

  expect_failures = [var.visibility_timeout_seconds]
}

run "a_task_is_handed_out_at_least_once" {
  command = plan

  variables {
    max_receive_count = 0
  }

  expect_failures = [var.max_receive_count]
}

run "retention_has_bounds" {
  command = plan

  variables {
    retention_seconds = 30
  }

  expect_failures = [var.retention_seconds]
}

run "names_that_sqs_refuses" {
  command = plan

  variables {
    name = "orca.tasks"
  }

  expect_failures = [var.name]
}
