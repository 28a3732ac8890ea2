variable "bucket_name" {
  description = "Name of the workspace's bucket, unique in all of AWS."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.bucket_name))
    error_message = "A bucket name has 3 to 63 lower-case letters, digits and hyphens, and neither starts nor ends with a hyphen."
  }
}

variable "agent_settings" {
  description = "JSON document that the workspace's agents read at control/agent.json. It holds the signing key. Null leaves the object out."
  type        = string
  default     = null
  sensitive   = true

  validation {
    condition     = var.agent_settings == null || can(jsondecode(var.agent_settings))
    error_message = "The agent settings are a JSON document."
  }
}

variable "has_agents" {
  description = "Whether agents run in the workspace, so that control/agent.json is written. Apart from agent_settings because a count may not hang on a secret."
  type        = bool
  default     = true
  nullable    = false
}

variable "request_metrics" {
  description = "Whether S3 publishes request metrics of the bucket in CloudWatch, which charges for them as for custom metrics. Without them nobody knows what was downloaded."
  type        = bool
  default     = true
  nullable    = false
}

variable "data_destroyable" {
  description = "Whether destroying the bucket may delete the objects in it. False makes AWS refuse to destroy a bucket that holds data."
  type        = bool
  default     = false
  nullable    = false
}
