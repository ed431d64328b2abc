"""One form for all log lines, ours and the libraries'."""

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from services.runtime import logs


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers = handlers
    root.setLevel(level)
    logging.captureWarnings(False)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def fail(token: str) -> None:
    raise ValueError("it broke")


def test_json_lines_have_the_same_keys_whoever_logs(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json", "info", process="commands")

    structlog.get_logger("ours").info("linked", key="apk_1")
    logging.getLogger("library").warning("slow by %d ms", 5)

    ours, library = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert ours.keys() - {"key"} == library.keys() == {"event", "level", "logger", "process", "timestamp"}
    assert (ours["event"], ours["key"], ours["process"]) == ("linked", "apk_1", "commands")
    assert (library["event"], library["logger"], library["level"]) == ("slow by 5 ms", "library", "warning")


@pytest.mark.parametrize("format", ["console", "json"])
def test_a_traceback_shows_no_values(capsys: pytest.CaptureFixture[str], format: str) -> None:
    logs.configure(format, "info", process="commands")  # type: ignore[arg-type]

    try:
        fail("sk_secret")
    except ValueError:
        structlog.get_logger().exception("crashed")

    text = capsys.readouterr().err
    assert "it broke" in text
    assert "sk_secret" not in text.replace('fail("sk_secret")', "").replace('fail(\\"sk_secret\\")', "")


def test_less_than_the_level_is_not_logged(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("console", "warning", process="commands")

    structlog.get_logger().info("hello")
    logging.getLogger("library").info("hello")

    assert capsys.readouterr().err == ""


def test_the_news_of_libraries_are_not_logged(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("console", "info", process="commands")

    logging.getLogger("nats").info("chatter")
    logging.getLogger("nats").error("trouble")

    assert "chatter" not in (text := capsys.readouterr().err)
    assert "trouble" in text


def test_no_colours_where_nobody_wants_them(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    logs.configure("console", "info", process="commands")
    structlog.get_logger("ours").info("linked")
    assert "\x1b[" in capsys.readouterr().err

    monkeypatch.setenv("NO_COLOR", "1")
    logs.configure("console", "info", process="commands")
    structlog.get_logger("ours").info("linked")
    assert "\x1b[" not in capsys.readouterr().err
