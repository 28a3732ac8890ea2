from django.db import migrations, models

_KINDS = [
    ("compute", "Processing"),
    ("start_up", "Start-up of instances"),
    ("idle", "Idle instances"),
    ("volume", "Disks"),
    ("storage", "Storage"),
    ("egress", "Data out"),
    ("ingress", "Data in"),
    ("request", "Requests"),
    ("read", "Reading requests"),
    ("sent", "Sent to buckets"),
    ("fetched", "Fetched from buckets"),
]
_PRICES = [
    ("instance", "Instance, per hour"),
    ("volume", "Disk, per GB and month"),
    ("storage", "Storage, per GB and month"),
    ("egress", "Data out, per GB"),
    ("ingress", "Data in, per GB"),
    ("request", "Request that writes or lists"),
    ("read", "Request that reads"),
]


class Migration(migrations.Migration):
    dependencies = [("usage", "0003_budgets")]

    operations = [
        migrations.AlterField(
            model_name="grant",
            name="of",
            field=models.CharField(
                blank=True, choices=_KINDS, help_text="What it is good for. Empty: everything.", max_length=10
            ),
        ),
        migrations.AlterField(
            model_name="margin",
            name="kind",
            field=models.CharField(blank=True, choices=_PRICES, help_text="Empty: everything.", max_length=10),
        ),
        migrations.AlterField(
            model_name="price", name="kind", field=models.CharField(choices=_PRICES, max_length=10)
        ),
        migrations.AlterField(
            model_name="usageday", name="kind", field=models.CharField(choices=_KINDS, max_length=10)
        ),
        migrations.AlterField(
            model_name="usagerecord", name="kind", field=models.CharField(choices=_KINDS, max_length=10)
        ),
    ]
