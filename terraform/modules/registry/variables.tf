variable "name" {
  description = "Name of the repository: that of the workspace's resources."
  type        = string

  validation {
    condition     = can(regex("^orca-[0-9a-hjkmnp-tv-z]{26}$", var.name))
    error_message = "The name is orca- and the workspace's id."
  }
}

variable "images_kept" {
  description = "How many images stay; those pushed longest ago go first."
  type        = number
  default     = 50
  nullable    = false

  validation {
    condition     = var.images_kept >= 1 && var.images_kept <= 1000 && floor(var.images_kept) == var.images_kept
    error_message = "From 1 to 1000 images stay."
  }
}
