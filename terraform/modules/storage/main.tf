resource "aws_s3_bucket" "this" {
  #checkov:skip=CKV_AWS_18:Access logs would need a second bucket for each person; CloudTrail data events are the account's choice.
  #checkov:skip=CKV_AWS_21:Outputs are written once, under the attempt that made them; versions would double what a person pays for.
  #checkov:skip=CKV_AWS_144:A copy in another region is the person's to decide and to pay.
  #checkov:skip=CKV_AWS_145:Encrypted with S3's own key; a KMS key for each workspace costs more than many workspaces.
  #checkov:skip=CKV2_AWS_61:Nothing of a person's data disappears by itself.
  #checkov:skip=CKV2_AWS_62:Nobody waits for the bucket: agents report what they wrote.
  bucket        = var.bucket_name
  force_destroy = var.data_destroyable
}

resource "aws_s3_bucket_ownership_controls" "this" {
  bucket = aws_s3_bucket.this.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_public_access_block" "this" {
  bucket = aws_s3_bucket.this.id

  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  bucket = aws_s3_bucket.this.id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

data "aws_partition" "current" {}

locals {
  arn = "arn:${data.aws_partition.current.partition}:s3:::${var.bucket_name}"
}

data "aws_iam_policy_document" "tls_only" {
  statement {
    sid       = "RefuseWithoutTls"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [local.arn, "${local.arn}/*"]

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

resource "aws_s3_bucket_policy" "tls_only" {
  bucket = aws_s3_bucket.this.id
  policy = data.aws_iam_policy_document.tls_only.json

  # S3 answers "conflicting operation" when a policy and the public access block are set at the same moment.
  depends_on = [aws_s3_bucket_public_access_block.this]
}

# S3 says by the minute what was asked of the bucket and how much went out of it: what AWS bills for, counted by AWS.
resource "aws_s3_bucket_metric" "requests" {
  count = var.request_metrics ? 1 : 0

  bucket = aws_s3_bucket.this.id
  name   = "EntireBucket"
}

resource "aws_s3_object" "agent_settings" {
  count = var.has_agents ? 1 : 0

  bucket       = aws_s3_bucket.this.id
  key          = "control/agent.json"
  content      = var.agent_settings
  content_type = "application/json"
}
