"""Bare aws-lambda-powertools idempotency over a dict, and nothing beside it (its import needs boto3)."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools.utilities.idempotency import IdempotencyConfig, idempotent_function
from aws_lambda_powertools.utilities.idempotency.exceptions import (
    IdempotencyItemAlreadyExistsError,
    IdempotencyItemNotFoundError,
)
from aws_lambda_powertools.utilities.idempotency.persistence.base import BasePersistenceLayer
from aws_lambda_powertools.utilities.idempotency.persistence.datarecord import DataRecord

from benchmarks.peer_stack import Caller


class DictLayer(BasePersistenceLayer):
    """The least that a persistence layer can do, so that the library's own cost is what is seen."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.rows: dict[str, DataRecord] = {}

    def _get_record(self, idempotency_key: str) -> DataRecord:
        try:
            return self.rows[idempotency_key]
        except KeyError:
            raise IdempotencyItemNotFoundError from None

    def _put_record(self, data_record: DataRecord) -> None:
        if self.rows.setdefault(data_record.idempotency_key, data_record) is not data_record:
            raise IdempotencyItemAlreadyExistsError

    def _update_record(self, data_record: DataRecord) -> None:
        self.rows[data_record.idempotency_key] = data_record

    def _delete_record(self, data_record: DataRecord) -> None:
        self.rows.pop(data_record.idempotency_key, None)


class LambdaContext:
    """Says how long a lease may be; without it the library warns on every call."""

    def get_remaining_time_in_millis(self) -> int:
        return 30_000


class Powertools:
    """Call ``create_order(caller, raw)``."""

    def __init__(self) -> None:
        self.effects = 0
        layer = DictLayer()
        self.rows = layer.rows
        config = IdempotencyConfig(lambda_context=LambdaContext())  # type: ignore[arg-type]

        @idempotent_function(data_keyword_argument="order", persistence_store=layer, config=config)  # type: ignore[untyped-decorator]
        def handle(*, order: dict[str, Any]) -> str:
            self.effects += 1
            return str(order["order_id"])

        self._handle = handle

    def create_order(self, _caller: Caller, raw: dict[str, Any]) -> Any:
        return self._handle(order=raw)
