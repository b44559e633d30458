// Reads the overview's chart: a tooltip at the nearest bar, for the pointer and for the arrow keys.

const plot = document.getElementById("plot");
if (plot) {
  readChart(plot.querySelector(".area"), document.querySelector("#figures table"));
  const png = document.getElementById("png");
  png.hidden = false;
  png.addEventListener("click", () => savePicture(plot, png.dataset));
}

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

// Save the chart as a picture: metric and total, period, zone and platform above it, its key below.
function savePicture(plot, { span, platform }) {
  const [scale, edge, above, below] = [2, 16, 72, 48];
  const whole = plot.getBoundingClientRect();
  const canvas = document.createElement("canvas");
  canvas.width = (whole.width + 2 * edge) * scale;
  canvas.height = (whole.height + above + below) * scale;
  const pen = canvas.getContext("2d");
  const root = getComputedStyle(document.documentElement);
  const colour = (name) => root.getPropertyValue(name).trim();
  const write = (text, x, y, { font = "12px", ink = "--ink-soft", align = "left" } = {}) => {
    pen.font = `${font} ${colour("--sans")}`;
    pen.fillStyle = colour(ink);
    pen.textAlign = align;
    pen.fillText(text, x, y);
  };
  pen.scale(scale, scale);
  pen.fillStyle = colour("--card");
  pen.fillRect(0, 0, canvas.width, canvas.height);
  const label = document.getElementById("headline").textContent;
  write(`${label}: ${document.getElementById("total").textContent}`, edge, 28, { font: "600 18px", ink: "--ink" });
  write(`${span} · ${platform}`, edge, 50);
  let x = edge;
  for (const entry of document.querySelectorAll(".key span")) {
    pen.fillStyle = entry.querySelector(".before") ? colour("--edge") : colour("--bar");
    pen.globalAlpha = entry.querySelector(".hatched") ? 0.4 : 1;
    pen.fillRect(x, above + whole.height + 20, 12, entry.querySelector(".before") ? 3 : 12);
    pen.globalAlpha = 1;
    write(entry.textContent, x + 18, above + whole.height + 31);
    x += pen.measureText(entry.textContent).width + 42;
  }
  pen.translate(edge - whole.left, above - whole.top); // from now on, in the coordinates of the page
  for (const tick of plot.querySelectorAll(".y-axis span")) {
    const box = tick.getBoundingClientRect();
    write(tick.textContent, box.right, box.bottom - 4, { align: "right" });
  }
  for (const text of plot.querySelectorAll(".x-axis text")) {
    const box = text.getBoundingClientRect();
    write(text.textContent, box.left, box.bottom - 4);
  }
  plot.querySelectorAll(".bars > *, .bars > svg > path").forEach((shape) => paint(pen, shape, colour("--bar")));
  canvas.toBlob((blob) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `overview-${label.toLowerCase().replaceAll(" ", "-")}.png`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  }, "image/png");
}

// Paint one shape of the chart as the page shows it.
function paint(pen, shape, hatched) {
  const style = getComputedStyle(shape);
  const box = shape.getBoundingClientRect();
  pen.lineWidth = parseFloat(style.strokeWidth) || 1;
  pen.strokeStyle = style.stroke === "none" ? "transparent" : style.stroke;
  pen.setLineDash(style.strokeDasharray === "none" ? [] : style.strokeDasharray.split(/[ ,]+/).map(parseFloat));
  if (shape.tagName === "rect") {
    const running = shape.classList.contains("running");
    pen.fillStyle = running ? hatched : style.fill;
    pen.globalAlpha = running ? 0.4 : 1;
    pen.fillRect(box.left, box.top, box.width, box.height);
    pen.globalAlpha = 1;
  } else if (shape.tagName === "line") {
    pen.beginPath();
    pen.moveTo(box.left, box.top + box.height / 2);
    pen.lineTo(box.right, box.top + box.height / 2);
    pen.stroke();
  } else if (shape.tagName === "circle") {
    pen.fillStyle = style.fill;
    pen.beginPath();
    pen.arc(box.left + box.width / 2, box.top + box.height / 2, 4, 0, 2 * Math.PI);
    pen.fill();
  } else if (shape.tagName === "path") {
    const around = shape.ownerSVGElement.getBoundingClientRect();
    const path = new Path2D();
    const place = new DOMMatrix().translate(around.left, around.top).scale(around.width / 100, around.height / 100);
    path.addPath(new Path2D(shape.getAttribute("d")), place);
    pen.stroke(path);
  }
}
