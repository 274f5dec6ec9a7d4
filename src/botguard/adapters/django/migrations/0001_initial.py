"""The tables."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import migrations, models

from botguard.adapters.django.fields import ExactCharField


class Migration(migrations.Migration):
    """Made by makemigrations; every index and constraint has its name."""

    initial = True

    dependencies: ClassVar[list[Any]] = []

    operations: ClassVar[list[Any]] = [
        migrations.CreateModel(
            name="Approval",
            fields=[
                ("seq", models.BigAutoField(primary_key=True, serialize=False)),
                ("subject", ExactCharField(max_length=255)),
                ("token", ExactCharField(max_length=255)),
                ("org", models.CharField(max_length=255)),
                ("command", models.CharField(max_length=255)),
                ("key", models.CharField(max_length=255)),
                ("fingerprint", models.BinaryField()),
                ("person", models.CharField(max_length=255)),
                ("actor", models.CharField(max_length=255)),
                ("channel", models.CharField(max_length=255)),
                ("delivery", models.TextField(null=True)),
                ("text", models.TextField()),
                ("reasons", models.TextField()),
                ("payload", models.BinaryField(null=True)),
                ("expires_at", models.BigIntegerField()),
                ("state", models.CharField(max_length=16)),
                ("spent_on", ExactCharField(max_length=255)),
            ],
            options={
                "verbose_name": "approval",
                "db_table": "botguard_approvals",
                "permissions": (
                    ("approve_approval", "Can approve a waiting request"),
                    ("decline_approval", "Can decline a waiting request"),
                ),
                "default_permissions": ("view",),
                "indexes": [models.Index(fields=["expires_at"], name="botguard_approvals_expires_at")],
                "constraints": [
                    models.UniqueConstraint(fields=("subject",), name="botguard_approvals_subject"),
                    models.UniqueConstraint(fields=("token",), name="botguard_approvals_token"),
                ],
            },
        ),
        migrations.CreateModel(
            name="Claim",
            fields=[
                ("seq", models.BigAutoField(primary_key=True, serialize=False)),
                ("key", ExactCharField(max_length=64)),
                ("org", models.CharField(max_length=255)),
                ("command", models.CharField(max_length=255)),
                ("state", models.CharField(max_length=16)),
                ("claim_id", ExactCharField(max_length=255)),
                ("fence", models.BigIntegerField()),
                ("lease_until", models.BigIntegerField()),
                ("expires_at", models.BigIntegerField(null=True)),
                ("person", models.CharField(max_length=255)),
                ("fingerprint", models.BinaryField()),
                ("version", models.CharField(max_length=255)),
                ("event_id", models.CharField(max_length=255)),
                ("attempts", models.IntegerField()),
                ("result", models.BinaryField(null=True)),
            ],
            options={
                "verbose_name": "claim",
                "db_table": "botguard_claims",
                "permissions": (
                    ("settle_claim", "Can say that an unknown effect happened"),
                    ("release_claim", "Can say that an unknown effect did not happen"),
                ),
                "default_permissions": ("view",),
                "indexes": [models.Index(fields=["expires_at"], name="botguard_claims_expires_at")],
                "constraints": [models.UniqueConstraint(fields=("key",), name="botguard_claims_key")],
            },
        ),
        migrations.CreateModel(
            name="Counter",
            fields=[
                ("bucket", ExactCharField(max_length=64, primary_key=True, serialize=False)),
                ("slot", models.BigIntegerField()),
                ("used", models.IntegerField()),
                ("before", models.IntegerField()),
                ("entries", models.BinaryField(null=True)),
                ("expires_at", models.BigIntegerField()),
            ],
            options={
                "verbose_name": "counter",
                "db_table": "botguard_limits",
                "default_permissions": (),
                "indexes": [models.Index(fields=["expires_at"], name="botguard_limits_expires_at")],
            },
        ),
        migrations.CreateModel(
            name="Event",
            fields=[
                ("seq", models.BigAutoField(primary_key=True, serialize=False)),
                ("id", models.CharField(max_length=255)),
                ("kind", models.CharField(max_length=32)),
                ("at", models.FloatField()),
                ("org", ExactCharField(max_length=255)),
                ("actor", models.CharField(max_length=255)),
                ("person", models.CharField(max_length=255)),
                ("channel", models.CharField(max_length=255)),
                ("command", models.CharField(max_length=255)),
                ("status", models.CharField(max_length=32)),
                ("reasons", models.TextField()),
                ("attempts", models.IntegerField()),
                ("duration_ms", models.FloatField()),
                ("success", models.BooleanField()),
                ("replayed", models.BooleanField()),
                ("degraded", models.BooleanField()),
                ("key", models.CharField(max_length=255)),
                ("shadow", models.TextField()),
                ("policy_digest", models.TextField()),
                ("correlation_id", models.TextField()),
                ("count", models.IntegerField()),
            ],
            options={
                "verbose_name": "event",
                "db_table": "botguard_events",
                "default_permissions": ("view",),
                "indexes": [models.Index(fields=["org", "seq"], name="botguard_events_org_seq")],
            },
        ),
    ]
