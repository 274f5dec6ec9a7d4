"""Our tables in the host's metadata and migrations, and our fields on tables that the host already has."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import api as autogenerate
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import MetaData, Table

from adapters.sqlalchemy.databases import PREFIX, Place, place_for
from botguard import ConfigurationError
from botguard.adapters.sqlalchemy import MappedTable, SqlAlchemyStorage, botguard_tables
from botguard.ports.events import Event
from botguard.testing import ApprovalStoreSuite, EventStoreSuite, FakeClock, IdempotencyStoreSuite

CONVENTION = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}


@pytest.fixture(params=["psycopg", "pymysql", "pysqlite"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    with place_for(request.param) as made:
        yield made


def _mine(prefix: str) -> Any:
    def include(name: str | None, kind: str, parents: Any) -> bool:
        return kind != "table" or str(name).startswith(prefix)

    return include


@pytest.mark.parametrize("convention", [None, CONVENTION])
def test_the_second_autogenerate_finds_nothing_to_do(place: Place, convention: Any) -> None:
    prefix = f"{PREFIX}al_"
    metadata = MetaData(naming_convention=convention)
    sa.Table(f"{prefix}host", metadata, sa.Column("id", sa.Integer, primary_key=True))
    botguard_tables(metadata, prefix=prefix)
    engine = place.engine()
    try:
        with engine.connect() as connection:
            context = MigrationContext.configure(
                connection, opts={"compare_type": True, "compare_server_default": True, "include_name": _mine(prefix)}
            )
            first = autogenerate.produce_migrations(context, metadata)
            assert first.upgrade_ops is not None
            with context.begin_transaction(_per_migration=True):
                operations = Operations(context)
                for operation in first.upgrade_ops.ops:
                    for part in getattr(operation, "ops", [operation]):
                        operations.invoke(part)
            connection.commit()
            again = autogenerate.compare_metadata(context, metadata)
            assert again == []
            constraints = sa.inspect(connection).get_unique_constraints(f"{prefix}claims")
            assert [c["name"] for c in constraints] == [f"uq_{prefix}claims_key"]
    finally:
        metadata.drop_all(engine)
        engine.dispose()


def test_a_migration_that_autogenerate_writes_needs_only_sqlalchemy() -> None:
    """Rendered types are SQLAlchemy's own: nobody has to import botguard in a migration."""
    from alembic.autogenerate import render_python_code
    from alembic.operations.ops import CreateTableOp, UpgradeOps

    tables = botguard_tables(MetaData())
    code = render_python_code(UpgradeOps([CreateTableOp.from_table(table) for table in tables]))
    assert "botguard.adapters" not in code
    assert "sa.LargeBinary" in code


def test_tables_are_declared_once_on_a_metadata() -> None:
    metadata = MetaData()
    assert botguard_tables(metadata) == botguard_tables(metadata)
    assert set(metadata.tables) == {f"botguard_{name}" for name in ("claims", "events", "approvals", "limits")}
    placed = botguard_tables(metadata, prefix="x_", schema="bots")
    assert placed.claims.fullname == "bots.x_claims"


# -- tables of the host's ---------------------------------------------------------------------


def host_tables(metadata: MetaData, *, text_ids: bool) -> dict[str, Any]:
    """A legacy host: other names, integer or text ids, JSON, naive times, its own states, columns that are not ours."""
    moment = sa.DateTime().with_variant(sa.dialects.mysql.DATETIME(fsp=6), "mysql", "mariadb")
    exact = sa.String(255).with_variant(sa.dialects.mysql.VARBINARY(1020), "mysql", "mariadb")
    first: Any = (
        sa.Column("id", sa.String(36), primary_key=True, default=lambda: str(uuid.uuid4()))
        if text_ids
        else sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True)
    )
    made = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}
    keys = Table(
        f"{PREFIX}h_idempotency_keys",
        metadata,
        first,
        sa.Column("idem_key", exact, nullable=False, unique=True),
        sa.Column("bot_name", sa.String(50), nullable=False),
        sa.Column("tenant", sa.String(255), nullable=False),
        sa.Column("command", sa.String(255), nullable=False),
        sa.Column("status", sa.String(32), nullable=False),
        sa.Column("owner_token", sa.String(255)),
        sa.Column("person", sa.String(255)),
        sa.Column("fence", sa.BigInteger),
        sa.Column("attempts", sa.Integer),
        sa.Column("locked_until", moment),
        sa.Column("expires", moment),
        sa.Column("print", sa.String(200)),
        sa.Column("response", sa.JSON),
        sa.Column("version", sa.String(255)),
        sa.Column("event_ref", sa.String(255)),
        sa.Column("created_at", sa.DateTime, nullable=False, server_default=sa.func.now()),
        **made,
    )
    log = Table(
        f"{PREFIX}h_bot_events",
        metadata,
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("org", exact, nullable=False),
        sa.Column("source", sa.String(20), nullable=False),
        sa.Column("event_type", sa.String(64), nullable=False),
        sa.Column("payload_json", sa.JSON),
        sa.Column("created_at", sa.DateTime, nullable=False, server_default=sa.func.now()),
        **made,
    )
    questions = Table(
        f"{PREFIX}h_questions",
        metadata,
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("subject", exact, nullable=False, unique=True),
        sa.Column("button", exact, nullable=False, unique=True),
        *(sa.Column(name, sa.String(255)) for name in ("org", "command", "key", "person", "actor", "channel")),
        sa.Column("delivery", sa.Text),
        sa.Column("text", sa.Text),
        sa.Column("reasons", sa.Text),
        sa.Column("fingerprint", sa.JSON),
        sa.Column("payload", sa.JSON(none_as_null=True)),
        sa.Column("expires_at", moment, nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("spent_on", exact, nullable=False),
        **made,
    )
    return {
        "claims": MappedTable(
            keys,
            columns={
                "key": "idem_key",
                "org": "tenant",
                "state": "status",
                "claim_id": "owner_token",
                "lease_until": "locked_until",
                "expires_at": "expires",
                "fingerprint": "print",
                "result": "response",
                "event_id": "event_ref",
            },
            states={"claimed": "processing", "done": "completed", "failed": "error"},
            values={"bot_name": "erp"},
        ),
        "events": MappedTable(log, columns={"kind": "event_type"}, values={"source": "botguard"}, rest="payload_json"),
        "approvals": MappedTable(
            questions, columns={"token": "button"}, states={"open": "asked", "approved": "yes", "declined": "no"}
        ),
    }


class Host:
    """A database with the host's tables, and storages mapped on them."""

    def __init__(self, place: Place, *, text_ids: bool) -> None:
        self.place, self.metadata, self.clock = place, MetaData(), FakeClock()
        self.text_ids = text_ids
        self.mapped = host_tables(self.metadata, text_ids=text_ids)
        self.engine = place.engine()
        self.metadata.create_all(self.engine)
        self.storage = SqlAlchemyStorage(self.engine, metadata=MetaData(), tables=self.mapped, clock=self.clock)

    def empty(self) -> None:
        with self.engine.begin() as connection:
            for table in self.metadata.sorted_tables:
                connection.execute(table.delete())

    def close(self) -> None:
        self.metadata.drop_all(self.engine)
        self.engine.dispose()


@pytest.fixture(scope="module", params=["psycopg", "pymysql", "pysqlite", "psycopg, text ids"])
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    driver, _, text_ids = request.param.partition(", ")
    with place_for(driver) as place:
        made = Host(place, text_ids=bool(text_ids))
        yield made
        made.close()


class OnHost:
    """Picks one port of a storage that is mapped on the host's tables."""

    port = ""
    threads = 4
    examples = 10

    @pytest.fixture(autouse=True)
    def database(self, host: Host) -> None:
        if self.port != "idempotency" and host.text_ids:
            pytest.skip("only the claims of that host have text ids")
        self.host = host

    def make_store(self) -> Any:
        self.host.empty()
        return getattr(self.host.storage, self.port)

    def fresh_store(self, store: Any) -> Any:
        return self.make_store()

    def advance(self, seconds: float) -> None:
        self.host.clock.advance(seconds)

    def events_of(self, store: Any) -> Any:
        return self.host.storage.events

    def close_store(self, store: Any) -> None:
        pass


class TestMappedClaims(OnHost, IdempotencyStoreSuite):
    port = "idempotency"
    capabilities = frozenset({"events"})


class TestMappedEvents(OnHost, EventStoreSuite):
    port = "events"


class TestMappedApprovals(OnHost, ApprovalStoreSuite):
    port = "approvals"


def _event(**changes: Any) -> Event:
    event = Event(
        id="e1", kind="run", at=5.0, org="o", actor="a", person="p", channel="c", command="x", status="succeeded",
        reasons="", attempts=1, duration_ms=1.5, success=True, replayed=False, degraded=False, key="", shadow="",
        policy_digest="", correlation_id="",
    )  # fmt: skip
    return event._replace(**changes)


def test_rows_look_as_the_host_expects_them(host: Host) -> None:
    from botguard.ports.idempotency import ClaimRequest, RowState

    host.empty()
    store = host.storage.idempotency
    store.claim(ClaimRequest("k", "acme", "orders.create", "c1", "p", b"\x00f", "1", 30.0, takeover=True))
    keys = host.mapped["claims"].table

    def row() -> Any:
        with host.engine.connect() as connection:
            return connection.execute(sa.select(keys)).one()

    assert (row().status, row().bot_name, row().tenant) == ("processing", "erp", "acme")
    assert row().locked_until.tzinfo is None
    store.finish("k", "c1", RowState.DONE, b'{"order": 7}', 60.0, 1)
    assert (row().status, row().response) == ("completed", {"text": '{"order": 7}'})


def test_the_hosts_own_rows_are_left_alone(host: Host) -> None:
    host.empty()
    log, keys = host.mapped["events"].table, host.mapped["claims"].table
    with host.engine.begin() as connection:
        connection.exec_driver_sql(
            f"INSERT INTO {log.name} (org, source, event_type, payload_json) VALUES ('o', 'erp', 'login', '{{}}')"
        )
        ident = ("id, ", "'0', ") if host.text_ids else ("", "")
        connection.exec_driver_sql(
            f"INSERT INTO {keys.name} ({ident[0]}idem_key, bot_name, tenant, command, status) "
            f"VALUES ({ident[1]}'old', 'erp', 'o', 'c', 'strange')"
        )
    host.storage.events.append(_event())
    assert host.storage.events.tail() == [_event()]
    row = host.storage.idempotency.peek("old")
    assert row is not None
    assert row.state == "unknown", "a state that we do not know is nobody's to take over"
    assert host.storage.idempotency.purge() == 0


def test_text_ids_and_the_servers_clock() -> None:
    """Rows without a number get fences of time; naive times cannot be added to in SQL, so the server is asked first."""
    from botguard.ports.idempotency import Ack, ClaimRequest, RowState

    for driver in ("psycopg", "pymysql", "pysqlite"):
        with place_for(driver) as place:
            host = Host(place, text_ids=True)
            try:
                storage = SqlAlchemyStorage(host.engine, metadata=MetaData(), tables=host.mapped)
                store = storage.idempotency

                def request(claim_id: str, lease: float = 30.0) -> ClaimRequest:
                    return ClaimRequest("k", "o", "c", claim_id, "p", b"f", "1", lease, takeover=True)

                fences = [store.claim(request("c1")).fence]
                row = store.peek("k")
                assert row is not None
                assert 28.0 < row.lease_left <= 31.0, f"{driver}: by the server's clock"
                assert not store.claim(request("c2")).won
                assert store.release("k", "c1") is Ack.APPLIED
                fences.append(store.claim(request("c3", lease=0.0)).fence)
                if driver == "pysqlite":
                    import time

                    time.sleep(0.002)
                fences.append(store.claim(request("c4")).fence)
                assert fences == sorted(set(fences)), driver
                assert store.finish("k", "c4", RowState.DONE, b"x", 60.0, 1) is Ack.APPLIED
            finally:
                host.close()


# -- what a mapping lacks -----------------------------------------------------------------------


def test_a_missing_column_is_told_with_its_migration(place: Place) -> None:
    metadata = MetaData()
    name = f"{PREFIX}m_keys"
    keys = Table(
        name,
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("key", sa.String(64), nullable=False),
        *(sa.Column(column, sa.String(255)) for column in ("org", "command", "state", "claim_id", "person", "version")),
        sa.Column("attempts", sa.Integer),
        sa.Column("lease_until", sa.BigInteger),
        sa.Column("expires_at", sa.BigInteger),
        sa.Column("fingerprint", sa.LargeBinary),
        sa.Column("result", sa.LargeBinary),
        mysql_engine="InnoDB",
    )
    engine = place.engine()
    try:
        metadata.create_all(engine)
        with pytest.raises(ConfigurationError, match="BG147") as refused:
            SqlAlchemyStorage(engine, tables={"claims": keys})
        assert "'fence'" in refused.value.what
        assert "'event_id'" in refused.value.what
        assert "no unique constraint on 'key'" in refused.value.what
        # What it prints is run as it is: the lines of Alembic on SQLite in batches, the SQL on the servers.
        lines = [line.strip() for line in refused.value.fix.splitlines()]
        assert f"op.add_column('{name}', sa.Column('fence', sa.BigInteger(), nullable=True))" in lines
        title = {"postgresql": "-- PostgreSQL", "mariadb": "-- MySQL, MariaDB"}.get(place.server)
        with engine.begin() as connection:
            if title is not None:
                start = lines.index(title) + 1
                for line in lines[start:]:
                    if line.startswith("--"):
                        break
                    connection.exec_driver_sql(line.removesuffix(";").removesuffix(".").removesuffix(";"))
            else:
                from alembic.migration import MigrationContext

                op = Operations(MigrationContext.configure(connection))
                for line in lines:
                    if line.startswith("op.add_column"):
                        eval(line, {"op": op, "sa": sa})
                connection.exec_driver_sql(f"CREATE UNIQUE INDEX uq_{name}_key ON {name} (key)")
        reflected = Table(name, MetaData(), autoload_with=engine)
        storage = SqlAlchemyStorage(engine, metadata=MetaData(), tables={"claims": reflected})
        assert storage.idempotency.peek("k") is None
    finally:
        metadata.drop_all(engine)
        engine.dispose()


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        ({"columns": {"lease": "locked_until"}}, "BG146", "columns='lease'"),
        ({"states": {"parked": "x"}}, "BG146", "states='parked'"),
        ({"states": {"done": "processing", "claimed": "processing"}}, "BG146", "share one name"),
        ({"columns": {"fence": "person"}}, "BG146", "fence is a whole number"),
        ({"values": {}}, "BG146", "needs bot_name"),
        ({"columns": {"key": "nowhere"}}, "BG147", "no column 'nowhere'"),
        ({"columns": {"key": "person"}}, "BG147", "no unique constraint on 'person'"),
        ({"rest": "response"}, "BG146", "rest="),
    ],
)
def test_a_mapping_that_cannot_work_is_refused(tmp_path: Any, change: dict[str, Any], code: str, says: str) -> None:
    mapped = host_tables(MetaData(), text_ids=False)["claims"]
    options = {
        "columns": {**mapped.columns, **change.get("columns", {})},
        "states": {**mapped.states, **change.get("states", {})},
        "values": change.get("values", mapped.values),
        "rest": change.get("rest"),
    }
    engine = sa.create_engine(f"sqlite:///{tmp_path}/x.db")
    with pytest.raises(ConfigurationError) as refused:
        SqlAlchemyStorage(engine, tables={"claims": MappedTable(mapped.table, **options)})
    assert (refused.value.code, says in str(refused.value)) == (code, True), refused.value


def test_an_unknown_store_is_refused(tmp_path: Any) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path}/x.db")
    with pytest.raises(ConfigurationError, match="BG146"):
        SqlAlchemyStorage(engine, tables={"claim": Table("t", MetaData())})


def test_only_own_tables_join_the_metadata(tmp_path: Any) -> None:
    """Where the host has a table already, migrations must not propose ours."""
    metadata = MetaData()
    mapped = host_tables(MetaData(), text_ids=False)
    SqlAlchemyStorage(sa.create_engine(f"sqlite:///{tmp_path}/x.db"), metadata=metadata, tables=mapped)
    assert set(metadata.tables) == {"botguard_limits"}


def test_integer_columns_take_only_what_comes_back_equal() -> None:
    from botguard.adapters.sqlalchemy.fields import field_type

    kind: Any = field_type("text", sa.Integer())
    dialect = sa.create_engine("sqlite://").dialect
    assert kind.process_bind_param("42", dialect) == 42
    assert kind.process_bind_param("-7", dialect) == -7
    for wrong in ("007", "4.0", "x", "", " 1"):
        with pytest.raises(ValueError, match="no whole number"):
            kind.process_bind_param(wrong, dialect)
