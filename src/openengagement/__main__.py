"""The way in: `openengagement`, and `python -m openengagement`."""

import gc

from openengagement.tuning import configure_allocator

configure_allocator()  # before what is imported begins threads
# What is imported stays until the end. To look through it for garbage, time and again while it is
# imported and once more at the exit, takes a fifth of a short command's time.
gc.disable()

from openengagement.cli.main import main

gc.freeze()
gc.enable()

if __name__ == "__main__":
    main()
