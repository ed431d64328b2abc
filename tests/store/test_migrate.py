"""Moving from SQLite to PostgreSQL: everything, under the same positions, broken off and resumed."""

import sys
from contextlib import closing
from pathlib import Path
from subprocess import run

import psycopg
import pytest

from events.sales_channel import SalesChannelCreated
from services.store import copying
from services.store.application import open_store
from services.store.commit import Outcome, Sweep
from services.store.copying import Refused, moving
from services.store.migrate import migrate
from services.store.postgres import open_postgres
from tests.store.test_store import T, channel, commit, recorded
from tests.support.postgres import Postgres

EVENTS = 350


@pytest.fixture
def old(tmp_path: Path) -> str:
    """A store with something in every table."""
    url = f"sqlite:///{tmp_path / 'events.db'}"
    with closing(open_store(url)) as store:
        for start in range(0, EVENTS, 50):
            ids = [f"sc_{n}é" for n in range(start, start + 50)]
            store.write(
                commit(
                    *(recorded(1, channel(id)) for id in ids),
                    known=start,
                    outcomes=[Outcome(f"cmd-{id}", b'{"data":"%d"}' % len(id) * 60) for id in ids],
                    tokens=[(f"pk_{id}", id) for id in ids],
                    new_sweeps=[Sweep(f"sc_{start}", "dismiss", T, "{}", "apk_5")],
                )
            )
        first = store.recorder.next_sweep()
        assert first is not None
        store.write(commit(known=EVENTS, done_sweeps=[first.id]))
    return url


def same(old: str, new: str) -> None:
    with closing(open_store(old)) as one, closing(open_store(new)) as two:
        assert two.recorder.notifications(0, 1_000) == one.recorder.notifications(0, 1_000)
        assert two.recorder.position() == EVENTS
        ids = [f"cmd-sc_{n}é" for n in range(EVENTS)]
        assert two.recorder.outcomes(ids) == one.recorder.outcomes(ids)
        assert two.recorder.api_key_of("pk_sc_7é") == "sc_7é"
        assert two.recorder.next_sweep() == one.recorder.next_sweep()
        found = two.load("sc_349é")
        assert found is not None
        assert found.version == 1
        # and it goes on from there
        event = SalesChannelCreated(id="n", name="n", description=None, is_disabled=False, metadata=None, created_at=T)
        after = commit(recorded(1, event), known=EVENTS, new_sweeps=[Sweep("sc_1", "restore", T, "{}")])
        assert two.write(after).positions == range(EVENTS + 1, EVENTS + 2)


def test_everything_is_there_under_the_same_positions(old: str, postgres: Postgres) -> None:
    told: list[tuple[int, int]] = []
    new = postgres.store()
    digests = migrate(old, new, lambda _, done, total: told.append((done, total)))
    assert set(digests) == {"stored_events", "commands", "tokens", "sweeps"}
    assert told[-1][0] == told[-1][1]
    same(old, new)


def test_the_stream_goes_on(old: str, postgres: Postgres) -> None:
    """It was filled from the same history: the epoch moves along."""
    with closing(open_store(old)) as store:
        epoch = store.recorder.epoch()
    new = postgres.store()
    migrate(old, new, lambda *_: None)
    with closing(open_store(new)) as store:
        assert store.recorder.epoch() == epoch


def test_broken_off_and_started_again(old: str, postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is there half, it goes on where it was; and what is there already is not copied again."""
    monkeypatch.setattr(copying, "BATCH", 40)
    new = postgres.store()

    class Pulled(Exception):
        """The plug."""

    began = []
    for after in (1, 2, 5, 12, 20, 26, 30):
        told: list[int] = []

        def pull(_: str, done: int, __: int, told: list[int] = told, after: int = after) -> None:
            told.append(done)
            if len(told) > after:
                raise Pulled

        with pytest.raises(Pulled):
            migrate(old, new, pull)
        began.append(told[0])
        with closing(open_store(new)) as store:
            assert store.recorder.position() == 0
            assert store.recorder.api_key_of("pk_sc_7é") is None
    assert began == [0, 40, 120, 320, *[EVENTS] * 3], "the events that were there are counted first"
    digests = migrate(old, new, lambda *_: None)
    what: list[str] = []
    assert migrate(old, new, lambda name, _, __: what.append(name)) == digests
    assert {name.partition(" ")[0] for name in what} == {"comparing"}
    same(old, new)
    assert not left_beside(postgres)


def left_beside(postgres: Postgres) -> list[str]:
    with psycopg.connect(postgres.url) as connection:
        return [row[0] for row in connection.execute("SELECT tablename FROM pg_tables WHERE tablename LIKE 'moving%'")]


def test_what_was_begun_with_another_store_is_begun_anew(
    old: str, postgres: Postgres, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other, new = f"sqlite:///{tmp_path / 'other.db'}", postgres.store()
    with closing(open_store(other)) as store:
        store.write(commit(*(recorded(1, channel(f"other{n}")) for n in range(30))))

    def pull(what: str, *_: int) -> None:
        if what == "copying tokens":
            raise InterruptedError

    with pytest.raises(InterruptedError):
        migrate(other, new, pull)
    migrate(old, new, lambda *_: None)
    same(old, new)
    assert not left_beside(postgres)


def test_two_do_not_move_to_one_place_at_once(old: str, postgres: Postgres) -> None:
    new = postgres.store()
    with closing(open_postgres(new)) as store, moving(store), pytest.raises(Refused, match="somebody else is moving"):
        migrate(old, new, lambda *_: None)


@pytest.mark.parametrize("events", [1, 500])
def test_a_store_of_somebody_else_is_not_touched(old: str, postgres: Postgres, events: int) -> None:
    new = postgres.store()
    with closing(open_store(new)) as store:
        for n in range(events):
            store.write(commit(recorded(1, channel(f"other{n}")), known=n))
        before = store.recorder.notifications(0, 1_000)
    with pytest.raises(Refused, match="not the same in both"):
        migrate(old, new, lambda *_: None)
    with closing(open_store(new)) as store:
        assert store.recorder.notifications(0, 1_000) == before
        assert store.recorder.api_key_of("pk_sc_7é") is None


def test_a_source_that_is_not_there(tmp_path: Path, postgres: Postgres) -> None:
    with pytest.raises(Refused, match="no event store at"):
        migrate(f"sqlite:///{tmp_path / 'nothing.db'}", postgres.store(), lambda *_: None)
    assert not (tmp_path / "nothing.db").exists()


def test_the_command(old: str, postgres: Postgres) -> None:
    command = [sys.executable, "-m", "keyscope", "migrate-store", old]
    new = postgres.store()
    done = run([*command, new], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "name it in KEYSCOPE_EVENT_STORE" in done.stdout
    same(old, new)
    wrong = run([*command, "postgresql://u:hidden@127.0.0.1:1/x"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 69
    assert "hidden" not in wrong.stderr
    assert "Traceback" not in wrong.stderr


def test_a_password_need_not_be_on_the_command_line(
    old: str, postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever may list processes could read it there; libpq finds it in a file."""
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute("CREATE ROLE mover SUPERUSER LOGIN PASSWORD 'hidden'")
        rules = postgres.data / "pg_hba.conf"
        rules.write_text(f"host all mover all scram-sha-256\n{rules.read_text()}")
        connection.execute("SELECT pg_reload_conf()")
    new = postgres.store().replace("postgres@", "mover@")
    command = [sys.executable, "-m", "keyscope", "migrate-store", old, new]
    refused = run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 69
    assert "Traceback" not in refused.stderr
    passwords = tmp_path / "pgpass"
    passwords.write_text("*:*:*:mover:hidden\n")
    passwords.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(passwords))
    done = run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    same(old, new)
