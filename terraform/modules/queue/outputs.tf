output "tasks_queue_url" {
  description = "URL of the FIFO queue that carries tasks to the workspace's agents."
  value       = aws_sqs_queue.tasks.url
}

output "tasks_queue_arn" {
  description = "ARN of the tasks queue."
  value       = aws_sqs_queue.tasks.arn
}

output "dead_queue_url" {
  description = "URL of the queue that holds tasks which were handed out too often."
  value       = aws_sqs_queue.dead.url
}

output "dead_queue_arn" {
  description = "ARN of the dead-letter queue."
  value       = aws_sqs_queue.dead.arn
}
