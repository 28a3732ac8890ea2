variable "name" {
  description = "Name of the workspace's resources: the security group carries it, the instances are called <name>-1, <name>-2 and so on."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,60}$", var.name))
    error_message = "The name has 1 to 60 letters, digits, hyphens and underscores."
  }
}

variable "workspace_id" {
  description = "Id of the workspace, which the agent reports under."
  type        = string

  validation {
    condition     = can(regex("^[0-9a-z]{4,32}$", var.workspace_id))
    error_message = "A workspace id has 4 to 32 lower-case letters and digits."
  }
}

variable "region" {
  description = "Region that the agent works in."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "The region looks like eu-central-1."
  }
}

variable "bucket_name" {
  description = "Name of the workspace's bucket, where the agent finds its settings."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.bucket_name))
    error_message = "A bucket name has 3 to 63 lower-case letters, digits, dots and hyphens."
  }
}

variable "instance_profile_name" {
  description = "Name of the instance profile that gives the instances their role."
  type        = string
}

variable "instance_type" {
  description = "EC2 instance type. A change resizes the instances in place, which restarts them."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]*\\.[a-z0-9-]+$", var.instance_type))
    error_message = "The instance type looks like t3.medium."
  }
}

variable "instance_count" {
  description = "How many instances the workspace has. A lower number terminates those with the highest numbers."
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

variable "agent" {
  description = "Archive of the agent that new instances start with: bucket, key and SHA-256 of the content. Running instances update themselves by control/desired.json."
  type = object({
    bucket = string
    key    = string
    sha256 = string
  })

  validation {
    condition     = can(regex("^[0-9a-f]{64}$", var.agent.sha256))
    error_message = "The agent's sha256 is 64 lower-case hexadecimal digits."
  }

  validation {
    condition     = can(regex("^agents/[A-Za-z0-9._/-]+$", var.agent.key))
    error_message = "The agent's key lies under agents/: instances may read nothing else of the platform's bucket."
  }

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.agent.bucket))
    error_message = "The agent's bucket has 3 to 63 lower-case letters, digits, dots and hyphens."
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
