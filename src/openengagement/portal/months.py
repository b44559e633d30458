"""Months as the pages write them."""

from openengagement.language.current import current


def format_month(month: str) -> str:
    """Format `2026-11` as `November 2026`, in the language of the request."""
    return current().formats.month(month)
