"""Run blocking work in a thread pool."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar, TypeVarTuple

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")


async def run_in_pool(
    pool: Executor, work: Callable[[*Arguments], Result], *arguments: *Arguments
) -> Result:
    """Run `work(*arguments)` in a thread of the pool and wait for its result or exception."""
    return await asyncio.get_running_loop().run_in_executor(pool, work, *arguments)
