"""Where Prefect stops: ``task`` makes a Prefect task that is a plain function outside a flow run.

Inside a flow run each call is a task run with retries and a name. Outside
(``sync_bills.fn(...)``: tests, crash drills) the same functions run bare, so that
nothing of ours depends on what Prefect records.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ParamSpec, Protocol, TypeVar, cast, get_type_hints

import prefect
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext, TagsContext
from prefect.states import Completed
from prefect.utilities.hashing import file_hash

from meterbridge.errors import OnHold, RetriableError
from meterbridge.mishaps import known
from meterbridge.rules.outcome import Outcome

P = ParamSpec("P")
R = TypeVar("R")

RETRY_DELAYS_SECONDS = [2, 15, 60]
"""Between attempts at a batch; the connector has already waited out the brief troubles."""


_plain: ContextVar[bool] = ContextVar("plain", default=False)


@contextmanager
def plain_tasks() -> Iterator[None]:
    """Inside the block tasks are plain functions in a flow run too: no task runs, no retries of their own.

    For runs that must be quick and are repeated as a whole: twenty task runs cost Prefect's server
    most of a second, and its SQLite answers others with 503 meanwhile.
    """
    before = _plain.set(True)
    try:
        yield
    finally:
        _plain.reset(before)


_watching: list[Callable[[str], None]] = []


@contextmanager
def watched(tell: Callable[[str], None]) -> Iterator[None]:
    """Tell the name of every stage of the block as it begins: what a person at a terminal follows a run by."""
    _watching.append(tell)
    try:
        yield
    finally:
        _watching.remove(tell)


def raise_known(failure: BaseException) -> None:
    """Raise the error of ours that a foreign one means (a full disk, no memory, Ctrl-C); return where it is a bug."""
    ours = known(failure)
    if ours is not None and ours is not failure:
        raise ours from failure


def is_retriable(_task: Any, _run: Any, state: State[Any]) -> bool:
    """True if the failed state's exception says that nothing was decided."""
    try:
        state.result()
    except OnHold:
        return False  # a person has to let it go on
    except RetriableError:
        return True
    except BaseException:  # noqa: BLE001 - any other failure is final here, whatever it is
        return False
    return False


class Reported(Protocol):
    """A flow's return value: a report that says how the run ended."""

    @property
    def outcome(self) -> Outcome:
        """Its name and one sentence."""


S = TypeVar("S", bound=Reported | None)

NOTHING = Outcome("Completed", "nothing to do")


def flow(*, name: str, flow_run_name: Callable[[], str] | str) -> Callable[[Callable[P, S]], prefect.Flow[P, S]]:
    """Make a function a Prefect flow whose run ends as its report says; who calls the flow gets the report.

    The one place where a report becomes a state. A function that returns nothing had nothing to do.
    """

    def decorate(function: Callable[P, S]) -> prefect.Flow[P, S]:
        @functools.wraps(function)
        def ended(*args: P.args, **kwargs: P.kwargs) -> S:
            report = function(*args, **kwargs)
            if FlowRunContext.get() is None:
                return report
            end = NOTHING if report is None else report.outcome
            # Prefect takes the state for its run and hands on its data.
            return cast(S, Completed(name=end.name, message=end.message, data=report))

        # Prefect checks parameters by the annotations, and would look up their names in this module, not in the flow's.
        ended.__annotations__ = get_type_hints(function, include_extras=True)
        ended.__signature__ = inspect.signature(function, eval_str=True)  # type: ignore[attr-defined]
        # The version is that of the flow's own file, not of this one.
        version = file_hash(inspect.getfile(function))
        return prefect.Flow(ended, name=name, flow_run_name=flow_run_name, version=version)

    return decorate


def task(*, name: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a stage or a batch a Prefect task; ``name`` may hold the function's parameters in braces.

    Task runs carry no tags, not even those of the flow run: for each tagged one Prefect asks its server
    for a concurrency slot, whether a limit exists or not. That was a third to a whole second a task.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def told(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return function(*args, **kwargs)
            except Exception as failure:
                raise_known(failure)
                raise

        inside: Callable[P, R] = prefect.task(
            name=function.__name__,
            task_run_name=name,
            retries=len(RETRY_DELAYS_SECONDS),
            retry_delay_seconds=list(RETRY_DELAYS_SECONDS),
            retry_condition_fn=is_retriable,
            cache_policy=NO_CACHE,
            persist_result=False,
        )(told)

        signature = inspect.signature(function)

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            for tell in _watching:
                tell(name.format(**signature.bind(*args, **kwargs).arguments))
            if FlowRunContext.get() is None or _plain.get():
                return told(*args, **kwargs)
            with TagsContext(current_tags=set()):
                return inside(*args, **kwargs)

        return call

    return decorate
