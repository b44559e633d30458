"""The entry point of `openengagement` and of `python -m openengagement`."""

import gc

from openengagement.tuning import configure_allocator

configure_allocator()  # before the imports below start threads
# Imported modules stay until the process ends. Searching them for garbage during the imports and at
# the exit takes a fifth of the time of a short command.
gc.disable()

from openengagement.cli.main import main

gc.freeze()
gc.enable()

if __name__ == "__main__":
    main()
