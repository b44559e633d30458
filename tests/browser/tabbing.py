"""Go through a page with the Tab key, as people do who use no pointer."""

from collections.abc import Iterator
from typing import Any

from playwright.sync_api import Page

# Every control that can be used now. Tab stops once in a group of radio buttons.
_CONTROLS = """
  const usable = (each) => each.tabIndex >= 0 && !each.disabled && each.checkVisibility()
    && each.getClientRects().length > 0;
  const groups = new Set();
  const controls = [...document.querySelectorAll(
    "a[href], button, input, select, textarea, summary, [tabindex='0']")].filter((each) => {
    if (!usable(each)) return false;
    if (each.type !== "radio") return true;
    const name = `${each.form?.getAttribute("action")} ${each.name}`;
    const chosen = each.form?.querySelector(`[name="${each.name}"]:checked`) ?? each;
    if (groups.has(name) || chosen !== each) return false;
    groups.add(name);
    return true;
  });
"""
# The first link is not checked: its ring is hidden if the pointer was used last.
_BEGIN = """() => {
  const first = document.querySelector(".skip");
  first.focus();
  window.reached = new Set([first]);
}"""
_STOP = """() => {
  const element = document.activeElement;
  if (!element || element === document.body || reached.has(element)) {
    return { again: reached.has(element), over: !element || element === document.body };
  }
  reached.add(element);
  const box = element.getClientRects()[0];
  // The middle of what is in the window: a browser shows the line of the caret, and no more, of a
  // text with several lines.
  const middle = (from, to, end) => (Math.max(from, 0) + Math.min(to, end)) / 2;
  const front = document.elementFromPoint(
    middle(box.left, box.right, innerWidth), middle(box.top, box.bottom, innerHeight));
  return {
    again: false,
    over: false,
    html: element.outerHTML.slice(0, 160),
    ring: [null, "::after"].some((part) => {
      const style = getComputedStyle(element, part);
      return style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
    }),
    inFront: Boolean(front) && (element.contains(front) || front.contains(element)
      || element.labels?.[0]?.contains(front)),
  };
}"""
_MISSED = f"""() => {{ {_CONTROLS}
  return controls.filter((each) => !reached.has(each)).map((each) => each.outerHTML.slice(0, 160));
}}"""
_COUNT = f"() => {{ {_CONTROLS} return controls.length; }}"
_PARTS_MAX = 8  # stops inside of one control: the parts of a date and its button
_FOCUSED = """() => {
  const element = document.activeElement;
  if (element === document.body) return null;
  const spoken = element.cloneNode(true);
  spoken.querySelectorAll("[aria-hidden]").forEach((each) => each.remove());
  return {
    name: (spoken.textContent || element.name || element.tagName).trim().replace(/\\s+/g, " "),
    id: element.id,
    ring: [null, "::after"].some((part) => {
      const style = getComputedStyle(element, part);
      return style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
    }),
    inside: element.getBoundingClientRect().top >= 0,
  };
}"""


def tab_through(page: Page) -> Iterator[str]:
    """Press Tab from the start of the page to its end; yield what is wrong.

    Every control must be reached. Its focus must be visible, and nothing may lie above it.
    """
    page.wait_for_load_state()
    page.evaluate(_BEGIN)
    stop: dict[str, Any] = page.evaluate(_STOP)
    for _ in range(_PARTS_MAX * (page.evaluate(_COUNT) + 1)):
        if stop["over"]:
            break
        if not stop["again"] and not stop["ring"]:
            yield f"no focus ring: {stop['html']}"
        if not stop["again"] and not stop["inFront"]:
            yield f"covered or out of sight: {stop['html']}"
        page.keyboard.press("Tab")
        stop = page.evaluate(_STOP)
    else:
        yield "Tab never leaves the page"
    for each in page.evaluate(_MISSED):
        yield f"Tab never gets to: {each}"


def press_tab(page: Page) -> list[str]:
    """Press Tab. Return the name and the id of the control that has the focus, which must be seen.

    Past the end of the page, before its start, there is none.
    """
    page.wait_for_load_state()  # before it, there are no styles, and controls may be missing
    page.keyboard.press("Tab")
    focused = page.evaluate(_FOCUSED)
    if focused is None:
        return []
    assert focused["ring"], focused
    assert focused["inside"], focused
    return [focused["name"], focused["id"]]


def tab_to(page: Page, name: str, *, most: int = 80) -> None:
    """Press Tab until the control with this name or id has the focus."""
    for _ in range(most):
        if name in press_tab(page):
            return
    raise AssertionError(f"Tab never gets to {name}")
