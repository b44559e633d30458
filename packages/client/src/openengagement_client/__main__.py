"""The command `oe`, also as `python -m openengagement_client`."""

import sys


def main() -> None:
    """Run the command, or say how to install what it needs."""
    try:
        from openengagement_client.command_line.main import main as run  # noqa: PLC0415 - optional
    except ModuleNotFoundError as error:
        if error.name not in ("rich", "typer"):
            raise
        sys.exit(f"oe needs {error.name}: pip install 'openengagement-client[cli]'")
    run()


if __name__ == "__main__":
    main()
