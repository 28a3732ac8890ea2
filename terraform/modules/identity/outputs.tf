output "instance_profile_name" {
  description = "Name of the instance profile that gives instances their role."
  value       = local.instance_name

  # Not the profile itself: the provider waits some seconds after making it, and an instance should not. EC2 tells
  # when it does not know a profile yet, and the provider then tries again. The policy comes first, and goes last:
  # an instance that stops still has something to report.
  depends_on = [aws_iam_role_policy.instance]
}

output "instance_role_arn" {
  description = "ARN of the role that instances run under."
  value       = aws_iam_role.instance.arn
}

output "user_role_arn" {
  description = "ARN of the role that gives the person their own bucket."
  value       = aws_iam_role.user.arn
}
