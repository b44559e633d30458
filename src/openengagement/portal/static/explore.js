// Optional helpers for the explorer: the number of picked Tweets, and the chart of the page's table.

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// --- My Tweets ------------------------------------------------------------------------------

const picked = document.getElementById("picked");
if (picked) {
  const boxes = [...document.querySelectorAll(".pick input")];
  const most = Number(picked.dataset.max);
  const hint = picked.textContent;
  const compare = document.getElementById("compare");
  const count = () => {
    const number = boxes.filter((box) => box.checked).length + Number(picked.dataset.elsewhere);
    const over = number > most;
    picked.textContent = !number ? hint
      : over ? gettext("%(count)s picked: remove %(more)s", { count: number, more: number - most })
      : gettext("%(count)s of at most %(most)s picked", { count: number, most });
    picked.parentElement.classList.toggle("over", over);
    compare.disabled = !number || over; // `picked` says why
  };
  // Ticks are part of the view: links, forms and the address keep them.
  const keep = () => {
    const ids = boxes.filter((box) => box.checked).map((box) => box.value);
    const all = [...picked.dataset.others.split(",").filter(Boolean), ...ids].join(",");
    const withPicks = (href) => {
      const url = new URL(href, location);
      url.searchParams.delete("tweet_ids");
      url.searchParams.delete("pick");
      if (all) url.searchParams.set("tweet_ids", all);
      return url.pathname + url.search;
    };
    history.replaceState(null, "", withPicks(location.href));
    const here = location.pathname;
    for (const link of document.querySelectorAll(`a[href^='${here}?']:not(#clear)`)) link.href = withPicks(link.href);
    for (const form of document.querySelectorAll(`form[action='${here}']`)) {
      if (form.contains(picked)) continue; // it sends the ticks themselves
      form.querySelectorAll("input[name=tweet_ids]").forEach((input) => input.remove());
      const input = Object.assign(document.createElement("input"), { type: "hidden", name: "tweet_ids", value: all });
      if (all) form.append(input);
    }
  };
  boxes.forEach((box) => box.addEventListener("change", () => { count(); keep(); }));
  // The form's first button is that of the search: Enter on a tick would search.
  boxes.forEach((box) => box.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || compare.disabled) return;
    event.preventDefault();
    compare.click();
  }));
  addEventListener("pageshow", count); // after going back, the browser restores the ticks
}

// --- The chart ------------------------------------------------------------------------------

const localZone = Intl.DateTimeFormat().resolvedOptions().timeZone;
const HUES = 6;
const TIP_LINES = 6;
// Distances between the marks of the value axis of counts: half a Like does not exist.
const WHOLE = Array.from({ length: 16 }, (_, power) => [1, 2, 5].map((digit) => digit * 10 ** power)).flat();
const DASHES = [[], [8, 4], [2, 3], [10, 3, 2, 3], [4, 8]];
const holder = document.getElementById("chart");
if (holder) drawChart(holder, groupRest(readTable(document.querySelector("#figures table")), holder.dataset));

// The table's figures as uPlot expects them: times in Unix seconds, then a list for each column.
function readTable(table) {
  const names = [...table.tHead.rows[0].cells].slice(1).map((cell) => cell.textContent);
  const start = Number(table.dataset.start);
  const step = Number(table.dataset.step);
  const rows = table.tBodies[0].rows;
  const data = [new Array(rows.length), ...names.map(() => new Array(rows.length))];
  for (let index = 0; index < rows.length; index += 1) {
    data[0][index] = start + index * step;
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

// The tops of areas that lie on each other, without hidden ones.
function stack(data, hidden) {
  const tops = data[0].map(() => 0);
  return data.map((column, at) => at === 0 ? column : column.map((value, row) =>
    hidden.has(at - 1) ? null : (tops[row] += value ?? 0)));
}



function drawChart(holder, figures) {
  const hourly = figures.step < 86400;
  const zone = !hourly || holder.dataset.zoneName ? "UTC" : localZone;
  const moment = describeMoments(hourly, zone);
  const stacked = "stacked" in holder.dataset && !figures.data.slice(1).flat().some((value) => value < 0);
  const $ = (id) => document.getElementById(id);
  const [readout, legend, range] = [$("readout"), $("legend"), $("range")];
  const times = figures.data[0];
  const whole = [times[0], times.at(-1)];
  const hidden = new Set();
  const tip = addTooltip(holder);
  let view = whole;
  let plot;

  $("figures").open = false;
  $("figures").classList.add("drawn");
  for (const part of [holder, readout, legend, $("tools"), $("png"), $("others")]) if (part) part.hidden = false;
  const entries = figures.names.map((name, index) => addEntry(legend, name, index));
  entries.forEach((entry, index) => entry.button.addEventListener("click", () => {
    const off = !hidden.delete(index) && Boolean(hidden.add(index));
    entry.button.setAttribute("aria-pressed", String(!off));
    if (stacked) draw();
    else plot.setSeries(index + 1, { show: !off });
  }));

  function draw() {
    plot?.destroy();
    const options = makeOptions(holder, figures, { hidden, moment, zone, stacked, showValues, showRange });
    plot = new uPlot(options, stacked ? stack(figures.data, hidden) : figures.data, holder);
    plot.over.append(tip.element);
    if (view !== whole) plot.setScale("x", { min: view[0], max: view[1] });
    showValues(null);
  }

  // Show the values under the pointer, or a hint if the pointer is elsewhere.
  function showValues(index) {
    readout.textContent = index == null
      ? gettext("Point at the chart to read its values. Drag across it to zoom in.")
      : moment.long(times[index]);
    entries.forEach((entry, column) => {
      entry.value.textContent = index == null ? "" : figures.shown(index, column);
    });
    if (index == null) tip.hide();
    else tip.show(moment.long(times[index]), valuesAt(index), plot.valToPos(times[index], "x"));
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
      tip.say(`${moment.long(times[index])}: ${valuesAt(index).map(({ name, text }) => `${name} ${text}`).join(", ")}`);
    } else return;
    event.preventDefault();
  });

  function showRange(min, max) {
    const full = min <= whole[0] && max >= whole[1];
    view = full ? whole : [min, max];
    for (const button of document.querySelectorAll("[data-zoom]")) {
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
  for (const button of document.querySelectorAll("[data-zoom]")) {
    button.addEventListener("click", () => {
      let [min, max] = moves[button.dataset.zoom](...view);
      const length = Math.min(max - min, whole[1] - whole[0]);
      min = Math.max(whole[0], Math.min(min, whole[1] - length));
      plot.setScale("x", { min, max: min + length });
    });
  }
  const span = hourly ? gettext("%(first)s to %(last)s", { first: moment.short(times[0]), last: moment.short(times.at(-1)) }) + (moment.isUtc ? "" : ` (${zone})`)
    : holder.dataset.span;
  $("png").addEventListener("click", () => savePicture(plot, holder, { figures, hidden, span }));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  new ResizeObserver(() => plot.setSize(sizeOf(holder))).observe(holder);
  draw();
}

// A tooltip at a time of the chart: it snaps to the time and stays inside of the chart.
function addTooltip(holder) {
  const element = document.createElement("div");
  const spoken = document.createElement("p");
  element.className = "chart-tip";
  element.hidden = true;
  spoken.className = "visually-hidden";
  spoken.setAttribute("role", "status");
  holder.after(spoken);
  const line = (tag, text) => Object.assign(document.createElement(tag), { textContent: text });
  return {
    element,
    hide: () => { element.hidden = true; },
    say: (text) => { spoken.textContent = text; },
    show: (title, values, left) => {
      const rows = values.slice(0, TIP_LINES).map(({ name, column, text }) => {
        const row = document.createElement("span");
        row.className = `hue-${column % HUES}`;
        row.append(line("i", name), " ", line("b", text));
        return row;
      });
      const more = values.length - TIP_LINES;
      if (more > 0) rows.push(line("span", ngettext("and %(count)s more", "and %(count)s more", more)));
      element.replaceChildren(line("b", title), ...rows);
      element.hidden = false;
      const width = element.parentElement.clientWidth;
      const place = left > width / 2 ? left - element.offsetWidth - 12 : left + 12;
      element.style.insetInlineStart = `${Math.max(0, Math.min(place, width - element.offsetWidth))}px`;
    },
  };
}

// The legend's button of a line: switches it on and off, shows its style and its present value.
function addEntry(legend, name, index) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = `button hue-${index % HUES}`;
  button.setAttribute("aria-pressed", "true");
  const swatch = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
  swatch.setAttribute("viewBox", "0 0 28 8");
  swatch.setAttribute("aria-hidden", "true");
  line.setAttribute("d", "M0 4h28");
  line.setAttribute("stroke-dasharray", dashOf(index).join(" "));
  swatch.append(line);
  const label = document.createElement("span");
  label.textContent = name;
  const value = document.createElement("output");
  value.setAttribute("aria-live", "off");
  button.append(swatch, label, value);
  const item = document.createElement("li");
  item.append(button);
  legend.append(item);
  return { button, value };
}

function dashOf(index) {
  return DASHES[Math.floor(index / HUES) % DASHES.length];
}

function sizeOf(holder) {
  const width = holder.clientWidth;
  return { width, height: Math.round(Math.max(192, Math.min(320, width * 0.4))) };
}

function makeOptions(holder, figures, { hidden, moment, zone, stacked, showValues, showRange }) {
  const many = figures.names.length > 1;
  const font = `12px ${css("--sans")}`;
  const axis = { stroke: css("--ink-soft"), font, ticks: { show: false } };
  const grid = { stroke: css("--line"), width: 1 };
  const form = figures.percent ? { style: "percent", maximumFractionDigits: 2 } : { notation: "compact", maximumFractionDigits: 1 };
  const write = (value) => formatNumber(value, form);
  const series = figures.names.map((name, index) => {
    const stroke = css(`--hue-${index % HUES}`);
    return {
      label: name,
      show: !hidden.has(index),
      stroke,
      width: 2,
      dash: dashOf(index),
      fill: stacked ? `${stroke}88` : many ? undefined : `${stroke}22`,
      points: { show: figures.data[0].length < 3 ? true : undefined, size: 6 },
    };
  });
  return {
    ...sizeOf(holder),
    bands: stacked ? bandsBetween(figures.names.length, hidden) : undefined,
    tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), zone),
    padding: [12, 28, 0, 0],
    legend: { show: false },
    focus: { alpha: many ? 0.25 : 1 },
    cursor: { y: false, focus: { prox: 24 }, points: { size: 8 }, drag: { x: true, y: false } },
    scales: { y: { range: (_, low, high) => spread(low, high) } },
    axes: [
      { ...axis, grid: { show: false }, space: 72, size: 28, incrs: stepsFrom(figures.step),
        values: (_, splits) => splits.map((seconds) => moment.tick(seconds)) },
      { ...axis, grid, size: 52, incrs: figures.percent ? undefined : WHOLE, values: (_, splits) => splits.map(write) },
    ],
    series: [{}, ...series],
    hooks: {
      setCursor: [(plot) => showValues(plot.cursor.idx)],
      setScale: [(plot, key) => key === "x" && showRange(plot.scales.x.min, plot.scales.x.max)],
    },
  };
}

// An area ends where the next visible one below it begins.
function bandsBetween(count, hidden) {
  const visible = Array.from({ length: count }, (_, at) => at).filter((at) => !hidden.has(at));
  return visible.slice(1).map((at, below) => ({ series: [at + 1, visible[below] + 1] }));
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

// Formats of a time for the axis, for people and for screen readers. Days are those of the API, in UTC.
function describeMoments(hourly, zone) {
  const write = (timeZone, options) => {
    const format = formatTime({ timeZone, ...options });
    return (seconds) => format.format(new Date(seconds * 1000));
  };
  const time = { hour: "2-digit", minute: "2-digit" };
  const [day, hour, utc] = [write(zone, { day: "numeric", month: "short" }), write(zone, time), write("UTC", time)];
  const isUtc = zone === "UTC" || zone === "Etc/UTC";
  const short = (seconds) => hourly ? `${day(seconds)}, ${hour(seconds)}${isUtc ? " UTC" : ""}` : day(seconds);
  return {
    short,
    isUtc,
    tick: (seconds) => hour(seconds) === "00:00" ? day(seconds) : hour(seconds),
    long: (seconds) => !hourly ? `${short(seconds)}, UTC` : isUtc ? short(seconds) : `${short(seconds)} (${utc(seconds)} UTC)`,
  };
}

// Save the chart as a picture, with its heading above and the names of its lines below.
function savePicture(plot, holder, { figures, hidden, span }) {
  const source = plot.ctx.canvas;
  const ratio = source.width / plot.width;
  const shown = figures.names.map((name, index) => [name, index]).filter(([, index]) => !hidden.has(index));
  const canvas = document.createElement("canvas");
  const ruler = canvas.getContext("2d");
  ruler.font = `13px ${css("--sans")}`;
  const widest = Math.max(0, ...shown.map(([name]) => ruler.measureText(name).width)) + 60;
  const columns = Math.max(1, Math.floor(plot.width / widest));
  const lines = Math.ceil(shown.length / columns);
  const [above, below] = [64, 16 + 24 * lines];
  canvas.width = source.width;
  canvas.height = Math.round(source.height + (above + below) * ratio);
  const pen = canvas.getContext("2d");
  pen.fillStyle = css("--card");
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.drawImage(source, 0, above * ratio);
  pen.scale(ratio, ratio);
  pen.textBaseline = "middle";
  pen.fillStyle = css("--ink");
  pen.font = `600 16px ${css("--sans")}`;
  const heading = document.getElementById("chart-heading").textContent;
  pen.fillText(heading.replace(/\s+/g, " ").trim(), 12, 24);
  pen.font = `13px ${css("--sans")}`;
  pen.fillText(`${span} · ${holder.dataset.platform}`, 12, 46);
  pen.lineWidth = 3;
  shown.forEach(([name, index], place) => {
    const x = 12 + (place % columns) * Math.floor(plot.width / columns);
    const y = above + plot.height + 16 + 24 * Math.floor(place / columns);
    pen.strokeStyle = css(`--hue-${index % HUES}`);
    pen.setLineDash(dashOf(index));
    pen.beginPath();
    pen.moveTo(x, y);
    pen.lineTo(x + 28, y);
    pen.stroke();
    pen.fillText(name, x + 36, y);
  });
  canvas.toBlob((blob) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `${holder.dataset.file}.png`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  }, "image/png");
}
