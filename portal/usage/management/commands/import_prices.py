"""``manage.py import_prices --file index.json``: what instances cost from now on, as AWS publishes it."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from portal.core.errors import Invalid
from portal.usage.price_services import prices_import


class Command(BaseCommand):
    help = (
        "Read AWS's price file of EC2, such as that of "
        "https://pricing.us-east-1.amazonaws.com/offers/v1.0/aws/AmazonEC2/current/eu-central-1/index.json"
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--file", required=True, help="The JSON file.")
        parser.add_argument("--sizes", default="", help="Comma-separated instance types; all unless given.")

    def handle(self, *args: Any, **options: Any) -> None:
        sizes = frozenset(filter(None, options["sizes"].split(",")))
        path = Path(options["file"])
        try:
            with path.open("rb") as file:
                seen, new = prices_import(file=file, sizes=sizes, source=path.name)
        except (OSError, Invalid) as error:
            raise CommandError(str(error)) from error
        if not seen:
            raise CommandError("There is no price of a Linux instance in this file.")
        self.stdout.write(f"{seen} prices read, {new} of them new.")
