variable "external_id" {
  description = "The ExternalId that Orca shows for this link. It has to come with every request for the role."
  type        = string

  validation {
    condition     = length(var.external_id) <= 1224 && can(regex("^[A-Za-z0-9+=,.@:/_-]{16,}$", var.external_id))
    error_message = "Copy the ExternalId as Orca shows it: at least 16 letters, digits and + = , . @ : / _ -."
  }
}

variable "next_external_id" {
  description = "While the ExternalId is being exchanged: the new one, let in beside the old one. Empty otherwise."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = var.next_external_id == "" || (length(var.next_external_id) <= 1224 && can(regex("^[A-Za-z0-9+=,.@:/_-]{16,}$", var.next_external_id)))
    error_message = "Copy the ExternalId as Orca shows it: at least 16 letters, digits and + = , . @ : / _ -."
  }
}

variable "orca_account_id" {
  description = "Twelve digits of the account that Orca itself runs in: it alone may assume the role."
  type        = string

  validation {
    condition     = can(regex("^[0-9]{12}$", var.orca_account_id))
    error_message = "An account id has twelve digits."
  }
}

variable "region" {
  description = "AWS region to call. IAM is the same in all of them."
  type        = string
  default     = "eu-central-1"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "The region looks like eu-central-1."
  }
}

variable "role_name" {
  description = "Name of the role. Give each link into the same account one of its own."
  type        = string
  default     = "orca-link"
  nullable    = false

  validation {
    condition     = can(regex("^orca-[a-z][A-Za-z0-9-]{1,48}$", var.role_name))
    error_message = "The role's name begins with orca- and a letter, and goes on with letters, digits and hyphens."
  }
}
