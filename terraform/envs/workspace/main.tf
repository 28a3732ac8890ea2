data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}

locals {
  name        = "orca-${var.workspace_id}"
  bucket_name = local.name
  tasks_name  = "${local.name}-tasks.fifo"
  partition   = data.aws_partition.current.partition
  account_id  = data.aws_caller_identity.current.account_id
  has_agents  = !var.data_only

  # Known by name, as the rest is: nothing waits for it.
  repository_arn = "arn:${local.partition}:ecr:${var.region}:${local.account_id}:repository/${local.name}"
  repository_url = "${local.account_id}.dkr.ecr.${var.region}.${data.aws_partition.current.dns_suffix}/${local.name}"
}

# Roles and instances know the bucket and the queues by name only. An instance that waited for them would boot half a
# minute later; its agent looks for them until they are there.

module "storage" {
  source = "../../modules/storage"

  bucket_name      = local.bucket_name
  has_agents       = local.has_agents
  request_metrics  = var.request_metrics
  data_destroyable = var.data_only

  agent_settings = jsonencode({
    version          = 1
    workspace        = var.workspace_id
    region           = var.region
    bucket           = local.bucket_name
    tasks_queue      = local.tasks_name
    events_queue_url = var.events_queue_url
    signing_key      = var.signing_key
    slots            = var.slots
    registry         = var.registry ? local.repository_url : ""
  })
}

module "queue" {
  source = "../../modules/queue"
  count  = local.has_agents ? 1 : 0

  name = local.name
}

module "registry" {
  source = "../../modules/registry"
  count  = local.has_agents && var.registry ? 1 : 0

  name = local.name
}

module "identity" {
  source = "../../modules/identity"
  count  = local.has_agents ? 1 : 0

  name               = local.name
  bucket_arn         = "arn:${local.partition}:s3:::${local.bucket_name}"
  tasks_queue_arn    = "arn:${local.partition}:sqs:${var.region}:${local.account_id}:${local.tasks_name}"
  events_queue_arn   = var.events_queue_arn
  agent_bucket_arn   = "arn:${local.partition}:s3:::${var.agent.bucket}"
  secrets_arn_prefix = "arn:${local.partition}:secretsmanager:${var.region}:${local.account_id}:secret:orca/${var.workspace_id}/"
  repository_arn     = var.registry ? local.repository_arn : ""
  user_principal_arn = var.user_principal_arn
  user_external_id   = var.user_external_id

  permissions_boundary_arn = var.permissions_boundary_arn
}

module "compute" {
  source = "../../modules/compute"
  count  = local.has_agents ? 1 : 0

  name                  = local.name
  workspace_id          = var.workspace_id
  region                = var.region
  bucket_name           = local.bucket_name
  instance_profile_name = module.identity[0].instance_profile_name
  instance_type         = var.instance_type
  instance_count        = var.instance_count
  volume_gb             = var.volume_gb
  image_id              = var.image_id
  agent                 = var.agent
  ssh_cidrs             = var.ssh_cidrs
}
