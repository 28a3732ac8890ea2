mock_provider "aws" {}

variables {
  name = "orca-01j00000000000000000000000"
}

run "a_repository_that_keeps_little" {
  command = apply

  assert {
    condition     = aws_ecr_repository.this.name == "orca-01j00000000000000000000000" && aws_ecr_repository.this.image_tag_mutability == "IMMUTABLE"
    error_message = "The repository has the workspace's name, and its tags cannot be moved."
  }

  assert {
    condition     = aws_ecr_repository.this.force_delete
    error_message = "Images do not keep a workspace from being destroyed."
  }

  assert {
    condition     = jsondecode(aws_ecr_lifecycle_policy.this.policy).rules[0].selection.countNumber == 50
    error_message = "Old images go."
  }
}

run "wishes_with_bounds" {
  command = plan

  variables {
    name        = "somebody-elses"
    images_kept = 0
  }

  expect_failures = [var.name, var.images_kept]
}
