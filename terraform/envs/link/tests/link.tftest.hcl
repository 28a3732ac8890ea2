mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }

  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }

  mock_data "aws_caller_identity" {
    defaults = { account_id = "200000000002" }
  }
}

variables {
  external_id     = "made-by-orca-for-this-link"
  orca_account_id = "100000000001"
}

run "only_orca_and_only_with_the_external_id" {
  command = plan

  assert {
    condition = (
      one(one(data.aws_iam_policy_document.trust.statement).principals).identifiers == toset(["arn:aws:iam::100000000001:root"])
      && one(one(data.aws_iam_policy_document.trust.statement).condition).variable == "sts:ExternalId"
      && one(one(data.aws_iam_policy_document.trust.statement).condition).test == "StringEquals"
      && one(one(data.aws_iam_policy_document.trust.statement).condition).values == tolist(["made-by-orca-for-this-link"])
    )
    error_message = "Orca's account with this link's ExternalId, and nobody else, may assume the role."
  }

  assert {
    condition     = aws_iam_role.this.max_session_duration == 3600
    error_message = "A session lasts an hour at most."
  }
}

run "both_external_ids_while_they_are_exchanged" {
  command = plan

  variables {
    next_external_id = "the-one-that-comes-next"
  }

  assert {
    condition     = one(one(data.aws_iam_policy_document.trust.statement).condition).values == tolist(["made-by-orca-for-this-link", "the-one-that-comes-next"])
    error_message = "The new one is let in beside the old one."
  }
}

run "least_privilege" {
  command = plan

  assert {
    condition = alltrue([
      for statement in jsondecode(aws_iam_role_policy.this.policy).Statement :
      statement.Resource != ["*"] || alltrue([for action in statement.Action : can(regex("^(cloudwatch:Get|ec2:Describe|sts:Get)", action))])
    ])
    error_message = "What is allowed everywhere only looks."
  }

  assert {
    condition = alltrue([
      for statement in jsondecode(aws_iam_role_policy.this.policy).Statement :
      try(statement.Condition.StringNotEquals["aws:ResourceAccount"], "") == "200000000002" && toset(statement.Action) == toset(["s3:GetObject", "s3:ListBucket"])
      if contains(statement.Resource, "arn:aws:s3:::*")
    ])
    error_message = "Buckets that are not called as workspaces' are read, in other accounts."
  }

  assert {
    condition = alltrue([
      for statement in jsondecode(aws_iam_role_policy.this.policy).Statement :
      try(statement.Condition.StringEquals["iam:PermissionsBoundary"], "") == "arn:aws:iam::200000000002:policy/orca-link-boundary"
      if contains(statement.Action, "iam:CreateRole") || contains(statement.Action, "iam:PutRolePolicy")
    ])
    error_message = "Roles are made within the boundary only."
  }

  assert {
    condition     = aws_iam_policy.boundary.name == "orca-link-boundary" && !strcontains(aws_iam_policy.boundary.policy, "iam:") && !strcontains(aws_iam_policy.boundary.policy, "ec2:")
    error_message = "The boundary lets nobody manage permissions or machines."
  }

  assert {
    condition     = !strcontains(aws_iam_role_policy.this.policy, "$${")
    error_message = "Account and role are filled in."
  }
}

run "a_role_of_another_name" {
  command = plan

  variables {
    role_name = "orca-link-two"
  }

  assert {
    condition     = strcontains(aws_iam_role_policy.this.policy, "policy/orca-link-two-boundary") && strcontains(aws_iam_role_policy.this.policy, "role/orca-link-two\"")
    error_message = "Each link has a boundary of its own, and may check itself."
  }
}

run "wishes_with_bounds" {
  command = plan

  variables {
    external_id      = "short"
    next_external_id = "with a space in the middle"
    orca_account_id  = "12"
    region           = "home"
    role_name        = "orca-0123"
  }

  expect_failures = [
    var.external_id, var.next_external_id, var.orca_account_id, var.region, var.role_name,
  ]
}
