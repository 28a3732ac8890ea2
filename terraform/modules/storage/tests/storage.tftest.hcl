mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }

  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
}

variables {
  bucket_name    = "orca-01j00000000000000000000000"
  agent_settings = "{\"version\":1}"
}

run "bucket_is_private_and_encrypted" {
  command = plan

  assert {
    condition     = aws_s3_bucket.this.bucket == "orca-01j00000000000000000000000"
    error_message = "The bucket carries the given name."
  }

  assert {
    condition = (
      aws_s3_bucket_public_access_block.this.block_public_acls
      && aws_s3_bucket_public_access_block.this.block_public_policy
      && aws_s3_bucket_public_access_block.this.ignore_public_acls
      && aws_s3_bucket_public_access_block.this.restrict_public_buckets
    )
    error_message = "Nothing in the bucket can be made public."
  }

  assert {
    condition     = one(aws_s3_bucket_server_side_encryption_configuration.this.rule).apply_server_side_encryption_by_default[0].sse_algorithm == "AES256"
    error_message = "The bucket is encrypted."
  }

  assert {
    condition     = one(aws_s3_bucket_ownership_controls.this.rule).object_ownership == "BucketOwnerEnforced"
    error_message = "The bucket's owner owns every object."
  }

  assert {
    condition = (
      one(data.aws_iam_policy_document.tls_only.statement).effect == "Deny"
      && one(one(data.aws_iam_policy_document.tls_only.statement).condition).variable == "aws:SecureTransport"
      && contains(one(data.aws_iam_policy_document.tls_only.statement).resources, "arn:aws:s3:::orca-01j00000000000000000000000/*")
    )
    error_message = "Requests without TLS are refused, for the objects too."
  }
}

run "data_outlives_a_plain_destroy" {
  command = plan

  assert {
    condition     = !aws_s3_bucket.this.force_destroy
    error_message = "A bucket that holds data cannot be destroyed by default."
  }
}

run "data_can_be_given_up" {
  command = plan

  variables {
    data_destroyable = true
  }

  assert {
    condition     = aws_s3_bucket.this.force_destroy
    error_message = "The second step destroys the data."
  }
}

run "agents_find_their_settings" {
  command = plan

  assert {
    condition     = aws_s3_object.agent_settings[0].key == "control/agent.json" && aws_s3_object.agent_settings[0].content == "{\"version\":1}"
    error_message = "The settings lie at control/agent.json as they were given."
  }
}

run "no_agents_no_settings" {
  command = plan

  variables {
    has_agents     = false
    agent_settings = null
  }

  assert {
    condition     = length(aws_s3_object.agent_settings) == 0
    error_message = "Without agents the signing key goes."
  }
}

run "requests_are_measured" {
  command = plan

  assert {
    condition     = aws_s3_bucket_metric.requests[0].name == "EntireBucket" && length(aws_s3_bucket_metric.requests[0].filter) == 0
    error_message = "S3 measures what is asked of all of the bucket, under the name that the portal asks for."
  }
}

run "measuring_can_be_switched_off" {
  command = plan

  variables {
    request_metrics = false
  }

  assert {
    condition     = length(aws_s3_bucket_metric.requests) == 0
    error_message = "Without it CloudWatch charges nothing."
  }
}

run "names_that_aws_refuses" {
  command = plan

  variables {
    bucket_name = "Orca_Bucket"
  }

  expect_failures = [var.bucket_name]
}

run "settings_are_json" {
  command = plan

  variables {
    agent_settings = "not json"
  }

  expect_failures = [var.agent_settings]
}
