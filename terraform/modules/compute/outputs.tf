output "instance_ids" {
  description = "Ids of the instances, in the order of their numbers."
  value       = aws_instance.this[*].id
}

output "public_ips" {
  description = "Public addresses of the instances, in the order of their numbers; empty for one that is stopped."
  value       = aws_instance.this[*].public_ip
}

output "private_ips" {
  description = "Private addresses of the instances, in the order of their numbers."
  value       = aws_instance.this[*].private_ip
}

output "security_group_id" {
  description = "Id of the security group of the instances."
  value       = aws_security_group.this.id
}
