"""`python -m openengagement_client` is the command `oe`."""

from openengagement_client.command_line.main import main

if __name__ == "__main__":
    main()
