"""Where the cases of a sweep run: on processes of this machine, or on a Dask cluster."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, Protocol, cast

from boards.errors import BoardsError
from optimizer.errors import InputError, OptimizerError
from optimizer.plan_io import versions
from optimizer.sweep_case import Answer, Case, solve_case

__all__ = ["DaskCluster", "Finished", "Processes", "Runner"]

_CONNECT_S = 10.0
"""How long a cluster may take to answer, and to have its first worker."""
_INSTALL = "pip install 'edgecut[dask]'"


@dataclass(frozen=True)
class Finished:
    """A case that has come to an end: with an answer, or None and the reason why there is none."""

    case: Case
    answer: Answer | None
    error: str = ""


class Runner(Protocol):
    """Runs cases and yields them in the order they end. Closing the generator early stops what is running."""

    def run(self, cases: Sequence[Case]) -> Generator[Finished, None, None]: ...


class Processes:
    """Cases on ``workers`` processes (None: one a core), each one thread of CP-SAT.

    A process that dies (out of memory, say) takes only its own case with it.
    """

    def __init__(self, workers: int | None = None) -> None:
        self.workers = workers or len(os.sched_getaffinity(0))

    def run(self, cases: Sequence[Case]) -> Generator[Finished, None, None]:
        todo = deque(cases)
        idle = [_Worker() for _ in range(min(self.workers, len(cases)))]
        busy: dict[Connection, tuple[_Worker, Case]] = {}
        try:
            while todo or busy:
                while todo and idle:
                    worker, case = idle.pop(), todo.popleft()
                    busy[worker.connection] = worker, case
                    worker.give(case)
                for ready in wait(list(busy)):
                    worker, case = busy.pop(cast(Connection, ready))
                    finished = worker.take(case)
                    idle.append(worker if worker.process.is_alive() else _Worker())
                    yield finished
        finally:
            for worker in [*idle, *(worker for worker, _ in busy.values())]:
                worker.stop()


class _Worker:
    """A process that solves one case after another. Spawned: a fork of threads and solvers may hang."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self.process: SpawnProcess = context.Process(target=_serve, args=(other,), daemon=True)
        # Ctrl-C reaches the whole group, and only the parent decides; a blocked signal stays so in the child.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        other.close()

    def give(self, case: Case) -> None:
        try:
            self.connection.send(case)
        except OSError:
            return  # it died before; ``take`` sees the end of the pipe and tells why

    def take(self, case: Case) -> Finished:
        try:
            reply = self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            return Finished(case, None, _death(self.process.exitcode))
        return Finished(case, None, reply) if isinstance(reply, str) else Finished(case, reply)

    def stop(self) -> None:
        self.connection.close()
        self.process.kill()  # it keeps nothing: only this process writes results
        self.process.join()


def _serve(connection: Connection) -> None:
    """The life of a worker process: cases in, answers (or the text of an error) out, until the pipe is closed."""
    # From here on for good: a blocked signal gets through where a library changes the mask of its threads.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        try:
            case = connection.recv()
        except EOFError:
            return
        try:
            reply: Answer | str = solve_case(case)
        except (OptimizerError, BoardsError) as e:
            reply = str(e)
        connection.send(reply)


def _end_with_parent() -> None:
    """A sweep that is killed leaves no process behind that solves on for nobody."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)


def _death(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        name = signal.Signals(-exit_code).name
        memory = " (out of memory?)" if name == "SIGKILL" else ""
        return f"The process that solved it was ended by {name}{memory}."
    return f"The process that solved it ended with exit code {exit_code}."


class DaskCluster:
    """Cases on the workers of a Dask cluster; ``address`` is the scheduler's, such as "tcp://10.0.0.5:8786".

    Raises InputError where Dask is not installed, nobody answers, or a worker has no edgecut of this version.
    """

    def __init__(self, address: str) -> None:
        self.address = address

    def run(self, cases: Sequence[Case]) -> Generator[Finished, None, None]:
        client = self._connect()
        try:
            yield from _on_cluster(client, cases)
        finally:
            client.close(timeout=_CONNECT_S)

    def _connect(self) -> Any:
        """A client of the cluster, checked."""
        try:
            from distributed import Client
        except ImportError as e:
            raise InputError(
                "--dask needs the package distributed", expected=_INSTALL, got="it is not installed"
            ) from e
        try:
            client = Client(self.address, timeout=_CONNECT_S, set_as_default=False)
        except (OSError, ValueError) as e:  # asyncio's and Dask's TimeoutError are OSErrors, a bad address ValueError
            raise InputError(
                "the Dask scheduler does not answer", where=self.address, expected="a running scheduler",
                got=str(e) or type(e).__name__, hint="Start one with `dask scheduler`, workers with `dask worker`.",
            ) from e  # fmt: skip
        try:
            _check_workers(client, self.address)
        except InputError:
            client.close(timeout=_CONNECT_S)
            raise
        return client


def _check_workers(client: Any, address: str) -> None:
    try:
        client.wait_for_workers(1, timeout=_CONNECT_S)
    except TimeoutError as e:
        hint = f"Start some: dask worker {address}."
        raise InputError(
            "the Dask cluster has no workers", where=address, expected="at least one", got="none", hint=hint
        ) from e
    try:
        found = client.run(_version)
    except ImportError as e:
        raise InputError(
            "a worker of the Dask cluster cannot load edgecut", where=address, expected="edgecut on every worker",
            got=str(e), hint=f"On the workers: {_INSTALL}.",
        ) from e  # fmt: skip
    own = _version()
    for worker, version in found.items():
        if version != own:
            raise InputError(
                "a worker of the Dask cluster has another version", where=worker, expected=f"edgecut {own}", got=version
            )


def _version() -> str:
    return versions()["edgecut"]


def _on_cluster(client: Any, cases: Sequence[Case]) -> Iterator[Finished]:
    from distributed import as_completed

    futures = {client.submit(solve_case, case, key=f"edgecut-{case.key}", pure=False): case for case in cases}
    try:
        for future in as_completed(list(futures), loop=client.loop):
            case = futures.pop(future)
            if future.status == "finished":
                yield Finished(case, future.result())
            else:
                yield Finished(case, None, _failure(future))
            future.release()  # the cluster need not keep the answer
    finally:
        client.cancel(list(futures))


def _failure(future: Any) -> str:
    if future.status == "cancelled":
        return "The cluster gave it up (was the scheduler stopped?)."
    error = future.exception()
    return f"{type(error).__name__}: {error}"
