"""The pages."""

from __future__ import annotations

from django.urls import URLPattern, path

from portal.web.views import (
    account,
    clouds,
    dashboard,
    device,
    notifications,
    runs,
    schedules,
    scripts,
    secrets,
    terraform_runs,
    workspaces,
)
from portal.web.views.health import healthz

_workspace = "workspaces/<slug:workspace_id>/"
_terraform = "terraform-runs/<slug:run_id>/"
_script = "scripts/<slug:script_id>/"
_schedule = "schedules/<slug:schedule_id>/"
_run = "runs/<slug:run_id>/"
_notification = "notifications/<slug:notification_id>/"
_cloud = "clouds/<slug:account_id>/"
_step = _run + "steps/<slug:step_id>/"

urlpatterns: list[URLPattern] = [
    path("", dashboard.dashboard, name="dashboard"),
    path("live/", dashboard.dashboard_live, name="dashboard_live"),
    path("healthz", healthz, name="healthz"),
    path("workspaces/", workspaces.workspace_list, name="workspace_list"),
    path("workspaces/live/", workspaces.workspace_list_live, name="workspace_list_live"),
    path("workspaces/new/", workspaces.workspace_new, name="workspace_new"),
    path(_workspace, workspaces.workspace, name="workspace"),
    path(_workspace + "live/", workspaces.workspace_live, name="workspace_live"),
    path(_workspace + "stop/", workspaces.workspace_stop, name="workspace_stop"),
    path(_workspace + "start/", workspaces.workspace_start, name="workspace_start"),
    path(_workspace + "apply/", workspaces.workspace_apply, name="workspace_apply"),
    path(_workspace + "destroy/", workspaces.workspace_destroy, name="workspace_destroy"),
    path(_workspace + "credentials/", workspaces.workspace_credentials, name="workspace_credentials"),
    path(_workspace + "secrets/", secrets.secret_list, name="secret_list"),
    path(_workspace + "secrets/save/", secrets.secret_save, name="secret_save"),
    path(_workspace + "secrets/<slug:secret_name>/delete/", secrets.secret_delete, name="secret_delete"),
    path(_terraform, terraform_runs.terraform_run, name="terraform_run"),
    path(_terraform + "live/", terraform_runs.terraform_run_live, name="terraform_run_live"),
    path(_terraform + "approve/", terraform_runs.terraform_run_yes, name="terraform_run_approve"),
    path(_terraform + "cancel/", terraform_runs.terraform_run_stop, name="terraform_run_cancel"),
    path("scripts/", scripts.script_list, name="script_list"),
    path("scripts/new/", scripts.script_new, name="script_new"),
    path(_script, scripts.script, name="script"),
    path(_script + "upload/", scripts.script_upload, name="script_upload"),
    path(_script + "archive/", scripts.script_archive, name="script_archive"),
    path(_script + "run/", scripts.script_run, name="script_run"),
    path("schedules/", schedules.schedule_list, name="schedule_list"),
    path("schedules/live/", schedules.schedule_list_live, name="schedule_list_live"),
    path("schedules/new/", schedules.schedule_new, name="schedule_new"),
    path("schedules/preview/", schedules.schedule_preview, name="schedule_preview"),
    path(_schedule, schedules.schedule, name="schedule"),
    path(_schedule + "live/", schedules.schedule_live, name="schedule_live"),
    path(_schedule + "edit/", schedules.schedule_edit, name="schedule_edit"),
    path(_schedule + "enable/", schedules.schedule_enable, name="schedule_enable"),
    path(_schedule + "disable/", schedules.schedule_disable, name="schedule_disable"),
    path(_schedule + "run/", schedules.schedule_run, name="schedule_run"),
    path(_schedule + "delete/", schedules.schedule_delete, name="schedule_delete"),
    path("runs/", runs.run_list, name="run_list"),
    path(_run, runs.run, name="run"),
    path(_run + "live/", runs.run_live, name="run_live"),
    path(_run + "cancel/", runs.run_cancel, name="run_cancel"),
    path(_run + "again/", runs.run_again, name="run_again"),
    path(_step + "log/", runs.step_log, name="step_log"),
    path(_step + "outputs/<path:path>", runs.step_output, name="step_output"),
    path(_step + "preview/<path:path>", runs.step_preview, name="step_preview"),
    path("notifications/", notifications.notification_list, name="notification_list"),
    path("notifications/new/", notifications.notification_new, name="notification_new"),
    path(_notification, notifications.notification, name="notification"),
    path(_notification + "live/", notifications.notification_live, name="notification_live"),
    path(_notification + "edit/", notifications.notification_edit, name="notification_edit"),
    path(_notification + "test/", notifications.notification_test, name="notification_test"),
    path(_notification + "secret/", notifications.notification_secret, name="notification_secret"),
    path(_notification + "switch/", notifications.notification_switch, name="notification_switch"),
    path(_notification + "delete/", notifications.notification_delete, name="notification_delete"),
    path(_notification + "deliveries/<slug:delivery_id>/again/", notifications.delivery_again, name="delivery_again"),
    path("device/", device.device, name="device"),
    path("clouds/", clouds.cloud_list, name="cloud_list"),
    path("clouds/new/", clouds.cloud_new, name="cloud_new"),
    path(_cloud, clouds.cloud, name="cloud"),
    path(_cloud + "template/", clouds.cloud_template, name="cloud_template"),
    path(_cloud + "module/", clouds.cloud_module, name="cloud_module"),
    path(_cloud + "check/", clouds.cloud_check, name="cloud_check"),
    path(_cloud + "rotate/", clouds.cloud_rotate, name="cloud_rotate"),
    path(_cloud + "rotate/finish/", clouds.cloud_rotate_finish, name="cloud_rotate_finish"),
    path(_cloud + "rotate/cancel/", clouds.cloud_rotate_cancel, name="cloud_rotate_cancel"),
    path(_cloud + "unlink/", clouds.cloud_unlink, name="cloud_unlink"),
    path("account/", account.account, name="account"),
    path("account/name/", account.account_name, name="account_name"),
    path("account/ssh-keys/", account.ssh_key_add, name="ssh_key_add"),
    path("account/ssh-keys/<slug:key_id>/remove/", account.ssh_key_remove, name="ssh_key_remove"),
    path("account/tokens/", account.token_add, name="token_add"),
    path("account/tokens/<slug:token_id>/remove/", account.token_remove, name="token_remove"),
]
