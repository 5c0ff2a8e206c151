"""The admin service over real sockets: who may call it, what it answers, and the commands in front of it."""

from __future__ import annotations

import json
import os
import socket
import stat
import sys
import time
from contextlib import contextmanager
from threading import Thread
from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest
from structlog.testing import capture_logs

from otelprof._core import Profiles
from otelprof.admin.client import AdminClient
from otelprof.admin.endpoint import parse_endpoint
from otelprof.admin.v1 import admin_pb2
from otelprof.cli.app import main
from otelprof.errors import ConfigError, PermanentError
from otelprof.telemetry.admin_metrics import ADMIN_REQUESTS
from otelprof.telemetry.service_metrics import CONFIG_PROBLEMS
from otelprof.testing.sink import Sink
from tests.e2e.harness import Client, Process, Running, Yaml, exporter, one_pipeline, request, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOKEN: Final = "a token of more than 16 characters"  # noqa: S105 - of a test
NEVER: Final = {"rules": [{"name": "none", "by": "profile", "sampling_probability": 2**-56}]}
SAMPLES: Final = 3
BODY: Final = request(samples=SAMPLES).SerializeToString()


def with_admin(*, processors: Yaml | None = None, exporters: Yaml | None = None, **admin: Any) -> Yaml:
    """A configuration with one pipeline, and the admin extension."""
    config = one_pipeline(processors=processors or {}, exporters=exporters or {"debug": {}})
    config["extensions"] = {"admin": admin}
    config["service"]["extensions"] = ["admin"]
    return config


def socket_in(folder: Path) -> str:
    """An endpoint in a folder."""
    return f"unix://{folder}/admin.sock"


@contextmanager
def served(folder: Path, **config: Any) -> Iterator[tuple[Running, str]]:
    """A service with the extension on a unix socket, and where that is."""
    endpoint = socket_in(folder)
    with running(with_admin(endpoint=endpoint, **config), folder) as service:
        yield service, endpoint


@contextmanager
def client(endpoint: str, token: str | None = None) -> Iterator[AdminClient]:
    """A client of it."""
    with AdminClient(parse_endpoint(endpoint), token) as client:
        yield client


def otelprof(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Run the command: exit code, stdout, stderr."""
    capsys.readouterr()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["otelprof", *arguments])
        patch.delenv("SUDO_USER", raising=False)
        patch.setenv("LOGNAME", "ada")
        with pytest.raises(SystemExit) as caught, capture_logs():
            main()
    captured = capsys.readouterr()
    assert isinstance(caught.value.code, int)
    return caught.value.code, captured.out, captured.err


def refusal(folder: Path, **admin: Any) -> str:
    """Why a service with this extension does not start."""
    with pytest.raises(ConfigError) as caught, running(with_admin(**admin), folder):
        pass
    return str(caught.value)


class TestSocket:
    """The unix socket: whose it is, and what is done with one that is there."""

    def test_it_is_its_owners_alone(self, tmp_path: Path) -> None:
        """Its mode is 0600 as soon as it is there, whatever the umask, and it is gone after the end."""
        path = tmp_path / "admin.sock"
        modes: list[int] = []

        def watch() -> None:
            while not modes:
                try:
                    modes.append(path.stat().st_mode)
                except FileNotFoundError:
                    continue

        watcher = Thread(target=watch)
        before = os.umask(0)
        try:
            watcher.start()
            with served(tmp_path):
                watcher.join()
                modes.append(path.stat().st_mode)
        finally:
            os.umask(before)
        assert [(True, 0o600)] * 2 == [(stat.S_ISSOCK(mode), stat.S_IMODE(mode)) for mode in modes]
        assert not path.exists()

    def test_one_that_was_left_behind_is_replaced(self, tmp_path: Path) -> None:
        """After a kill -9 the next start takes the place of the socket that nobody listens on."""
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(tmp_path / "admin.sock"))
        with served(tmp_path) as (_, endpoint), client(endpoint) as calls:
            assert [] == list(calls.incidents().incidents)

    def test_one_that_is_answered_is_left_alone(self, tmp_path: Path) -> None:
        """A second otelprof does not start, and the first still answers afterwards."""
        with served(tmp_path) as (_, endpoint):
            folder = tmp_path / "second"
            folder.mkdir()
            assert (
                f"extensions.admin.endpoint: cannot listen on {endpoint}: another process answers on "
                f"{tmp_path}/admin.sock: stop it, or choose another path"
            ) == refusal(folder, endpoint=endpoint)
            with client(endpoint) as calls:
                assert [] == list(calls.incidents().incidents)

    def test_a_file_is_not_touched(self, tmp_path: Path) -> None:
        """What is no socket stays as it is."""
        path = tmp_path / "admin.sock"
        path.write_text("precious")
        assert "admin.sock is no socket, and is not touched" in refusal(
            tmp_path, endpoint=socket_in(tmp_path)
        )
        assert "precious" == path.read_text()

    def test_its_folder_must_be_there(self, tmp_path: Path) -> None:
        """A folder that is missing is named."""
        folder = tmp_path / "missing"
        assert f"the folder {folder} is not there: create it" in refusal(
            tmp_path, endpoint=f"unix://{folder}/admin.sock"
        )

    def test_its_folder_must_be_otelprofs(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A folder that cannot be written to is named; to root, who may run this, that is none."""
        monkeypatch.setattr(os, "access", lambda path, _mode: path != tmp_path)
        assert f"the folder {tmp_path} cannot be written to" in refusal(
            tmp_path, endpoint=socket_in(tmp_path)
        )


class TestCalls:
    """What the calls answer."""

    def test_an_incident_is_in_force_before_the_answer(self, tmp_path: Path) -> None:
        """The first request after StartIncident is kept whole; the first after StopIncident is not."""
        kept = []
        with Sink() as sink:
            exporters = {"otlp": exporter(sink.endpoint, sending_queue={"enabled": False})}
            with (
                served(tmp_path, processors={"sampling": NEVER}, exporters=exporters) as (service, endpoint),
                client(endpoint) as calls,
            ):

                def kept_of_one() -> int:
                    before = len(sink.requests)
                    service.export(BODY)
                    return sum(Profiles.decode(one.body).sample_count for one in sink.requests[before:])

                kept.append(kept_of_one())
                started = calls.start_incident("checkout", "errors", 600.0, "ada")
                kept.append(kept_of_one())
                listed = calls.incidents()
                stopped = calls.stop_incident("checkout", "bob")
                kept.append(kept_of_one())
        assert [0, SAMPLES, 0] == kept
        assert [started] == list(listed.incidents) == [stopped]
        assert ("checkout", "errors", "ada, over the unix socket", ["profiles"]) == (
            started.service,
            started.reason,
            started.who,
            list(started.pipelines),
        )
        assert 600.0 == pytest.approx(
            (started.end_time.ToNanoseconds() - started.start_time.ToNanoseconds()) / 1e9, abs=1e-3
        )

    def test_thresholds(self, tmp_path: Path) -> None:
        """Rules in words, and the services that are adjusted."""
        with (
            served(tmp_path, processors={"sampling": NEVER}) as (_, endpoint),
            client(endpoint) as calls,
        ):
            calls.start_incident("checkout", "errors", 600.0, "ada")
            (processor,) = calls.thresholds().processors
        assert ("profiles", "sampling") == (processor.pipeline, processor.processor)
        assert "profiles stay" in processor.rules[0]
        assert [("checkout", 1.0)] == [(one.service, one.sampling_probability) for one in processor.services]

    def test_pipelines(self, tmp_path: Path) -> None:
        """What runs, in its order, and what it counted, added up over services and sample types."""
        with (
            served(tmp_path, processors={"sampling": NEVER}) as (service, endpoint),
            client(endpoint) as calls,
        ):
            for name in ("checkout", "cart"):
                service.export(request(samples=SAMPLES, service=name).SerializeToString())
            answer = calls.pipelines()
        (pipeline,) = answer.pipelines
        assert ("profiles", ["otlp"], ["sampling"], ["debug"]) == (
            pipeline.id,
            list(pipeline.receivers),
            list(pipeline.processors),
            list(pipeline.exporters),
        )
        assert [("receiver", "otlp"), ("processor", "sampling"), ("exporter", "debug")] == [
            (one.kind, one.id) for one in answer.components
        ]
        receiver, processor, _ = (
            {(one.metric, tuple(sorted(one.labels.items()))): one.value for one in component.statistics}
            for component in answer.components
        )
        dropped = (("outcome", "dropped"), ("rule", "none"))
        assert 2 * SAMPLES == processor["otelprof_sampling_samples", dropped]
        accepted = (("transport", "grpc"),)
        assert 2 * SAMPLES == receiver["otelcol_receiver_accepted_profile_samples", accepted]
        since = answer.configuration.changed_time.ToNanoseconds() / 1e9
        assert (True, 0) == (0 < time.time() - since < 60, answer.configuration.problems)

    def test_the_level_of_the_logs(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """SetLogLevel says who changed it, whatever the level was."""
        levels: list[str] = []
        monkeypatch.setattr("otelprof.admin.service.set_level", levels.append)
        with served(tmp_path) as (_, endpoint), client(endpoint) as calls, capture_logs() as logs:
            calls.set_log_level(admin_pb2.LOG_LEVEL_ERROR, "ada")
            calls.set_log_level(admin_pb2.LOG_LEVEL_DEBUG, "ada")
            with pytest.raises(PermanentError, match="level is 0, and must be one of debug, info"):
                calls.set_log_level(admin_pb2.LOG_LEVEL_UNSPECIFIED, "ada")
        assert ["info", "error", "info", "debug"] == levels
        assert [
            ("log level is changed", level, "ada, over the unix socket") for level in ("error", "debug")
        ] == [(log["event"], log["new_level"], log["who"]) for log in logs]

    def test_bad_requests(self, tmp_path: Path) -> None:
        """Each limit is named, bytes that are no message are refused, and all of it is counted by status."""
        with (
            served(tmp_path, processors={"sampling": NEVER}) as (service, endpoint),
            client(endpoint) as calls,
        ):
            for arguments, problem in (
                (("", "errors", 1.0, "ada"), "service has 0 characters, and must have 1 to 200"),
                (("x" * 201, "errors", 1.0, "ada"), "service has 201 characters"),
                (("a", " ", 1.0, "ada"), "reason has 1 characters, and must have 1 to 500"),
                (("a", "x" * 501, 1.0, "ada"), "reason has 501 characters"),
                (("a", "errors", 0.0, "ada"), "duration is 0 s: say how long the incident lasts"),
                (("a", "errors", -1.0, "ada"), "duration is -1 s"),
                (("a", "errors", 1e9, "ada"), "minutes are more than the 1440 that sampling.incidents"),
                (("a", "errors", 1.0, "x" * 101), "who has 101 characters, and may have up to 100"),
            ):
                with pytest.raises(PermanentError, match=problem):
                    calls.start_incident(*arguments)
            with grpc.insecure_channel(f"unix:{tmp_path}/admin.sock") as channel:
                call = channel.unary_unary("/otelprof.v1.Admin/StartIncident", None, None)
                with pytest.raises(grpc.RpcError) as caught:
                    call(b"\xff", timeout=5.0)
        assert grpc.StatusCode.INVALID_ARGUMENT == caught.value.code()
        labels = {"extension": "admin", "method": "StartIncident"}
        assert (8.0, 1.0) == (
            service.metrics.value(ADMIN_REQUESTS, code="INVALID_ARGUMENT", **labels),
            service.metrics.value(ADMIN_REQUESTS, code="FAILED_PRECONDITION", **labels),
        )

    def test_what_callers_say_is_escaped(self, tmp_path: Path) -> None:
        """A reason or a name with control characters cannot move somebody's cursor."""
        with (
            served(tmp_path, processors={"sampling": NEVER}) as (_, endpoint),
            client(endpoint) as calls,
        ):
            incident = calls.start_incident("checkout", "a\x1b[2Jb", 1.0, "\x07")
        assert ("a\\x1b[2Jb", "\\x07, over the unix socket") == (incident.reason, incident.who)


class TestTcp:
    """A `host:port` needs a token, or mutual TLS (tests/e2e/test_tls.py)."""

    def listening(self) -> tuple[Yaml, str]:
        """A configuration with a port that was free."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            endpoint = f"127.0.0.1:{free.getsockname()[1]}"
        return with_admin(endpoint=endpoint, token=TOKEN), endpoint

    def test_the_token_is_needed(self, tmp_path: Path) -> None:
        """Without it, or with another, nothing is done; with it everything, and who says from where."""
        config, endpoint = self.listening()
        config["processors"] = {"sampling": NEVER}
        config["service"]["pipelines"]["profiles"]["processors"] = ["sampling"]
        with running(config, tmp_path) as service:
            for token in (None, "another token of 16 characters", TOKEN[:-1], ""):
                with client(endpoint, token) as calls, pytest.raises(PermanentError, match="send the token"):
                    calls.start_incident("checkout", "errors", 60.0, "mallory")
            with client(endpoint, TOKEN) as calls:
                assert [] == list(calls.incidents().incidents)
                who = calls.start_incident("checkout", "errors", 60.0, "ada").who
        assert who.startswith("ada, from 127.0.0.1:")
        assert who.endswith(" with the token")
        labels = {"extension": "admin", "method": "StartIncident"}
        assert 4.0 == service.metrics.value(ADMIN_REQUESTS, code="UNAUTHENTICATED", **labels)

    def test_a_port_that_is_taken(self, tmp_path: Path) -> None:
        """The reason is the system's."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            endpoint = f"127.0.0.1:{taken.getsockname()[1]}"
            assert (
                f"extensions.admin.endpoint: cannot listen on {endpoint}: Address already in use"
                == refusal(tmp_path, endpoint=endpoint, token=TOKEN)
            )


class TestCommands:
    """`otelprof incident` and `otelprof status`."""

    def test_from_start_to_stop(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Each command says what is, on one line, and who it was is the login name."""
        with served(tmp_path, processors={"sampling": NEVER}) as (_, endpoint):
            where = ("--endpoint", endpoint)
            start = ("--service", "checkout", "--minutes", "30", "--reason", "errors")
            code, started, _ = otelprof(capsys, "incident", "start", *start, *where)
            assert 0 == code
            assert started.startswith("checkout: everything stays until ")
            assert started.endswith(": errors (ada, over the unix socket; profiles)\n")
            _, listed, _ = otelprof(capsys, "incident", "list", *where)
            assert started.partition(" UTC")[0] == listed.partition(" UTC")[0]
            assert (0, "checkout: sampled as its rules say\n", "") == otelprof(
                capsys, "incident", "stop", "--service", "checkout", *where
            )
            assert (0, "no incident\n", "") == otelprof(capsys, "incident", "list", *where)
            code, _, error = otelprof(capsys, "incident", "stop", "--service", "checkout", *where)
            assert 1 == code
            assert error.startswith("error: 'checkout' has no incident: `otelprof incident list` says which")

    def test_status(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Incidents, rules, adjusted services and counts are there, for people and for machines."""
        with (
            served(tmp_path, processors={"sampling": NEVER}) as (service, endpoint),
            client(endpoint) as calls,
        ):
            service.export(BODY)
            calls.start_incident("check\x1bout", "errors", 60.0, "ada")
            service.metrics.set(CONFIG_PROBLEMS, 2)
            code, text, _ = otelprof(capsys, "status", "--endpoint", endpoint)
            _, machine, _ = otelprof(capsys, "status", "--format", "json", "--endpoint", endpoint)
        assert 0 == code
        for part in (
            "  check\\x1bout: everything stays until ",
            "configuration\n  in force since 20",
            "; the file has been refused since, with 2 problems: see the log, or otelprof validate\n",
            "sampling: profiles, sampling\n",
            "  check\\x1bout ",
            "100 %",
            "profiles: otlp → sampling → debug\n",
            "otelprof_sampling_samples {outcome=dropped, rule=none}",
        ):
            assert part in text
        assert "\x1b" not in text
        told = json.loads(machine)
        assert ["incidents", "sampling", "pipelines", "components", "configuration"] == list(told)
        assert ["check\x1bout"] == [one["service"] for one in told["incidents"]]
        assert [{"service": "check\x1bout", "sampling_probability": 1.0}] == told["sampling"][0]["services"]

    def test_nothing_samples(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Where there is no sampling processor, an incident is refused, and status says so."""
        with served(tmp_path) as (_, endpoint):
            start = ("--service", "a", "--minutes", "1", "--reason", "b", "--endpoint", endpoint)
            assert (
                1,
                "",
                "error: no pipeline has a sampling processor, so everything is kept already\n",
            ) == otelprof(capsys, "incident", "start", *start)
            _, text, _ = otelprof(capsys, "status", "--endpoint", endpoint)
            assert "sampling\n  none: everything stays\n" in text

    @pytest.mark.parametrize("minutes", ["nan", "inf", "0", "-1", "a"])
    def test_bad_minutes(self, capsys: pytest.CaptureFixture[str], minutes: str) -> None:
        """What is no length of time is refused before anything is sent."""
        start = ("--service", "a", "--minutes", minutes, "--reason", "b", "--endpoint", "127.0.0.1:1")
        code, _, error = otelprof(capsys, "incident", "start", *start)
        assert 2 == code
        assert "--minutes" in error

    def test_nobody_listens(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It says where it looked, why there is no answer, and what to do."""
        monkeypatch.setenv("OTELPROF_ADMIN", socket_in(tmp_path))
        code, _, error = otelprof(capsys, "incident", "list")
        assert 1 == code
        assert error.startswith(
            f"error: no answer from unix://{tmp_path}/admin.sock: No such file or directory; is "
        )

    @pytest.mark.parametrize(
        ("endpoint", "problem"),
        [
            ("unix://relative.sock", "is not a unix socket: write unix:// and an absolute path"),
            (f"unix:///{'x' * 110}", "and the path of a socket has 103 at most"),
            ("localhost", "is not an endpoint: write host:port"),
            ("10.1.2.3:4000", "the token would go to 10.1.2.3:4000 in the clear: give --ca-file"),
        ],
    )
    def test_bad_endpoints(
        self,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
        endpoint: str,
        problem: str,
    ) -> None:
        """What cannot be an endpoint, or would give the token away, is refused before anything is sent."""
        monkeypatch.setenv("OTELPROF_ADMIN_TOKEN", TOKEN)
        monkeypatch.setenv("COLUMNS", "500")
        code, _, error = otelprof(capsys, "incident", "list", "--endpoint", endpoint)
        assert 2 == code
        assert problem in error


def test_an_incident_ends_by_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A running otelprof keeps everything within a second of the command, and samples after the end."""
    endpoint = socket_in(tmp_path)
    with Sink() as sink:
        config = with_admin(
            endpoint=endpoint,
            processors={"sampling": NEVER},
            exporters={"otlp": exporter(sink.endpoint, sending_queue={"enabled": False})},
        )
        with Process(config, tmp_path) as process, Client(process.endpoint) as sender:

            def is_kept() -> bool:
                before = len(sink.requests)
                sender.export(BODY)
                return len(sink.requests) > before

            assert not is_kept()
            start = ("--service", "checkout", "--minutes", "0.05", "--reason", "errors")
            code, _, _ = otelprof(capsys, "incident", "start", *start, "--endpoint", endpoint)
            returned = time.monotonic()
            assert (0, True) == (code, is_kept())
            assert time.monotonic() - returned < 1.0
            while is_kept():
                time.sleep(0.02)
            assert 2.0 < time.monotonic() - returned < 4.0
        events = process.events
    assert ["incident started", "incident ended"] == [one for one in events if one.startswith("incident")]
