"""Find numbers that a page cuts off: the box of every number must be seen as a whole."""

# A number is cut off if it reaches out of the window, or out of an element that hides or scrolls
# what does not fit. Half a pixel is a matter of rounding.
CUT_NUMBERS = """() => {
  const found = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = texts.nextNode(); node; node = texts.nextNode()) {
    const element = node.parentElement;
    if (!/[0-9]/.test(node.textContent) || !element.checkVisibility()
        || element.closest(".visually-hidden, .skip, script, pre, option, title")) continue;
    for (const at of node.textContent.matchAll(/[0-9][0-9.,:%]*/g)) {
      const range = document.createRange();
      range.setStart(node, at.index);
      range.setEnd(node, at.index + at[0].length);
      for (const box of range.getClientRects()) {
        if (box.left < -0.5 || box.right > innerWidth + 0.5)
          found.push(`${at[0]} at ${box.left} to ${box.right} of ${innerWidth}`);
        for (let around = element; around !== document.body; around = around.parentElement) {
          if (getComputedStyle(around).overflowX === "visible") continue;
          const edge = around.getBoundingClientRect();
          if (box.left < edge.left - 0.5 || box.right > edge.right + 0.5)
            found.push(`${at[0]} in ${around.className || around.tagName}`);
        }
      }
    }
  }
  return found;
}"""


def cut_numbers(page):
    """Return the numbers that the page cuts off, with where."""
    page.wait_for_load_state()
    return page.evaluate(CUT_NUMBERS)
