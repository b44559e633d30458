"""Make password hashes cheap in a Python process that has this folder in its PYTHONPATH.

The quick tests set and verify hundreds of passwords, at 0.1 s of CPU each with the real costs. The
heavy tests use the real costs.
"""

import sys
from dataclasses import replace
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

PROFILES = "argon2.profiles"


class _CheapProfiles(MetaPathFinder):
    """Replaces the profile that the product uses, as soon as a process imports it."""

    def find_spec(self, fullname, path=None, target=None) -> ModuleSpec | None:
        if fullname != PROFILES:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        execute = spec.loader.exec_module

        def execute_and_replace(module: ModuleType) -> None:
            execute(module)
            costs = {"time_cost": 1, "memory_cost": 8, "parallelism": 1}
            module.RFC_9106_LOW_MEMORY = replace(module.RFC_9106_LOW_MEMORY, **costs)

        spec.loader.exec_module = execute_and_replace
        return spec


sys.meta_path.insert(0, _CheapProfiles())
