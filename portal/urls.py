"""Every address of the portal. A route that is not known to the isolation test fails it."""

from __future__ import annotations

from importlib.util import find_spec

from allauth.account.decorators import secure_admin_login
from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from portal.web.views.attention import attention
from portal.web.views.usage import costs

admin.site.site_header = admin.site.site_title = "Orca administration"
admin.site.index_title = "What is there"
# Administrators come in through the same door as everybody: second factor, lock-out and all.
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]

api = [
    include(f"portal.{module}")
    for module in (
        "accounts.api",
        "clouds.api",
        "workspaces.api",
        "pipelines.scripts_api",
        "pipelines.api",
        "pipelines.pipelines_api",
        "schedules.api",
        "notices.api",
        "usage.api",
        "usage.budget_api",
        "jobs.api",
    )
    if find_spec(f"portal.{module}")
]

urlpatterns: list[URLPattern | URLResolver] = [
    path("admin/costs/", admin.site.admin_view(costs), name="admin_costs"),
    path("admin/attention/", admin.site.admin_view(attention), name="admin_attention"),
    path("admin/", admin.site.urls),
    path("accounts/", include("allauth.urls")),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs/", SpectacularSwaggerSplitView.as_view(url_name="schema"), name="docs"),
    *(path("api/v1/", routes) for routes in api),
    path("", include("portal.web.urls")),
]

handler400 = "portal.web.views.errors.bad_request"
handler403 = "portal.web.views.errors.forbidden"
handler404 = "portal.web.views.errors.not_found"
handler429 = "portal.web.views.errors.too_many"
handler500 = "portal.web.views.errors.fault"
