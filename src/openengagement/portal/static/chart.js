// Draws charts from the tables of a page. `chart_parts.js` comes before this script.

// Distances between the marks of the value axis of counts: half a Like does not exist.
const WHOLE = Array.from({ length: 16 }, (_, power) => [1, 2, 5].map((digit) => digit * 10 ** power)).flat();

// The parts of a chart have ids with the same beginning as that of its holder.
for (const holder of document.querySelectorAll(".chart[data-form]")) {
  const part = (name) => document.getElementById(holder.id.replace(/chart$/, name));
  drawChart(holder, groupRest(readTable(part("figures").querySelector("table")), holder.dataset), part);
}

// The table's figures as uPlot expects them: times in Unix seconds, then a list for each column.
function readTable(table) {
  const names = [...table.tHead.rows[0].cells].slice(1).map((cell) => cell.textContent);
  const { starts } = table.dataset; // of days, which may have 23 or 25 hours
  const [start, step] = [Number(table.dataset.start), Number(table.dataset.step)];
  const times = starts?.split(",").map(Number);
  const rows = table.tBodies[0].rows;
  const data = [new Array(rows.length), ...names.map(() => new Array(rows.length))];
  for (let index = 0; index < rows.length; index += 1) {
    data[0][index] = times ? times[index] : start + index * step;
    let cell = rows[index].firstElementChild;
    for (let column = 1; column <= names.length; column += 1) {
      cell = cell.nextElementSibling;
      data[column][index] = parseNumber(cell.textContent);
    }
  }
  const shown = (row, column) => rows[row].cells[column + 1].textContent;
  const percent = table.tBodies[0].textContent.includes("%");
  return { names, step, data, shown, percent };
}

// The largest lines, and the sum of the rest where figures add up.
function groupRest(figures, { order, largest, sums }) {
  if (!largest) return figures;
  const columns = order.split(",").map(Number);
  const top = columns.slice(0, Number(largest)).sort((one, other) => one - other);
  const rest = columns.slice(Number(largest));
  const names = top.map((column) => figures.names[column]);
  const data = [figures.data[0], ...top.map((column) => figures.data[column + 1])];
  if (sums === undefined) return { ...figures, names, data, shown: (row, at) => figures.shown(row, top[at]) };
  const sum = figures.data[0].map((_, row) => rest.reduce((total, column) => total + (figures.data[column + 1][row] ?? 0), 0));

  return {
    ...figures,
    names: [...names, ngettext("%(count)s other", "%(count)s others", rest.length)],
    data: [...data, sum],
    shown: (row, at) => at < top.length ? figures.shown(row, top[at]) : formatNumber(sum[row]),
  };
}

// The tops of parts that lie on each other, the first one at the top, without hidden ones. Bars are
// drawn in this order, each over the one before.
function stack(data, hidden) {
  const tops = data[0].map(() => 0);
  const stacked = data.map((column) => column);
  for (let at = data.length - 1; at > 0; at -= 1) {
    stacked[at] = data[at].map((value, row) => hidden.has(at - 1) ? null : (tops[row] += value ?? 0));
  }
  return stacked;
}

// What is drawn. A bar of nothing would cover the axis.
function shapeData(data, hidden, { bars, stacked }) {
  const shaped = stacked ? stack(data, hidden) : data;
  return bars ? shaped.map((column, at) => at ? column.map((top, row) => data[at][row] ? top : null) : column) : shaped;
}

// How a chart is drawn. Parts of a whole cannot be negative, which an undo may leave: lines can.
function formOf({ form }, figures) {
  const many = figures.names.length > 1;
  const negative = figures.data.slice(1).flat().some((value) => value < 0);
  if (form === "lines" || (many && negative)) return { bars: false, stacked: false };
  return { bars: form === "bars", stacked: many };
}

function drawChart(holder, figures, $) {
  const hourly = figures.step < 86400;
  const zone = knownZone(holder.dataset.axisZone);
  const moment = describeMoments(hourly, zone);
  const form = formOf(holder.dataset, figures);
  const { bars, stacked } = form;
  const [readout, legend, range] = [$("readout"), $("legend"), $("range")];
  const times = figures.data[0];
  const running = Boolean($("running"));
  const half = bars ? figures.step / 2 : 0; // a bar reaches beyond its time
  const whole = [times[0] - half, times.at(-1) + half];
  const hidden = new Set();
  const tip = addTooltip(holder);
  let view = whole;
  let plot;

  $("figures").open = false;
  $("figures").classList.add("drawn");
  const parts = ["readout", "legend", "tools", "png", "others", "running"].map($);
  for (const part of [holder, ...parts]) if (part) part.hidden = false;
  const entries = figures.names.map((name, index) => addEntry(legend, name, { index, form }));
  entries.forEach((entry, index) => entry.button.addEventListener("click", () => {
    const off = !hidden.delete(index) && Boolean(hidden.add(index));
    entry.button.setAttribute("aria-pressed", String(!off));
    if (stacked) draw();
    else plot.setSeries(index + 1, { show: !off });
  }));

  function draw() {
    plot?.destroy();
    const options = makeOptions(holder, figures, { hidden, moment, zone, form, whole, running, showValues, showRange });
    plot = new uPlot(options, shapeData(figures.data, hidden, form), holder);
    plot.over.append(tip.element);
    if (view !== whole) plot.setScale("x", { min: view[0], max: view[1] });
    showValues(null);
  }

  const timeAt = (index) => running && index === times.length - 1
    ? gettext("%(time)s (still counting)", { time: moment.long(times[index]) }) : moment.long(times[index]);

  // Show the values under the pointer, or a hint if the pointer is elsewhere.
  function showValues(index) {
    readout.textContent = index == null
      ? gettext("Point at the chart to read its values. Drag across it to zoom in.")
      : timeAt(index);
    entries.forEach((entry, column) => {
      entry.value.textContent = index == null ? "" : figures.shown(index, column);
    });
    if (index == null) tip.hide();
    else tip.show(timeAt(index), valuesAt(index), { left: plot.valToPos(times[index], "x"), sum: sumAt(index) });
  }

  // The sum of the visible parts of a whole; nothing for lines.
  function sumAt(index) {
    if (!stacked) return "";
    const parts = figures.data.slice(1).filter((_, column) => !hidden.has(column));
    return formatNumber(parts.reduce((sum, column) => sum + (column[index] ?? 0), 0));
  }

  // The values of the visible lines at a time, the greatest first.
  function valuesAt(index) {
    return figures.names
      .map((name, column) => ({ name, column, text: figures.shown(index, column) }))
      .filter(({ column }) => !hidden.has(column))
      .sort((one, other) =>
        (figures.data[other.column + 1][index] ?? -Infinity)
        - (figures.data[one.column + 1][index] ?? -Infinity) || one.column - other.column);
  }

  // The arrow keys move from time to time, and a screen reader says the values.
  holder.tabIndex = 0;
  holder.setAttribute("aria-label", gettext("%(label)s. The arrow keys read it.", { label: holder.getAttribute("aria-label") }));
  holder.addEventListener("keydown", (event) => {
    const at = plot.cursor.idx;
    const last = times.length - 1;
    const moves = { ArrowLeft: at == null ? last : at - 1, ArrowRight: at == null ? 0 : at + 1, Home: 0, End: last };
    if (event.key === "Escape") plot.setCursor({ left: -10, top: -10 });
    else if (event.key in moves) {
      const index = Math.max(0, Math.min(last, moves[event.key]));
      plot.setCursor({ left: plot.valToPos(times[index], "x"), top: 0 });
      const values = valuesAt(index).map(({ name, text }) => `${name} ${text}`);
      const sum = stacked ? [`${gettext("Sum")} ${sumAt(index)}`] : [];
      tip.say(`${timeAt(index)}: ${[...values, ...sum].join(", ")}`);
    } else return;
    event.preventDefault();
  });

  function showRange(min, max) {
    const full = min <= whole[0] && max >= whole[1];
    view = full ? whole : [min, max];
    for (const button of $("tools").querySelectorAll("[data-zoom]")) {
      const step = button.dataset.zoom;
      button.disabled = step === "in" ? times.length < 2 || max - min <= 4 * figures.step
        : step === "earlier" ? min <= whole[0]
        : step === "later" ? max >= whole[1] : full;
      button.title = !button.disabled ? ""
        : step === "in" ? gettext("The chart shows no less than this.") : gettext("The chart shows the whole period.");
    }
    range.textContent = full ? "" : gettext("Shows %(first)s to %(last)s", { first: moment.short(min), last: moment.short(max) });
  }

  const moves = {
    in: (min, max) => [min + (max - min) / 4, max - (max - min) / 4],
    out: (min, max) => [min - (max - min) / 2, max + (max - min) / 2],
    earlier: (min, max) => [min - (max - min) / 2, max - (max - min) / 2],
    later: (min, max) => [min + (max - min) / 2, max + (max - min) / 2],
    reset: () => whole,
  };
  for (const button of $("tools").querySelectorAll("[data-zoom]")) {
    button.addEventListener("click", () => {
      let [min, max] = moves[button.dataset.zoom](...view);
      const length = Math.min(max - min, whole[1] - whole[0]);
      min = Math.max(whole[0], Math.min(min, whole[1] - length));
      plot.setScale("x", { min, max: min + length });
    });
  }
  const span = hourly ? gettext("%(first)s to %(last)s", { first: moment.short(times[0]), last: moment.short(times.at(-1)) }) + (moment.isUtc ? "" : ` (${zone})`)
    : holder.dataset.span;
  const words = {
    heading: $("chart-heading").textContent,
    below: [span, $("running")?.textContent, holder.dataset.platform].filter(Boolean).map((text) => text.trim()).join(" · "),
  };
  $("png")?.addEventListener("click", () => savePicture(plot, holder.dataset.file, { figures, hidden, form, words }));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  new ResizeObserver(() => plot.setSize(sizeOf(holder))).observe(holder);
  draw();
}

function sizeOf(holder) {
  const width = holder.clientWidth;
  return { width, height: Math.round(Math.max(192, Math.min(320, width * 0.4))) };
}

function makeOptions(holder, figures, { hidden, moment, zone, form, whole, running, showValues, showRange }) {
  const { bars, stacked } = form;
  const many = figures.names.length > 1;
  const times = figures.data[0];
  const font = `12px ${css("--sans")}`;
  const axis = { stroke: css("--ink-soft"), font, ticks: { show: false } };
  const grid = { stroke: css("--line"), width: 1 };
  const digits = figures.percent ? { style: "percent", maximumFractionDigits: 2 } : { notation: "compact", maximumFractionDigits: 1 };
  const write = (value) => formatNumber(value, digits);
  const series = figures.names.map((name, index) => {
    const stroke = css(`--hue-${index % HUES}`);
    const common = { label: name, show: !hidden.has(index) };
    if (bars) return { ...common, stroke: css("--card"), width: 1, fill: stroke, paths: uPlot.paths.bars({ size: [0.68, 100] }), points: { show: false } };
    return {
      ...common,
      stroke,
      width: 2,
      dash: dashOf(index),
      fill: stacked ? `${stroke}88` : many ? undefined : `${stroke}22`,
      points: { show: times.length < 3 ? true : undefined, size: 6 },
    };
  });
  return {
    ...sizeOf(holder),
    bands: stacked && !bars ? bandsBetween(figures.names.length, hidden) : undefined,
    tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), zone),
    padding: [12, 28, 0, 0],
    legend: { show: false },
    focus: { alpha: many && !bars ? 0.25 : 1 },
    cursor: { y: false, focus: { prox: 24 }, points: bars ? { show: false } : { size: 8 }, drag: { x: true, y: false } },
    scales: {
      x: bars ? { range: (_, low, high) => low <= times[0] && high >= times.at(-1) ? whole : [low, high] } : {},
      y: { range: (_, low, high) => spread(bars ? Math.min(0, low ?? 0) : low, high) },
    },
    axes: [
      { ...axis, grid: { show: false }, space: 72, size: 28, incrs: stepsFrom(figures.step),
        values: (_, splits) => splits.map((seconds) => moment.tick(seconds)) },
      { ...axis, grid, size: 52, incrs: figures.percent ? undefined : WHOLE, values: (_, splits) => splits.map(write) },
    ],
    series: [{}, ...series],
    hooks: {
      draw: running ? [(plot) => markRunning(plot, times, { bars, step: figures.step })] : [],
      setCursor: [(plot) => showValues(plot.cursor.idx)],
      setScale: [(plot, key) => key === "x" && showRange(plot.scales.x.min, plot.scales.x.max)],
    },
  };
}

// An area ends where the next visible one below it begins.
function bandsBetween(count, hidden) {
  const visible = Array.from({ length: count }, (_, at) => at).filter((at) => !hidden.has(at));
  return visible.slice(1).map((below, at) => ({ series: [visible[at] + 1, below + 1] }));
}

// Distances between the marks of the time axis: whole hours, or whole days.
function stepsFrom(least) {
  const hours = [1, 2, 3, 4, 6, 12].map((number) => number * 3600);
  return [...hours, ...[1, 2, 4, 7, 14].map((number) => number * 86400)].filter((step) => step >= least);
}

// The range of the value axis: from zero or the lowest negative count, with room at the top.
function spread(low, high) {
  if (low == null) return [0, 1];
  const room = (high - Math.min(low, 0)) * 0.05;
  return [low < 0 ? low - room : 0, high > 0 ? high + room : low < 0 ? 0 : 1];
}
