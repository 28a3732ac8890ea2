variable "name" {
  description = "Name of the workspace's resources; the queues are called <name>-tasks.fifo and <name>-tasks-dead.fifo."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,60}$", var.name))
    error_message = "The name has 1 to 60 letters, digits, hyphens and underscores: SQS allows 80 with the suffix."
  }
}

variable "visibility_timeout_seconds" {
  description = "How long a task stays hidden after an agent has received it. The agent renews this while it works, so it bounds how late a crash is noticed."
  type        = number
  default     = 60
  nullable    = false

  validation {
    condition     = var.visibility_timeout_seconds >= 10 && var.visibility_timeout_seconds <= 43200
    error_message = "The visibility timeout is 10 to 43200 seconds."
  }
}

variable "max_receive_count" {
  description = "How often a task is handed out before SQS moves it to the dead-letter queue. An agent that gives a task back counts as one."
  type        = number
  default     = 10
  nullable    = false

  validation {
    condition     = var.max_receive_count >= 1 && var.max_receive_count <= 1000
    error_message = "The receive count is 1 to 1000."
  }
}

variable "retention_seconds" {
  description = "How long SQS keeps a message that nobody takes, in both queues."
  type        = number
  default     = 1209600
  nullable    = false

  validation {
    condition     = var.retention_seconds >= 60 && var.retention_seconds <= 1209600
    error_message = "The retention is 60 to 1209600 seconds."
  }
}
