"""Run blocking work in a thread pool."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from contextvars import copy_context
from typing import TypeVar, TypeVarTuple

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")


async def run_in_pool(
    pool: Executor, work: Callable[[*Arguments], Result], *arguments: *Arguments
) -> Result:
    """Run `work(*arguments)` in a thread of the pool and wait for its result or exception.

    The thread has the context variables of the caller.
    """
    run = copy_context().run
    return await asyncio.get_running_loop().run_in_executor(pool, run, work, *arguments)
