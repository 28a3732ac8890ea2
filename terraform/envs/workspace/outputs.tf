output "bucket" {
  description = "Name of the workspace's bucket."
  value       = module.storage.bucket
}

output "bucket_arn" {
  description = "ARN of the workspace's bucket."
  value       = module.storage.bucket_arn
}

output "tasks_queue_url" {
  description = "URL of the queue that carries tasks to the agents; empty when only the data is kept."
  value       = try(module.queue[0].tasks_queue_url, "")
}

output "tasks_queue_arn" {
  description = "ARN of the tasks queue; empty when only the data is kept."
  value       = try(module.queue[0].tasks_queue_arn, "")
}

output "dead_queue_url" {
  description = "URL of the queue of tasks that were handed out too often; empty when only the data is kept."
  value       = try(module.queue[0].dead_queue_url, "")
}

output "instance_ids" {
  description = "Ids of the instances, in the order of their numbers."
  value       = try(module.compute[0].instance_ids, [])
}

output "public_ips" {
  description = "Public addresses of the instances, in the order of their numbers."
  value       = try(module.compute[0].public_ips, [])
}

output "private_ips" {
  description = "Private addresses of the instances, in the order of their numbers."
  value       = try(module.compute[0].private_ips, [])
}

output "instance_role_arn" {
  description = "ARN of the role that instances run under; empty when only the data is kept."
  value       = try(module.identity[0].instance_role_arn, "")
}

output "user_role_arn" {
  description = "ARN of the role that gives the person their own bucket; empty when only the data is kept."
  value       = try(module.identity[0].user_role_arn, "")
}
