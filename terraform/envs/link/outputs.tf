output "role_arn" {
  description = "ARN of the role; tell it to Orca."
  value       = aws_iam_role.this.arn
}

output "account_id" {
  description = "Twelve digits of the account that was linked."
  value       = local.account_id
}

output "boundary_arn" {
  description = "ARN of the policy that bounds whatever runs in a workspace."
  value       = aws_iam_policy.boundary.arn
}
