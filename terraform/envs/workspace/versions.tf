terraform {
  required_version = ">= 1.10.0"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.60.0, < 6.0.0"
    }
  }

  # Bucket, region and path style come at init; see README.md.
  backend "s3" {
    key                  = "workspace.tfstate"
    workspace_key_prefix = "workspaces"
    use_lockfile         = true
    encrypt              = true
  }
}

provider "aws" {
  region            = var.region
  s3_use_path_style = var.s3_use_path_style

  dynamic "assume_role" {
    for_each = var.provisioner_role_arn == "" ? [] : [var.provisioner_role_arn]

    content {
      role_arn     = assume_role.value
      external_id  = var.provisioner_external_id == "" ? null : var.provisioner_external_id
      session_name = local.name
    }
  }

  default_tags {
    tags = {
      "orca:workspace"  = var.workspace_id
      "orca:managed-by" = "orca"
    }
  }
}
