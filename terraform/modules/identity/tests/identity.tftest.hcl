mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }
}

variables {
  name               = "orca-01j00000000000000000000000"
  bucket_arn         = "arn:aws:s3:::orca-01j00000000000000000000000"
  tasks_queue_arn    = "arn:aws:sqs:eu-central-1:100000000001:orca-01j00000000000000000000000-tasks.fifo"
  events_queue_arn   = "arn:aws:sqs:eu-central-1:100000000001:orca-events"
  agent_bucket_arn   = "arn:aws:s3:::orca-platform-100000000001"
  secrets_arn_prefix = "arn:aws:secretsmanager:eu-central-1:100000000001:secret:orca/01j00000000000000000000000/"
  user_principal_arn = "arn:aws:iam::100000000001:root"
  user_external_id   = "only-for-tests"
}

run "names" {
  command = plan

  assert {
    condition = (
      aws_iam_role.instance.name == "orca-01j00000000000000000000000-instance"
      && aws_iam_instance_profile.instance.name == "orca-01j00000000000000000000000-instance"
      && aws_iam_role.user.name == "orca-01j00000000000000000000000-user"
      && output.instance_profile_name == "orca-01j00000000000000000000000-instance"
    )
    error_message = "Roles and profile have the agreed names."
  }
}

run "the_instance_reaches_only_its_own" {
  command = plan

  assert {
    condition = toset(flatten([
      for statement in data.aws_iam_policy_document.instance.statement : statement.resources if statement.effect != "Deny"
      ])) == toset([
      "arn:aws:s3:::orca-01j00000000000000000000000",
      "arn:aws:s3:::orca-01j00000000000000000000000/*",
      "arn:aws:sqs:eu-central-1:100000000001:orca-01j00000000000000000000000-tasks.fifo",
      "arn:aws:sqs:eu-central-1:100000000001:orca-events",
      "arn:aws:secretsmanager:eu-central-1:100000000001:secret:orca/01j00000000000000000000000/*",
      "arn:aws:s3:::orca-platform-100000000001/agents/*",
    ])
    error_message = "The instance's role names its own bucket, queue and secrets, the events queue and the agent's folder."
  }

  assert {
    condition = alltrue([
      for statement in data.aws_iam_policy_document.instance.statement : (
        !anytrue([for action in statement.actions : startswith(action, "secretsmanager:")])
        || tolist(statement.actions) == tolist(["secretsmanager:GetSecretValue"])
      )
    ])
    error_message = "An instance reads its secrets by name; it neither lists nor changes them."
  }

  assert {
    condition = alltrue([
      for statement in data.aws_iam_policy_document.instance.statement : (
        !contains(statement.resources, "arn:aws:sqs:eu-central-1:100000000001:orca-events")
        || tolist(statement.actions) == tolist(["sqs:SendMessage"])
      )
    ])
    error_message = "An instance can send events, not read those of others."
  }

  assert {
    condition = alltrue([
      for statement in data.aws_iam_policy_document.instance.statement : (
        !contains(statement.resources, "arn:aws:s3:::orca-platform-100000000001/agents/*")
        || tolist(statement.actions) == tolist(["s3:GetObject"])
      )
    ])
    error_message = "An instance reads the agent, it cannot replace it."
  }

  assert {
    condition = anytrue([
      for statement in data.aws_iam_policy_document.instance.statement : (
        statement.effect == "Deny"
        && contains(statement.resources, "arn:aws:s3:::orca-01j00000000000000000000000/control/*")
        && contains(statement.actions, "s3:PutObject")
        && contains(statement.actions, "s3:DeleteObject")
      )
    ])
    error_message = "An instance cannot write its own orders."
  }

  assert {
    condition = alltrue([
      for statement in data.aws_iam_policy_document.instance.statement : !anytrue([
        for action in statement.actions : strcontains(action, "*")
      ]) if statement.effect != "Deny"
    ])
    error_message = "Every action is named."
  }
}

run "the_person_reaches_only_the_bucket" {
  command = plan

  assert {
    condition = toset(flatten([
      for statement in data.aws_iam_policy_document.user.statement : statement.resources if statement.effect != "Deny"
      ])) == toset([
      "arn:aws:s3:::orca-01j00000000000000000000000",
      "arn:aws:s3:::orca-01j00000000000000000000000/*",
    ])
    error_message = "The person's role names their bucket and nothing else."
  }

  assert {
    condition = anytrue([
      for statement in data.aws_iam_policy_document.user.statement : (
        statement.effect == "Deny"
        && tolist(statement.actions) == tolist(["s3:*"])
        && tolist(statement.resources) == tolist(["arn:aws:s3:::orca-01j00000000000000000000000/control/*"])
      )
    ])
    error_message = "The person does not see the signing key."
  }
}

run "who_may_take_the_roles" {
  command = plan

  assert {
    condition     = one(one(data.aws_iam_policy_document.instance_trust.statement).principals).identifiers == toset(["ec2.amazonaws.com"])
    error_message = "Only EC2 takes the instance's role."
  }

  assert {
    condition = (
      one(one(data.aws_iam_policy_document.user_trust.statement).principals).identifiers == toset(["arn:aws:iam::100000000001:root"])
      && one(one(data.aws_iam_policy_document.user_trust.statement).condition).variable == "sts:ExternalId"
      && one(one(data.aws_iam_policy_document.user_trust.statement).condition).values == tolist(["only-for-tests"])
    )
    error_message = "The person's role asks for the ExternalId."
  }
}

run "anyone_is_no_principal" {
  command = plan

  variables {
    user_principal_arn = "*"
  }

  expect_failures = [var.user_principal_arn]
}

run "an_external_id_is_needed" {
  command = plan

  variables {
    user_external_id = ""
  }

  expect_failures = [var.user_external_id]
}

run "every_bucket_is_no_bucket" {
  command = plan

  variables {
    bucket_arn = "arn:aws:s3:::*"
  }

  expect_failures = [var.bucket_arn]
}

run "secrets_of_all_are_no_prefix" {
  command = plan

  variables {
    secrets_arn_prefix = "arn:aws:secretsmanager:eu-central-1:100000000001:secret:orca/"
  }

  expect_failures = [var.secrets_arn_prefix]
}

run "a_prefix_ends_with_a_slash" {
  command = plan

  variables {
    secrets_arn_prefix = "arn:aws:secretsmanager:eu-central-1:100000000001:secret:orca/01j00000000000000000000000"
  }

  expect_failures = [var.secrets_arn_prefix]
}

run "within_a_boundary" {
  command = plan

  variables {
    permissions_boundary_arn = "arn:aws:iam::100000000001:policy/orca-provisioner-boundary"
  }

  assert {
    condition = alltrue([
      for role in [aws_iam_role.instance, aws_iam_role.user] : role.permissions_boundary == "arn:aws:iam::100000000001:policy/orca-provisioner-boundary"
    ])
    error_message = "Both roles stay within the boundary."
  }
}

run "a_boundary_is_a_policy" {
  command = plan

  variables {
    permissions_boundary_arn = "none"
  }

  expect_failures = [var.permissions_boundary_arn]
}

run "a_repository_of_its_own" {
  command = plan

  variables {
    repository_arn = "arn:aws:ecr:eu-central-1:100000000001:repository/orca-01j00000000000000000000000"
  }

  assert {
    condition     = length([for statement in data.aws_iam_policy_document.instance.statement : statement if statement.sid == "OwnImages" && toset(statement.resources) == toset([var.repository_arn])]) == 1
    error_message = "An instance pushes to and pulls from its workspace's repository."
  }

  assert {
    condition     = alltrue([for statement in data.aws_iam_policy_document.instance.statement : !contains(statement.actions, "ecr:*") && !contains(statement.actions, "ecr:DeleteRepository")])
    error_message = "It does nothing else there."
  }
}

run "no_repository_no_right" {
  command = plan

  assert {
    condition     = alltrue([for statement in data.aws_iam_policy_document.instance.statement : !contains(["EnterRegistry", "OwnImages"], statement.sid)])
    error_message = "Without a repository there is nothing of ECR in the policy."
  }
}
