variable "name" {
  description = "Name of the workspace's resources; the roles are called <name>-instance and <name>-user."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,55}$", var.name))
    error_message = "The name has 1 to 55 letters, digits, hyphens and underscores: IAM allows 64 with the suffix."
  }
}

variable "bucket_arn" {
  description = "ARN of the workspace's bucket. May be made from the bucket's name, so that the roles do not wait for it."
  type        = string

  validation {
    condition     = can(regex("^arn:aws[a-z-]*:s3:::[a-z0-9.-]+$", var.bucket_arn))
    error_message = "The bucket ARN looks like arn:aws:s3:::name."
  }
}

variable "tasks_queue_arn" {
  description = "ARN of the workspace's tasks queue. May be made from the queue's name."
  type        = string

  validation {
    condition     = can(regex("^arn:aws[a-z-]*:sqs:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_.-]+$", var.tasks_queue_arn))
    error_message = "The queue ARN looks like arn:aws:sqs:region:account:name."
  }
}

variable "events_queue_arn" {
  description = "ARN of the platform's events queue, to which agents report."
  type        = string

  validation {
    condition     = can(regex("^arn:aws[a-z-]*:sqs:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_.-]+$", var.events_queue_arn))
    error_message = "The queue ARN looks like arn:aws:sqs:region:account:name."
  }
}

variable "agent_bucket_arn" {
  description = "ARN of the platform's bucket, whose agents/ folder instances may read."
  type        = string

  validation {
    condition     = can(regex("^arn:aws[a-z-]*:s3:::[a-z0-9.-]+$", var.agent_bucket_arn))
    error_message = "The bucket ARN looks like arn:aws:s3:::name."
  }
}

variable "secrets_arn_prefix" {
  description = "What the ARNs of the workspace's secrets begin with; ends with a slash, so that no other name begins with it."
  type        = string

  validation {
    condition = can(regex(
      "^arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[A-Za-z0-9_+=.@-]+/[A-Za-z0-9_+=.@-]+/$", var.secrets_arn_prefix
    ))
    error_message = "The prefix looks like arn:aws:secretsmanager:region:account:secret:orca/name/."
  }
}

variable "user_principal_arn" {
  description = "Who may assume the person's role: the root ARN of an account, or one role or user."
  type        = string

  validation {
    condition     = can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:(root|role/.+|user/.+)$", var.user_principal_arn))
    error_message = "The principal is the ARN of an account's root, of a role or of a user."
  }
}

variable "user_external_id" {
  description = "ExternalId that has to come with a request for the person's role."
  type        = string

  validation {
    condition     = length(var.user_external_id) <= 1224 && can(regex("^[A-Za-z0-9+=,.@:/-]{2,}$", var.user_external_id))
    error_message = "An ExternalId has 2 to 1224 letters, digits and + = , . @ : / -."
  }
}

variable "permissions_boundary_arn" {
  description = "Policy that bounds what the roles may do, whatever their own policies say; empty for none."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = var.permissions_boundary_arn == "" || can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:policy/.+$", var.permissions_boundary_arn))
    error_message = "The boundary is empty or the ARN of a policy."
  }
}

variable "repository_arn" {
  description = "ARN of the repository for the workspace's images; empty for none."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = var.repository_arn == "" || can(regex("^arn:aws[a-z-]*:ecr:[a-z0-9-]+:[0-9]{12}:repository/.+$", var.repository_arn))
    error_message = "The repository is empty or an ARN of ECR."
  }
}
