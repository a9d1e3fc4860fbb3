"""Where the runs of a campaign are carried out: processes of this machine, or a Dask cluster.

Runs are short and independent, so that one message there and one back for each is all the coordination. A worker that
dies takes at most the runs with it that it was at; nothing that came back before is lost.
"""

import asyncio
import concurrent.futures
import contextlib
import importlib
import multiprocessing
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from types import FrameType
from typing import Any

from mpio import __version__
from mpio.errors import ConnectFailed, InputError
from mpio.sim.campaign import Job, Pool, RunOutcome, WorkersLost, run_job

AHEAD = 4  # jobs handed out per worker: enough that none waits, few enough that an interrupt is heard soon
CONNECT_TIMEOUT_S = 10.0
WITHOUT_WORKERS_S = 30.0
"""How long a cluster may be without any worker before its runs are given up."""
_POLL_S = 0.5


def in_process(jobs: Sequence[Job]) -> Iterator[RunOutcome]:
    """The pool that has no workers: one run after the other, here."""
    for job in jobs:
        with _interrupt_put_off() as interrupted:
            outcome = run_job(job)
        yield outcome
        if interrupted.is_set():
            raise KeyboardInterrupt


@contextlib.contextmanager
def _interrupt_put_off() -> Iterator[threading.Event]:
    """A first Ctrl-C only sets the event, a second one interrupts.

    KeyboardInterrupt can come out of any line, and in the middle of a simulated world there are lines that keep what
    is raised to themselves (finalizers) or leave coroutines behind that nobody can finish.
    """
    before = signal.getsignal(signal.SIGINT)
    heard = threading.Event()
    if before is not signal.default_int_handler or threading.current_thread() is not threading.main_thread():
        yield heard
        return

    def hear(number: int, frame: FrameType | None) -> None:
        if heard.is_set():
            signal.default_int_handler(number, frame)
        heard.set()

    signal.signal(signal.SIGINT, hear)
    try:
        yield heard
    finally:
        signal.signal(signal.SIGINT, before)


def processes(workers: int) -> Pool:
    """A pool of so many processes of this machine."""
    def pool(jobs: Sequence[Job]) -> Iterator[RunOutcome]:
        # Spawned, because a fork would copy whatever other threads (a progress display's) hold at that moment
        executor = ProcessPoolExecutor(min(workers, len(jobs)), mp_context=multiprocessing.get_context("spawn"),
                                       initializer=_leave_interrupts_to_the_parent)
        left = iter(jobs)
        try:
            running = [executor.submit(run_job, job) for job in islice(left, workers * AHEAD)]
            while running:
                done, _ = concurrent.futures.wait(running, return_when=FIRST_COMPLETED)
                ended = [future for future in running if future in done]
                running = [future for future in running if future not in done]
                # What came back is handed on before a broken pool is noticed
                for future in sorted(ended, key=lambda future: future.exception() is not None):
                    yield future.result()
                running += [executor.submit(run_job, job) for job in islice(left, len(ended))]
        except BrokenProcessPool:
            raise WorkersLost("a worker process died: killed by a signal, or for want of memory") from None
        finally:
            executor.shutdown(wait=False, cancel_futures=True)
    return pool


def _leave_interrupts_to_the_parent() -> None:
    """Ctrl-C goes to the whole process group; the parent stops handing out jobs, and that is enough."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def dask(address: str) -> Pool:
    """A pool on the Dask cluster whose scheduler is at this address, such as tcp://host:8786.

    Workers need this version of mpio. Threads of one worker share a core, so that workers should have one each.

    Raises:
        InputError: Dask is not installed. ConnectFailed: the scheduler does not answer.
    """
    distributed = _distributed()

    def pool(jobs: Sequence[Job]) -> Iterator[RunOutcome]:
        try:
            client = distributed.Client(address, timeout=CONNECT_TIMEOUT_S)
        except (TimeoutError, OSError, ValueError) as error:
            raise ConnectFailed(f"the Dask scheduler {address} can't be reached: {_first_line(error)}") from None
        try:
            _check_versions(client)
            yield from _run_on(client, jobs)
        finally:
            with contextlib.suppress(OSError, asyncio.TimeoutError):
                client.close()
    return pool


def _distributed() -> Any:
    """Dask's package for clusters: an extra, and slow to import."""
    try:
        return importlib.import_module("distributed")
    except ImportError:
        raise InputError("--dask", "needs the package distributed: pip install 'iscsi-mpio[dask]'") from None


def _run_on(client: Any, jobs: Sequence[Job]) -> Iterator[RunOutcome]:
    distributed = _distributed()
    left = iter(jobs)
    running: list[Any] = []
    seen = time.monotonic()  # when there was a worker, or a result
    while True:
        threads = sum(worker["nthreads"] for worker in client.scheduler_info(n_workers=-1)["workers"].values())
        running += [client.submit(run_job, job, pure=False) for job in
                    islice(left, max(0, max(threads, 1) * AHEAD - len(running)))]
        if not running:
            return
        with contextlib.suppress(asyncio.TimeoutError):
            distributed.wait(running, timeout=_POLL_S, return_when="FIRST_COMPLETED")
        ended = [future for future in running if future.done()]
        running = [future for future in running if not future.done()]
        for future in sorted(ended, key=lambda future: bool(future.status != "finished")):
            yield _result(future)
        if threads or ended:
            seen = time.monotonic()
        elif time.monotonic() - seen > WITHOUT_WORKERS_S:
            raise WorkersLost(f"the Dask cluster has had no worker for {WITHOUT_WORKERS_S:g} s")


def _result(future: Any) -> RunOutcome:
    try:
        outcome: RunOutcome = future.result()
    except (asyncio.CancelledError, Exception) as error:  # noqa: BLE001 - KilledWorker, a scheduler that is gone, …
        raise WorkersLost(f"the Dask cluster lost a run: {type(error).__name__}: {_first_line(error)}") from None
    return outcome


def _check_versions(client: Any) -> None:
    """Other versions run other simulations. Raises InputError."""
    try:
        found: dict[str, str] = client.run(_version)
    except Exception as error:  # noqa: BLE001 - whatever the worker could not import
        raise InputError("--dask", f"a worker can't run mpio {__version__}: {_first_line(error)}") from None
    for worker, version in found.items():
        if version != __version__:
            raise InputError("--dask", f"expected workers with mpio {__version__}, found {version} on {worker}")


def _version() -> str:
    return __version__


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:300]
