"""The answering side of the control socket.

One request a connection, several connections at once, none of which can hold up mail:
every request is bounded in octets and time, every answer by the command, and a client
that does not read its answer is dropped.
"""

import asyncio
import contextlib
import os
import socket
import stat
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from mta.admin.client import is_answered
from mta.admin.command import AdminCommand, Arguments, UsageError, find_command
from mta.admin.commands import COMMANDS
from mta.admin.operations import CommandRefusedError, Operations
from mta.admin.protocol import (
    PIECE_CHARACTERS,
    REQUEST_OCTETS_MAX,
    Exit,
    Piece,
    Request,
    decode_request,
    encode_piece,
)
from mta.admin.render import render, render_failure
from mta.admin.socket_path import reachable
from mta.admin.streams import joined
from mta.admin.text import printable
from mta.errors import PetrelError

CONNECTIONS_MAX: Final = 64
"""Operators, their scripts and their traces; more is a script gone wild."""

REQUEST_TIMEOUT_S: Final = 10.0
SEND_TIMEOUT_S: Final = 60.0
"""How long a client may leave a piece of its answer unread."""

FINISH_TIMEOUT_S: Final = 2.0
"""How long closing waits for answers under way: `stop` shall be answered too."""


class AdminServer:
    """Listens at path, mode 0600, while the context is open.

    PetrelError on entering if another daemon answers there or the socket cannot be made.
    """

    def __init__(
        self,
        path: Path,
        *shards: Operations,
        missing: Callable[[], Mapping[int, str]] = dict,
    ) -> None:
        """`missing` says of which shards, by their place, there is no answer now, and why.

        What only shows something is answered by the others, with a line on standard error. What
        changes something, and `list`, is refused before anything is done, but for what is the
        daemon's.
        """
        self._path = path
        self._shards = shards
        self._missing = missing
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        listening = _listen(self._path)
        self._inode = _inode(self._path)
        self._server = await asyncio.start_unix_server(
            self._connected, sock=listening, limit=REQUEST_OCTETS_MAX
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.close()
        if _inode(self._path) == self._inode:
            self._path.unlink(missing_ok=True)
        if self._connections:
            _, late = await asyncio.wait(self._connections, timeout=FINISH_TIMEOUT_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await self._server.wait_closed()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answer = _AnswerWriter(writer)
        try:
            code = await self._answer(reader, answer)
            await answer.send(Piece(exit=code))
        except (ConnectionError, TimeoutError):
            pass  # nobody is left to tell
        except Exception as error:  # a bug in one command must not take the others along
            context = {"message": "an admin command failed", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)
        finally:
            writer.transport.abort() if answer.is_stuck else writer.close()
            with contextlib.suppress(ConnectionError, TimeoutError):
                async with asyncio.timeout(FINISH_TIMEOUT_S):
                    await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, answer: "_AnswerWriter") -> Exit:
        if len(self._connections) > CONNECTIONS_MAX:
            await answer.send(Piece(error="too many admin commands at once; try again"))
            return Exit.REFUSED
        request = Request(command="")
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                line = await reader.readuntil(b"\n")
            request = decode_request(line)
            command = find_command(COMMANDS, request.command)
            return await self._carry_out(command, request, reader, answer)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, UsageError) as error:
            text = str(error) if isinstance(error, UsageError) else "the request is incomplete"
            return await answer.fail(text, request, Exit.USAGE)
        except PetrelError as refusal:
            return await answer.fail(str(refusal), request, Exit.REFUSED)

    async def _carry_out(
        self,
        command: AdminCommand,
        request: Request,
        reader: asyncio.StreamReader,
        answer: "_AnswerWriter",
    ) -> Exit:
        if command.unavailable:
            raise CommandRefusedError(f"{command.words}: {command.unavailable}")
        arguments = command.arguments(request.arguments)
        command.check_form(request.format)
        if command.run is not None:
            missing = {} if command.is_for_daemon else self._missing()
            if missing and not command.only_shows:
                away = "; ".join(missing.values())
                raise CommandRefusedError(
                    f"{away}, so nothing was done: try again in a moment, and see the log"
                )
            shards = [shard for n, shard in enumerate(self._shards) if n not in missing]
            try:
                result = await command.run(shards or self._shards, arguments)
                await answer.print(render(result, request.format, done=command.done))
            finally:
                for text in missing.values():
                    await answer.send(Piece(error=f"{text}: what it has is left out here"))
        elif command.stream is not None:
            lines = joined([command.stream(shard, arguments) for shard in self._shards])
            await _until_gone(reader, answer.follow(lines, _duration(command, arguments)))
        else:
            raise UsageError(f"{command.words} is not a command for the daemon")
        return Exit.DONE


class _AnswerWriter:
    """Sends pieces, waiting for a client that reads slowly but not for one that does not."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self.is_stuck = False

    async def send(self, piece: Piece) -> None:
        self._writer.write(encode_piece(piece))
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await self._writer.drain()
        except TimeoutError:
            self.is_stuck = True
            raise

    async def print(self, text: str) -> None:
        for start in range(0, len(text), PIECE_CHARACTERS):
            await self.send(Piece(out=text[start : start + PIECE_CHARACTERS]))

    async def fail(self, text: str, request: Request, code: Exit) -> Exit:
        text = "\n".join(map(printable, text.split("\n")))
        failure = render_failure(text, request.format)
        if failure:
            await self.print(failure)
        await self.send(Piece(error=text[:PIECE_CHARACTERS]))
        return code

    async def follow(self, lines: AsyncIterator[str], seconds: int | None) -> None:
        deadline = asyncio.timeout(seconds)
        try:
            async with deadline:
                async for line in lines:
                    await self.print(f"{printable(line)}\n")
        except TimeoutError:
            if not deadline.expired():
                raise
        finally:
            close = getattr(lines, "aclose", None)
            if close is not None:
                await close()


def _duration(command: AdminCommand, arguments: Arguments) -> int | None:
    return arguments[command.stream_for] if command.stream_for is not None else None


async def _until_gone(reader: asyncio.StreamReader, work: Coroutine[None, None, None]) -> None:
    """Do work until it is done or the client has gone, whichever is first."""
    working = asyncio.create_task(work)
    gone = asyncio.create_task(_end_of(reader))
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            await working
    finally:
        for task in (working, gone):
            task.cancel()
        await asyncio.gather(working, gone, return_exceptions=True)


async def _end_of(reader: asyncio.StreamReader) -> None:
    while await reader.read(REQUEST_OCTETS_MAX):
        pass


def _listen(path: Path) -> socket.socket:
    """A listening socket at path in place of one that a dead daemon left there."""
    _remove_stale(path)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # The mode comes from the mask: a chmod after bind would be a moment too late.
    mask = os.umask(0o177)
    try:
        with reachable(path) as address:
            listening.bind(address)
        listening.listen(CONNECTIONS_MAX)
    except OSError as error:
        listening.close()
        raise PetrelError(f"cannot make the control socket {path}: {error.strerror}") from None
    finally:
        os.umask(mask)
    listening.settimeout(0)
    return listening


def _remove_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except OSError:
        return  # nothing there, or bind says what is wrong
    if not stat.S_ISSOCK(mode):
        raise PetrelError(f"{path} is in the way of the control socket; move it elsewhere")
    if is_answered(path):
        raise PetrelError(f"another daemon answers at {path}; stop it first")
    path.unlink()


def _inode(path: Path) -> int:
    try:
        return path.lstat().st_ino
    except OSError:
        return 0
