variable "workspace_id" {
  description = "Id of the workspace: a ULID in lower case. Every name is made of it."
  type        = string

  validation {
    condition     = can(regex("^[0-9a-hjkmnp-tv-z]{26}$", var.workspace_id))
    error_message = "The workspace id is a ULID: 26 lower-case letters and digits without i, l, o and u."
  }
}

variable "region" {
  description = "AWS region that the workspace lives in."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "The region looks like eu-central-1."
  }
}

variable "s3_use_path_style" {
  description = "Whether S3 is reached as endpoint/bucket instead of bucket.endpoint. True for an endpoint of one's own that has no name for each bucket."
  type        = bool
  default     = false
  nullable    = false
}

variable "provisioner_role_arn" {
  description = "Role in the account of the workspace that Terraform assumes; empty works with the credentials of the environment."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = var.provisioner_role_arn == "" || can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:role/.+$", var.provisioner_role_arn))
    error_message = "The provisioner role is empty or the ARN of a role."
  }
}

variable "provisioner_external_id" {
  description = "ExternalId that the provisioner role asks for; empty sends none."
  type        = string
  default     = ""
  nullable    = false
  sensitive   = true
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

variable "instance_type" {
  description = "EC2 instance type. A change resizes the instances in place, which restarts them."
  type        = string
  default     = "t3.medium"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]*\\.[a-z0-9-]+$", var.instance_type))
    error_message = "The instance type looks like t3.medium."
  }
}

variable "instance_count" {
  description = "How many instances the workspace has. A lower number terminates those with the highest numbers, with their volumes."
  type        = number
  default     = 1
  nullable    = false

  validation {
    condition     = var.instance_count >= 0 && var.instance_count <= 100 && floor(var.instance_count) == var.instance_count
    error_message = "The number of instances is a whole number from 0 to 100."
  }
}

variable "volume_gb" {
  description = "Size of each instance's root volume in GiB. It can grow in place, never shrink."
  type        = number
  default     = 20
  nullable    = false

  validation {
    condition     = var.volume_gb >= 8 && var.volume_gb <= 16384 && floor(var.volume_gb) == var.volume_gb
    error_message = "The volume has 8 to 16384 GiB."
  }
}

variable "image_id" {
  description = "Machine image of new instances; empty takes the newest Amazon Linux 2023 for the instance type's processor."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = var.image_id == "" || can(regex("^ami-[0-9a-f]{8,17}$", var.image_id))
    error_message = "The image is empty or an id like ami-0123456789abcdef0."
  }
}

variable "slots" {
  description = "How many steps an instance runs at once."
  type        = number
  default     = 2
  nullable    = false

  validation {
    condition     = var.slots >= 1 && var.slots <= 256 && floor(var.slots) == var.slots
    error_message = "The number of slots is a whole number from 1 to 256."
  }
}

variable "agent" {
  description = "Archive of the agent that new instances start with: bucket, key under agents/ and SHA-256 of the content."
  type = object({
    bucket = string
    key    = string
    sha256 = string
  })
}

variable "events_queue_url" {
  description = "URL of the platform's events queue, to which agents report."
  type        = string

  validation {
    condition     = can(regex("^https?://[^\\s\"]+$", var.events_queue_url))
    error_message = "The queue URL starts with http:// or https://."
  }
}

variable "events_queue_arn" {
  description = "ARN of the platform's events queue."
  type        = string

  validation {
    condition     = can(regex("^arn:aws[a-z-]*:sqs:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_.-]+$", var.events_queue_arn))
    error_message = "The queue ARN looks like arn:aws:sqs:region:account:name."
  }
}

variable "signing_key" {
  description = "Key with which the workspace's agents sign what they report: 32 bytes in hexadecimal."
  type        = string
  sensitive   = true

  validation {
    condition     = can(regex("^[0-9a-f]{64}$", var.signing_key))
    error_message = "The signing key is 64 lower-case hexadecimal digits."
  }
}

variable "ssh_cidrs" {
  description = "Networks from which SSH is let in, IPv4 or IPv6. Empty closes the port."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for cidr in var.ssh_cidrs : can(cidrhost(cidr, 0))])
    error_message = "Each network is written like 203.0.113.0/24 or 2001:db8::/32."
  }
}

variable "registry" {
  description = "Whether the workspace has a repository for the images that its instances build. Not where they share one engine."
  type        = bool
  default     = false
  nullable    = false
}

variable "request_metrics" {
  description = "Whether S3 publishes request metrics of the bucket in CloudWatch, which charges for them as for custom metrics."
  type        = bool
  default     = true
  nullable    = false
}

variable "data_only" {
  description = "Keep only the bucket: the workspace is destroyed, its data is not. Only a workspace in this state lets its data be destroyed too."
  type        = bool
  default     = false
  nullable    = false
}
