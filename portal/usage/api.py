"""What was used and what it costs, for programs. Amounts are dollars as text, to the nano-dollar."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.urls import URLPattern, path, reverse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from portal.accounts.current import current_user
from portal.pipelines.selectors import run_bare
from portal.usage import exports, money, selectors
from portal.usage.statements import Statement


class Dollars(serializers.CharField):
    """Nano-dollars as dollars: ``1.234567891``."""

    def to_representation(self, value: Any) -> str:
        return money.written(value) or ""


class MonthOut(serializers.Serializer[Any]):
    month = serializers.CharField(help_text="Such as `2026-11`; UTC.")
    used = Dollars(help_text="Before deductions.")
    statement = serializers.CharField(help_text="Where it is.")


class UsageOut(serializers.Serializer[Any]):
    months = MonthOut(many=True, help_text="Those in which something was used, and this one; the newest first.")


class StatementLineOut(serializers.Serializer[Any]):
    name = serializers.CharField()
    id = serializers.CharField(help_text="Of the workspace or the script.")
    cost = Dollars(source="nano")


class KindOut(serializers.Serializer[Any]):
    kind = serializers.CharField()
    name = serializers.CharField()
    quantity = serializers.CharField()
    unit = serializers.CharField()
    cost = Dollars(source="nano")


class DeductionOut(serializers.Serializer[Any]):
    name = serializers.CharField()
    why = serializers.CharField()
    amount = Dollars(source="nano")


class StatementOut(serializers.Serializer[Any]):
    month = serializers.CharField(source="name")
    used = Dollars(help_text="Before deductions.")
    total = Dollars(help_text="After them.")
    kinds = KindOut(many=True)
    workspaces = StatementLineOut(many=True)
    scripts = StatementLineOut(many=True)
    days = serializers.SerializerMethodField(help_text="What each day cost, kind by kind.")
    deductions = DeductionOut(many=True, help_text="In the order in which they are taken off.")
    csv = serializers.SerializerMethodField(help_text="Where it is as a table.")
    pdf = serializers.SerializerMethodField(help_text="Where it is as a document.")

    @extend_schema_field({"type": "object", "additionalProperties": {"type": "object"}})
    def get_days(self, statement: Statement) -> dict[str, dict[str, str | None]]:
        return {
            day.isoformat(): {kind: money.written(nano) for kind, nano in kinds.items()}
            for day, kinds in sorted(statement.days.items())
        }

    @extend_schema_field(str)
    def get_csv(self, statement: Statement) -> str:
        return self._link("api_usage_csv", statement)

    @extend_schema_field(str)
    def get_pdf(self, statement: Statement) -> str:
        return self._link("api_usage_pdf", statement)

    def _link(self, name: str, statement: Statement) -> str:
        link: str = self.context["request"].build_absolute_uri(reverse(name, args=[statement.name]))
        return link


class CostOut(serializers.Serializer[Any]):
    total = Dollars(help_text="Until now.")
    compute = Dollars()
    start_up = Dollars(help_text="Of the instances that were started for it.")
    storage = Dollars()
    egress = Dollars(help_text="Always 0 for new runs: data out is the workspace's, on its owner's statement.")
    ingress = Dollars()


class _Csv(BaseRenderer):
    media_type, format = "text/csv", "csv"
    charset: str | None = "utf-8"

    def render(self, data: Any, accepted_media_type: Any = None, renderer_context: Any = None) -> Any:
        """Nothing to do: the view has the bytes."""
        return data


class _Pdf(_Csv):
    media_type, format, charset = "application/pdf", "pdf", None


class UsageView(APIView):
    @extend_schema(operation_id="usage_list", responses=UsageOut, tags=["usage"])
    def get(self, request: Request) -> Response:
        """The months that have statements."""
        months = [
            {
                "month": f"{month:%Y-%m}",
                "used": used,
                "statement": request.build_absolute_uri(reverse("api_usage_month", args=[f"{month:%Y-%m}"])),
            }
            for month, used in selectors.months_of(current_user(request))
        ]
        return Response(UsageOut({"months": months}).data)


class UsageMonth(APIView):
    @extend_schema(operation_id="usage_month", responses=StatementOut, tags=["usage"])
    def get(self, request: Request, month: str) -> Response:
        """The statement of a month such as `2026-11`."""
        statement = selectors.statement_get(owner=current_user(request), month=month)
        return Response(StatementOut(statement, context={"request": request}).data)


class UsageCsv(APIView):
    renderer_classes = (_Csv, JSONRenderer)

    @extend_schema(operation_id="usage_csv", responses={(200, "text/csv"): OpenApiTypes.STR}, tags=["usage"])
    def get(self, request: Request, month: str) -> HttpResponse:
        """The statement as a table: each day's sums, then the deductions."""
        return csv_answer(request, month)


class UsagePdf(APIView):
    renderer_classes = (_Pdf, JSONRenderer)

    @extend_schema(operation_id="usage_pdf", responses={(200, "application/pdf"): OpenApiTypes.BINARY}, tags=["usage"])
    def get(self, request: Request, month: str) -> HttpResponse:
        """The statement as a document."""
        return pdf_answer(request, month)


class RunCost(APIView):
    @extend_schema(operation_id="run_cost", responses=CostOut, tags=["usage"])
    def get(self, request: Request, run_id: str) -> Response:
        """What a run costs, until now."""
        run = run_bare(owner=current_user(request), run_id=run_id)
        return Response(CostOut(selectors.run_cost(run)).data)


def csv_answer(request: Any, month: str) -> HttpResponse:
    """A person's statement as a download."""
    owner = current_user(request)
    text = exports.statement_csv(owner, selectors.statement_get(owner=owner, month=month))
    return _download(text, "text/csv; charset=utf-8", f"orca-{month}.csv")


def pdf_answer(request: Any, month: str) -> HttpResponse:
    """The same on paper."""
    owner = current_user(request)
    document = exports.statement_pdf(owner, selectors.statement_get(owner=owner, month=month))
    return _download(document, "application/pdf", f"orca-{month}.pdf")


def _download(content: str | bytes, kind: str, name: str) -> HttpResponse:
    return HttpResponse(content, content_type=kind, headers={"Content-Disposition": f'attachment; filename="{name}"'})


_month = "usage/<slug:month>/"
urlpatterns: list[URLPattern] = [
    path("usage/", UsageView.as_view(), name="api_usage"),
    path(_month, UsageMonth.as_view(), name="api_usage_month"),
    path(_month + "csv/", UsageCsv.as_view(), name="api_usage_csv"),
    path(_month + "pdf/", UsagePdf.as_view(), name="api_usage_pdf"),
    path("runs/<slug:run_id>/cost/", RunCost.as_view(), name="api_run_cost"),
]
