"""Invented words for the Tweets of a sandbox."""

from typing import Final

_BEGINNINGS: Final = (
    "Low water at six, and the whole bay is ours.",
    "We moved the old crane today. It has stood there since 1931.",
    "New timetable for the ferries, from Monday on.",
    "Somebody left a piano on the quay. It is in tune.",
    "How do you tell a tern from a gull? Three photos.",
    "The bakery at the lighthouse opens again.",
    "Fog until noon, says the harbour master. He is never wrong.",
    "Thank you for 10,000 names for the new tug. We chose one.",
    "A walk along the mole, one minute of sound.",
    "What a storm does to a pier, before and after.",
    "We answer your questions about the new lock, live at five.",
    "This chart shows every ship of the week.",
    "The last wooden pilot boat is for sale.",
    "Five books about the sea that are not about the sea.",
    "Night shift. Nobody here but the fox.",
)
_ENDINGS: Final = (
    "",
    " More tomorrow.",
    " What do you think?",
    " Photos by Mira.",
    " Link below.",
    " Come by and see.",
    " Part two follows.",
)


def invent_texts(count: int) -> list[str]:
    """Invent words for this many Tweets. The first 105 are different."""
    return [
        _BEGINNINGS[number % len(_BEGINNINGS)] + _ENDINGS[number % len(_ENDINGS)]
        for number in range(count)
    ]
