data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}

locals {
  account_id = data.aws_caller_identity.current.account_id
  partition  = data.aws_partition.current.partition
  known      = { account_id = local.account_id, role_name = var.role_name }

  # Both files are written by Orca itself, so that what it asks for here is what it builds with; see README.md.
  permissions = replace(templatefile("${path.module}/permissions.json.tftpl", local.known), "arn:aws:", "arn:${local.partition}:")
  boundary    = replace(templatefile("${path.module}/boundary.json.tftpl", local.known), "arn:aws:", "arn:${local.partition}:")

  external_ids = compact([var.external_id, var.next_external_id])
}

# Orca's account alone may assume the role, and only with what Orca made for this link: nobody can have Orca build here
# by telling it the name of somebody else's role.
data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "AWS"
      identifiers = ["arn:${local.partition}:iam::${var.orca_account_id}:root"]
    }

    condition {
      test     = "StringEquals"
      variable = "sts:ExternalId"
      values   = local.external_ids
    }
  }
}

resource "aws_iam_policy" "boundary" {
  #checkov:skip=CKV_AWS_288:It grants nothing: it is the most that roles of workspaces may be granted, their own bucket.
  #checkov:skip=CKV_AWS_289:It names neither IAM nor anything else that manages permissions.
  name        = "${var.role_name}-boundary"
  description = "The most that anything in a workspace of Orca's may do, whatever its own policy says."
  policy      = local.boundary
}

resource "aws_iam_role" "this" {
  name                 = var.role_name
  description          = "Orca builds workspaces in this account with this role."
  assume_role_policy   = data.aws_iam_policy_document.trust.json
  max_session_duration = 3600
}

resource "aws_iam_role_policy" "this" {
  name   = "build-workspaces"
  role   = aws_iam_role.this.id
  policy = local.permissions
}
