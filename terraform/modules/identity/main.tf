locals {
  instance_name = "${var.name}-instance"
  boundary      = var.permissions_boundary_arn == "" ? null : var.permissions_boundary_arn
}

# What an instance may do.

data "aws_iam_policy_document" "instance_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "instance" {
  statement {
    sid       = "ListOwnBucket"
    actions   = ["s3:ListBucket", "s3:ListBucketMultipartUploads", "s3:GetBucketLocation"]
    resources = [var.bucket_arn]
  }

  statement {
    sid = "OwnObjects"
    actions = [
      "s3:GetObject",
      "s3:PutObject",
      "s3:DeleteObject",
      "s3:AbortMultipartUpload",
      "s3:ListMultipartUploadParts",
    ]
    resources = ["${var.bucket_arn}/*"]
  }

  # The portal says what an instance should do; an instance must not be able to say it to itself.
  statement {
    sid       = "ControlIsReadOnly"
    effect    = "Deny"
    actions   = ["s3:PutObject", "s3:DeleteObject"]
    resources = ["${var.bucket_arn}/control/*"]
  }

  statement {
    sid = "TakeTasks"
    actions = [
      "sqs:ReceiveMessage",
      "sqs:DeleteMessage",
      "sqs:ChangeMessageVisibility",
      "sqs:GetQueueAttributes",
      "sqs:GetQueueUrl",
    ]
    resources = [var.tasks_queue_arn]
  }

  statement {
    sid       = "ReportEvents"
    actions   = ["sqs:SendMessage"]
    resources = [var.events_queue_arn]
  }

  # Names end with a hyphen and six characters that Secrets Manager makes up. Reading is all: the portal writes.
  statement {
    sid       = "ReadOwnSecrets"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = ["${var.secrets_arn_prefix}*"]
  }

  statement {
    sid       = "FetchAgent"
    actions   = ["s3:GetObject"]
    resources = ["${var.agent_bucket_arn}/agents/*"]
  }

  # The token opens only what the role may do anyway.
  dynamic "statement" {
    for_each = var.repository_arn == "" ? [] : [1]

    content {
      sid       = "EnterRegistry"
      actions   = ["ecr:GetAuthorizationToken"]
      resources = ["*"]
    }
  }

  dynamic "statement" {
    for_each = var.repository_arn == "" ? [] : [1]

    content {
      sid = "OwnImages"
      actions = [
        "ecr:BatchCheckLayerAvailability",
        "ecr:BatchGetImage",
        "ecr:CompleteLayerUpload",
        "ecr:GetDownloadUrlForLayer",
        "ecr:InitiateLayerUpload",
        "ecr:PutImage",
        "ecr:UploadLayerPart",
      ]
      resources = [var.repository_arn]
    }
  }
}

resource "aws_iam_role" "instance" {
  name                 = local.instance_name
  description          = "What the instances of an Orca workspace may do."
  assume_role_policy   = data.aws_iam_policy_document.instance_trust.json
  permissions_boundary = local.boundary
}

resource "aws_iam_role_policy" "instance" {
  name   = "workspace"
  role   = aws_iam_role.instance.id
  policy = data.aws_iam_policy_document.instance.json
}

resource "aws_iam_instance_profile" "instance" {
  name = local.instance_name
  role = aws_iam_role.instance.name
}

# What the person may do.

data "aws_iam_policy_document" "user_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "AWS"
      identifiers = [var.user_principal_arn]
    }

    condition {
      test     = "StringEquals"
      variable = "sts:ExternalId"
      values   = [var.user_external_id]
    }
  }
}

data "aws_iam_policy_document" "user" {
  statement {
    sid       = "ListOwnBucket"
    actions   = ["s3:ListBucket", "s3:ListBucketMultipartUploads", "s3:GetBucketLocation"]
    resources = [var.bucket_arn]
  }

  statement {
    sid = "OwnObjects"
    actions = [
      "s3:GetObject",
      "s3:PutObject",
      "s3:DeleteObject",
      "s3:AbortMultipartUpload",
      "s3:ListMultipartUploadParts",
    ]
    resources = ["${var.bucket_arn}/*"]
  }

  # Here lies the key with which the instances sign what they report.
  statement {
    sid       = "ControlIsClosed"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = ["${var.bucket_arn}/control/*"]
  }
}

resource "aws_iam_role" "user" {
  name                 = "${var.name}-user"
  description          = "What the person of an Orca workspace may do with their own bucket."
  assume_role_policy   = data.aws_iam_policy_document.user_trust.json
  permissions_boundary = local.boundary
}

resource "aws_iam_role_policy" "user" {
  name   = "workspace"
  role   = aws_iam_role.user.id
  policy = data.aws_iam_policy_document.user.json
}
