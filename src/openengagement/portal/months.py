"""Months as the pages write them."""

from datetime import UTC, datetime


def format_month(month: str) -> str:
    """Format `2026-11` as `November 2026`."""
    return datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC).strftime("%B %Y")
