"""Whatever a client does at the control socket, the others get their answers."""

import asyncio
import json
import os
import signal
import socket
import stat
import sys
from pathlib import Path

import pytest

from mta.admin import server as server_module
from mta.admin.client import NoDaemonError, ask, is_answered
from mta.admin.fake import FakeOperations
from mta.admin.protocol import Exit, Request
from mta.admin.server import AdminServer
from mta.errors import PetrelError


class Asked:
    """One command put to a socket, and what came back."""

    def __init__(self, path: Path, command: str, form: str = "text", **arguments: str) -> None:
        self.out: list[str] = []
        self.errors: list[str] = []
        request = Request(command=command, arguments=arguments, format=form)
        self.exit = ask(path, request, out=self.out.append, error=self.errors.append)

    @property
    def text(self) -> str:
        return "".join(self.out)


async def put(path: Path, command: str, form: str = "text", **arguments: str) -> Asked:
    async with asyncio.timeout(30):
        return await asyncio.to_thread(Asked, path, command, form, **arguments)


async def converse(path: Path, octets: bytes, *, end: bool = False) -> bytes:
    """Send octets as they are and read until the server closes."""
    async with asyncio.timeout(30):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(octets)
        if end:
            writer.write_eof()
        answer = await reader.read()
        writer.close()
        return answer


async def eventually(condition) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


async def test_a_command_is_answered_in_the_format_asked_for(tmp_path):
    async with AdminServer(tmp_path / "control", FakeOperations()):
        text = await put(tmp_path / "control", "show queues")
        dom = await put(tmp_path / "control", "show queues", "dom")
        document = await put(tmp_path / "control", "show queues", "json")
    assert text.exit == dom.exit == document.exit == Exit.DONE
    assert "2 of 2 matching queues." in text.text
    assert 'queue[0].name="gmail.com/vmta1"' in dom.text
    assert json.loads(document.text)["data"]["queues"][0]["rcp"] == 40


async def test_an_answer_longer_than_a_piece_arrives_whole(tmp_path):
    operations = FakeOperations(f"d{number}.example/vmta1" for number in range(500))
    async with AdminServer(tmp_path / "control", operations):
        listed = await put(tmp_path / "control", "list", "json", maxitems="10000")
    assert len(listed.out) > 10
    assert len(json.loads(listed.text)["data"]["msgs"]) == 10000


async def test_a_refused_command_says_why_and_ends_with_1(tmp_path):
    async with AdminServer(tmp_path / "control", FakeOperations()):
        unknown = await put(tmp_path / "control", "pause queue", queues="nowhere.example/*")
        unavailable = await put(tmp_path / "control", "show license", "json")
    assert (unknown.exit, unknown.out) == (Exit.REFUSED, [])
    assert "no queue matches nowhere.example/*" in unknown.errors[0]
    assert unavailable.exit == Exit.REFUSED
    assert json.loads(unavailable.text)["status"] == "error"


async def test_while_a_shard_is_missing_what_would_change_its_part_is_refused_whole(tmp_path):
    there, missing = FakeOperations(), FakeOperations()
    away = {1: "worker 1 is away"}
    async with AdminServer(tmp_path / "control", there, missing, missing=lambda: away):
        refused = await put(tmp_path / "control", "delete", "json", queue="*/*")
        listed = await put(tmp_path / "control", "list")
        shown = await put(tmp_path / "control", "show queues")
        reloaded = await put(tmp_path / "control", "reload")
    assert (refused.exit, listed.exit) == (Exit.REFUSED, Exit.REFUSED)
    assert "worker 1 is away, so nothing was done: try again in a moment" in refused.errors[0]
    assert json.loads(refused.text)["status"] == "error"
    assert (shown.exit, shown.errors) == (
        Exit.DONE,
        ["worker 1 is away: what it has is left out here"],
    )
    assert reloaded.exit == Exit.DONE
    assert (there.told, missing.told) == (["reload"], ["reload"])


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"nonsense\n",
        b"[]\n",
        b'{"command": "show status"}\n',
        b'{"command": "show status", "arguments": {"x": 1}, "format": "text"}\n',
        b'{"command": "show status", "arguments": {"x": "1"}, "format": "text"}\n',
        b'{"command": "show status", "arguments": {}, "format": "yaml"}\n',
        b'{"command": "no such", "arguments": {}, "format": "text"}\n',
        b'{"command": "run", "arguments": {}, "format": "text"}\n',
        b'{"command": "show queues", "arguments": {"maxitems": "0"}, "format": "text"}\n',
        b"[" * 60000 + b"\n",
        b"\xff\xfe\n",
        b"x" * 200_000 + b"\n",
    ],
)
async def test_a_malformed_request_is_refused_as_usage(tmp_path, line):
    async with AdminServer(tmp_path / "control", FakeOperations()):
        try:
            answer = await converse(tmp_path / "control", line)
        except ConnectionError:
            assert len(line) > 65536  # it was still sending
        else:
            assert answer.endswith(b'{"exit": 2}\n'), answer
        assert (await put(tmp_path / "control", "show status")).exit == Exit.DONE


async def test_a_request_cut_off_is_refused_and_changes_nothing(tmp_path):
    operations = FakeOperations()
    async with AdminServer(tmp_path / "control", operations):
        answer = await converse(tmp_path / "control", b'{"command": "stop"', end=True)
    assert answer.endswith(b'{"exit": 2}\n')
    assert operations.told == []


async def test_a_client_that_says_nothing_is_dropped_and_holds_up_nobody(tmp_path, monkeypatch):
    monkeypatch.setattr(server_module, "REQUEST_TIMEOUT_S", 0.2)
    async with AdminServer(tmp_path / "control", FakeOperations()):
        silent = asyncio.create_task(converse(tmp_path / "control", b""))
        assert (await put(tmp_path / "control", "show status")).exit == Exit.DONE
        assert await silent == b""


async def test_a_client_that_does_not_read_is_dropped(tmp_path, monkeypatch):
    monkeypatch.setattr(server_module, "SEND_TIMEOUT_S", 0.2)
    operations = FakeOperations(f"d{number}.example/vmta1" for number in range(500))
    request = b'{"command": "list", "arguments": {"maxitems": "10000"}, "format": "json"}\n'
    async with AdminServer(tmp_path / "control", operations) as server:
        with socket.socket(socket.AF_UNIX) as deaf:
            deaf.connect(str(tmp_path / "control"))
            deaf.sendall(request)
            await eventually(lambda: server._connections)
            await eventually(lambda: not server._connections)
        assert (await put(tmp_path / "control", "show status")).exit == Exit.DONE


async def test_more_clients_than_allowed_are_told_to_come_again(tmp_path):
    async with AdminServer(tmp_path / "control", FakeOperations()) as server:
        connections = [
            await asyncio.open_unix_connection(tmp_path / "control")
            for _ in range(server_module.CONNECTIONS_MAX)
        ]
        await eventually(lambda: len(server._connections) == server_module.CONNECTIONS_MAX)
        refused = await put(tmp_path / "control", "show status")
        assert refused.exit == Exit.REFUSED
        assert "too many" in refused.errors[0]
        for _, writer in connections:
            writer.close()
        await eventually(lambda: not server._connections)
        assert (await put(tmp_path / "control", "show status")).exit == Exit.DONE


async def test_trace_lines_arrive_one_by_one_and_end_with_the_client(tmp_path):
    operations = FakeOperations()
    async with AdminServer(tmp_path / "control", operations):
        reader, writer = await asyncio.open_unix_connection(tmp_path / "control")
        writer.write(b'{"command": "trace", "arguments": {"queues": "a.example"}, ')
        writer.write(b'"format": "text"}\n')
        async with asyncio.timeout(20):
            first = await reader.readline()
            assert json.loads(first) == {"out": "starting a.example/{default}\n"}
            operations.trace_lines.put_nowait(">>> 220 \x1b[2Jready")
            assert json.loads(await reader.readline()) == {"out": ">>> 220  [2Jready\n"}
        writer.close()
        await eventually(lambda: operations.traces_open == 0)


async def test_a_trace_ends_by_itself_after_its_seconds(tmp_path):
    async with AdminServer(tmp_path / "control", FakeOperations()):
        traced = await put(tmp_path / "control", "trace", queues="*/*", seconds="1s")
    assert (traced.exit, traced.text) == (Exit.DONE, "starting */*\n")


async def test_closing_ends_traces_and_removes_the_socket(tmp_path):
    operations = FakeOperations()
    async with AdminServer(tmp_path / "control", operations):
        trace = asyncio.create_task(put(tmp_path / "control", "trace", queues="*/*"))
        await eventually(lambda: operations.traces_open)
    traced = await trace
    assert traced.exit == Exit.UNKNOWN
    assert operations.traces_open == 0
    assert not (tmp_path / "control").exists()


async def test_stop_is_answered_although_the_server_closes_at_once(tmp_path):
    operations = FakeOperations()
    async with AdminServer(tmp_path / "control", operations):
        stop = asyncio.create_task(put(tmp_path / "control", "stop"))
        await eventually(lambda: operations.told)
    assert ((await stop).exit, (await stop).text) == (Exit.DONE, "Stopping.\n")


async def test_only_the_owner_may_connect(tmp_path):
    async with AdminServer(tmp_path / "control", FakeOperations()):
        mode = (tmp_path / "control").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600


async def test_a_path_too_long_for_a_socket_serves_all_the_same(tmp_path):
    directory = tmp_path / ("d" * 120) / ("e" * 120)
    directory.mkdir(parents=True)
    for _ in range(2):
        async with AdminServer(directory / "control", FakeOperations()):
            assert (await put(directory / "control", "show version")).exit == Exit.DONE
        assert not (directory / "control").exists()
    with pytest.raises(NoDaemonError, match="no daemon answers"):
        await put(directory / "control", "show version")


async def test_the_socket_of_a_killed_daemon_is_replaced(tmp_path):
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(tmp_path / "control"))
        killed.listen()
    assert not is_answered(tmp_path / "control")
    async with AdminServer(tmp_path / "control", FakeOperations()):
        assert (await put(tmp_path / "control", "show version")).exit == Exit.DONE


async def test_a_second_daemon_is_told_of_the_first(tmp_path):
    async with AdminServer(tmp_path / "control", FakeOperations()):
        with pytest.raises(PetrelError, match="another daemon answers"):
            async with AdminServer(tmp_path / "control", FakeOperations()):
                raise AssertionError
        assert (await put(tmp_path / "control", "show version")).exit == Exit.DONE


async def test_a_file_in_the_way_is_left_alone(tmp_path):
    (tmp_path / "control").write_text("mine")
    with pytest.raises(PetrelError, match="in the way"):
        async with AdminServer(tmp_path / "control", FakeOperations()):
            raise AssertionError
    assert (tmp_path / "control").read_text() == "mine"


async def test_a_directory_that_is_not_there_is_an_error_that_says_so(tmp_path):
    with pytest.raises(PetrelError, match="No such file"):
        async with AdminServer(tmp_path / "none" / "control", FakeOperations()):
            raise AssertionError


async def test_the_server_leaves_the_socket_of_its_successor(tmp_path):
    async with AdminServer(tmp_path / "control", FakeOperations()):
        os.unlink(tmp_path / "control")
        with socket.socket(socket.AF_UNIX) as successor:
            successor.bind(str(tmp_path / "control"))
    assert (tmp_path / "control").exists()


async def test_a_bug_in_a_command_ends_that_command_alone(tmp_path):
    class Broken(FakeOperations):
        async def status(self):
            raise ZeroDivisionError

    reports: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context))
    async with AdminServer(tmp_path / "control", Broken()):
        broken = await put(tmp_path / "control", "show status")
        fine = await put(tmp_path / "control", "show queues")
    assert (broken.exit, fine.exit) == (Exit.UNKNOWN, Exit.DONE)
    assert isinstance(reports[0]["exception"], ZeroDivisionError)


async def test_a_server_that_dies_amid_an_answer_leaves_the_outcome_unknown(tmp_path):
    async def half(reader, writer):
        await reader.readline()
        writer.write(b'{"out": "Queue"}\n')
        writer.close()

    server = await asyncio.start_unix_server(half, tmp_path / "control")
    async with server:
        asked = await put(tmp_path / "control", "show version")
    assert (asked.exit, asked.text) == (Exit.UNKNOWN, "Queue")
    assert "middle of its answer" in asked.errors[0]


async def typed(config: Path, *words: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "mta", "--config", str(config), *words,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def test_the_command_line_puts_commands_to_the_daemon_of_its_configuration(tmp_path):
    (tmp_path / "pmta.conf").write_text("spool .\n")
    operations = FakeOperations()
    async with asyncio.timeout(60), AdminServer(tmp_path / "control", operations):
        pause = await typed(tmp_path / "pmta.conf", "pause", "queue", "gmail.com/*")
        assert await pause.communicate() == (b"Queue(s) paused.\n", b"")
        refused = await typed(tmp_path / "pmta.conf", "--json", "pause", "queue", "x.example/*")
        out, error = await refused.communicate()
    assert pause.returncode == 0
    assert operations.told == ["pause gmail.com/*", "pause x.example/*"]
    assert refused.returncode == 1
    assert json.loads(out)["message"] == error.decode().strip()


async def test_ctrl_c_ends_a_trace_without_complaint(tmp_path):
    (tmp_path / "pmta.conf").write_text("spool .\n")
    operations = FakeOperations()
    async with asyncio.timeout(60), AdminServer(tmp_path / "control", operations):
        trace = await typed(tmp_path / "pmta.conf", "trace", "a.example/v1")
        assert await trace.stdout.readline() == b"starting a.example/v1\n"
        trace.send_signal(signal.SIGINT)
        assert await trace.communicate() == (b"", b"")
        await eventually(lambda: operations.traces_open == 0)
    assert trace.returncode == 0
