// Reads the overview's chart: a tooltip at the nearest bar, for the pointer and for the arrow keys.

const plot = document.getElementById("plot");
if (plot) readChart(plot.querySelector(".area"), document.querySelector("#figures table"));

function readChart(area, table) {
  const bars = area.querySelector(".bars");
  const names = [...table.tHead.rows[0].cells].map((cell) => cell.textContent);
  const rows = [...table.tBodies[0].rows].map((row) => ({
    middle: Number(row.dataset.middle),
    texts: [...row.cells].map((cell) => cell.textContent.replace(/\s+/g, " ").trim()),
  }));
  const band = document.createElement("i");
  const tip = document.createElement("div");
  band.className = "band";
  tip.className = "tip";
  tip.setAttribute("role", "status");
  area.append(band, tip);
  area.tabIndex = 0;
  area.setAttribute("role", "group");
  area.setAttribute("aria-label", gettext("Chart of %(name)s: the arrow keys read its values", { name: names[1] }));
  let shown = -1;
  hide();

  function hide() {
    shown = -1;
    band.hidden = true;
    tip.hidden = true;
    tip.replaceChildren();
  }

  function show(index) {
    shown = Math.max(0, Math.min(rows.length - 1, index));
    const { middle, texts } = rows[shown];
    const title = document.createElement("b");
    title.textContent = texts[0];
    const lines = texts.slice(1).map((text, at) => {
      const line = document.createElement("span");
      line.textContent = `${names[at + 1]}: ${text}`;
      return line;
    });
    tip.replaceChildren(title, ...lines);
    band.hidden = false;
    tip.hidden = false;
    const width = bars.getBoundingClientRect().width;
    const at = (width * middle) / 100;
    band.style.insetInlineStart = `${at}px`;
    // Beside the bar, on the side that has room, and never outside of the chart.
    const left = at > width / 2 ? at - tip.offsetWidth - 12 : at + 12;
    tip.style.insetInlineStart = `${Math.max(0, Math.min(left, width - tip.offsetWidth))}px`;
  }

  area.addEventListener("pointermove", (event) => {
    const box = bars.getBoundingClientRect();
    const at = (100 * (event.clientX - box.left)) / box.width;
    const distances = rows.map((row) => Math.abs(row.middle - at));
    show(distances.indexOf(Math.min(...distances)));
  });
  area.addEventListener("pointerleave", hide);
  area.addEventListener("blur", hide);
  area.addEventListener("keydown", (event) => {
    const last = rows.length - 1;
    const moves = {
      ArrowLeft: shown < 0 ? last : shown - 1,
      ArrowRight: shown < 0 ? 0 : shown + 1,
      Home: 0,
      End: last,
    };
    if (event.key === "Escape") hide();
    else if (event.key in moves) show(moves[event.key]);
    else return;
    event.preventDefault();
  });
}
