"""The tables. The stores speak SQL to them; the models are for migrations, the admin, and a host's own queries.

Times are microseconds since the epoch: no driver, server or setting can shift them by a time zone.
"""

from __future__ import annotations

from django.db import models

from botguard.adapters.django.fields import ExactCharField

__all__ = ["Approval", "Claim", "Counter", "Event"]


def _name(length: int = 255) -> models.CharField:
    return models.CharField(max_length=length)


class Claim(models.Model):
    """One key: who may execute it, and what came of it."""

    seq = models.BigAutoField(primary_key=True)
    key = ExactCharField(max_length=64)
    org = _name()
    command = _name()
    state = _name(16)
    claim_id = ExactCharField(max_length=255)
    fence = models.BigIntegerField()
    lease_until = models.BigIntegerField()
    expires_at = models.BigIntegerField(null=True)
    person = _name()
    fingerprint = models.BinaryField()
    version = _name()
    event_id = _name()
    attempts = models.IntegerField()
    result = models.BinaryField(null=True)

    class Meta:
        db_table = "botguard_claims"
        verbose_name = "claim"
        default_permissions = ("view",)
        permissions = (
            ("settle_claim", "Can say that an unknown effect happened"),
            ("release_claim", "Can say that an unknown effect did not happen"),
        )
        # Constraints and indexes by name: `unique=True` would add an index for LIKE on PostgreSQL.
        constraints = (models.UniqueConstraint(fields=["key"], name="botguard_claims_key"),)
        indexes = (models.Index(fields=["expires_at"], name="botguard_claims_expires_at"),)

    def __str__(self) -> str:
        return f"{self.command} {self.key[:12]}"


class Event(models.Model):
    """One line of the audit trail."""

    seq = models.BigAutoField(primary_key=True)
    id = _name()
    kind = _name(32)
    at = models.FloatField()
    org = ExactCharField(max_length=255)
    actor = _name()
    person = _name()
    channel = _name()
    command = _name()
    status = _name(32)
    reasons = models.TextField()
    attempts = models.IntegerField()
    duration_ms = models.FloatField()
    success = models.BooleanField()
    replayed = models.BooleanField()
    degraded = models.BooleanField()
    key = _name()
    shadow = models.TextField()
    policy_digest = models.TextField()
    correlation_id = models.TextField()
    count = models.IntegerField()

    class Meta:
        db_table = "botguard_events"
        verbose_name = "event"
        default_permissions = ("view",)
        indexes = (models.Index(fields=["org", "seq"], name="botguard_events_org_seq"),)

    def __str__(self) -> str:
        return f"{self.command} {self.status}"


class Approval(models.Model):
    """A request that waits for a person's answer."""

    seq = models.BigAutoField(primary_key=True)
    subject = ExactCharField(max_length=255)
    token = ExactCharField(max_length=255)
    org = _name()
    command = _name()
    key = _name()
    fingerprint = models.BinaryField()
    person = _name()
    actor = _name()
    channel = _name()
    delivery = models.TextField(null=True)
    text = models.TextField()
    reasons = models.TextField()
    payload = models.BinaryField(null=True)
    expires_at = models.BigIntegerField()
    state = _name(16)
    spent_on = ExactCharField(max_length=255)

    class Meta:
        db_table = "botguard_approvals"
        verbose_name = "approval"
        default_permissions = ("view",)
        permissions = (
            ("approve_approval", "Can approve a waiting request"),
            ("decline_approval", "Can decline a waiting request"),
        )
        constraints = (
            models.UniqueConstraint(fields=["subject"], name="botguard_approvals_subject"),
            models.UniqueConstraint(fields=["token"], name="botguard_approvals_token"),
        )
        indexes = (models.Index(fields=["expires_at"], name="botguard_approvals_expires_at"),)

    def __str__(self) -> str:
        return f"{self.command} for {self.person}"


class Counter(models.Model):
    """One bucket of a shared limit."""

    bucket = ExactCharField(max_length=64, primary_key=True)
    slot = models.BigIntegerField()
    used = models.IntegerField()
    before = models.IntegerField()
    entries = models.BinaryField(null=True)
    expires_at = models.BigIntegerField()

    class Meta:
        db_table = "botguard_limits"
        verbose_name = "counter"
        default_permissions = ()
        indexes = (models.Index(fields=["expires_at"], name="botguard_limits_expires_at"),)

    def __str__(self) -> str:
        return str(self.bucket)
