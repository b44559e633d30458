"""Find the first difference between an answer and the model's, in one line."""

from __future__ import annotations

import re
from typing import Any

from oracle import wire
from oracle.model import Answer


def find_difference(expected: Answer, status: int, body: Any) -> str | None:
    """Describe the first difference between the model's answer and a received one."""
    if status != expected.status:
        return f"status {status}, expected {expected.status}: {str(body)[:300]}"
    if not isinstance(body, dict):
        return f"body is not an object: {str(body)[:300]}"
    if set(body) != set(expected.body):
        return f"keys {sorted(body)}, expected {sorted(expected.body)}"
    for key, value in expected.body.items():
        if key == "errors":
            difference = find_text_difference(value, body[key])
        elif key in expected.groupings:
            difference = find_tree_difference(value, body[key], expected.groupings[key], key)
        else:
            difference = None if body[key] == value else f"{key}: {body[key]!r}, expected {value!r}"
        if difference is not None:
            return difference
    return None


def find_text_difference(expected: list[Any] | None, texts: Any) -> str | None:
    """Compare error texts; if the contract fixes none, any text is right."""
    if not isinstance(texts, list) or not texts or not all(isinstance(t, str) and t for t in texts):
        return f"errors are not a list of texts: {texts!r}"
    if expected is None:
        return None
    if len(texts) != len(expected):
        return f"errors {texts!r}, expected {expected!r}"
    for text, wanted in zip(texts, expected, strict=True):
        same = wanted.fullmatch(text) if isinstance(wanted, re.Pattern) else wanted == text
        if not same:
            return f"error {text!r}, expected {wanted!r}"
    return None


def find_tree_difference(expected: Any, tree: Any, group_by: list[str], where: str) -> str | None:
    """Compare one grouping, level by level; days and hours must also be in order."""
    if not group_by:
        same = type(tree) is type(expected) and tree == expected
        return None if same else f"{where}: {tree!r}, expected {expected!r}"
    if not isinstance(tree, dict):
        return f"{where}: {tree!r} is not an object"
    keys, wanted = list(tree), list(expected)
    if sorted(keys) != sorted(wanted):
        missing, extra = sorted(set(wanted) - set(keys)), sorted(set(keys) - set(wanted))
        return f"{where}: keys missing {missing[:5]}, extra keys {extra[:5]}"
    if group_by[0] in wire.TIME_DIMENSIONS and keys != wanted:
        return f"{where}: keys in the order {keys[:30]}"
    for key in wanted:
        difference = find_tree_difference(expected[key], tree[key], group_by[1:], f"{where}/{key}")
        if difference is not None:
            return difference
    return None
