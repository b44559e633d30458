// Draws charts from the tables of a page, with `chart_options.js` and `chart_parts.js`.

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

// Where each button of the tools leads from a range of times.
const MOVES = {
  in: (min, max) => [min + (max - min) / 4, max - (max - min) / 4],
  out: (min, max) => [min - (max - min) / 2, max + (max - min) / 2],
  earlier: (min, max) => [min - (max - min) / 2, max - (max - min) / 2],
  later: (min, max) => [min + (max - min) / 2, max + (max - min) / 2],
  reset: () => [-Infinity, Infinity],
};

// A chart with its legend, tooltip and tools. `part` finds the elements that belong to it.
class Chart {
  constructor(holder, figures, part) {
    Object.assign(this, { holder, figures, part });
    this.times = figures.data[0];
    this.zone = knownZone(holder.dataset.axisZone);
    this.hourly = figures.step < 86400;
    this.moment = describeMoments(this.hourly, this.zone);
    this.form = formOf(holder.dataset, figures);
    this.running = Boolean(part("running"));
    const half = this.form.bars ? figures.step / 2 : 0; // a bar reaches beyond its time
    this.whole = [this.times[0] - half, this.times.at(-1) + half];
    this.view = this.whole;
    this.hidden = new Set();
    this.tip = addTooltip(holder);
    this.reveal();
    this.entries = figures.names.map((name, index) => addEntry(part("legend"), name, { index, form: this.form }));
    this.listen();
    this.draw();
  }

  reveal() {
    const { holder, part } = this;
    part("figures").open = false;
    part("figures").classList.add("drawn");
    const parts = ["readout", "legend", "tools", "png", "others", "running"].map(part);
    for (const each of [holder, ...parts]) if (each) each.hidden = false;
    holder.tabIndex = 0;
    holder.setAttribute("aria-label", gettext("%(label)s. The arrow keys read it.", { label: holder.getAttribute("aria-label") }));
  }

  listen() {
    const { entries, holder, part } = this;
    entries.forEach(({ button }, index) => button.addEventListener("click", () => this.toggle(index)));
    for (const button of part("tools").querySelectorAll("[data-zoom]")) {
      button.addEventListener("click", () => this.zoom(button.dataset.zoom));
    }
    part("png")?.addEventListener("click", () => this.save());
    holder.addEventListener("keydown", (event) => this.readByKey(event));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    new ResizeObserver(() => this.plot.setSize(sizeOf(holder))).observe(holder);
  }

  draw() {
    const { figures, form, hidden, holder, view, whole } = this;
    this.plot?.destroy();
    this.plot = new uPlot(makeOptions(this), shapeData(figures.data, hidden, form), holder);
    this.plot.over.append(this.tip.element);
    if (view !== whole) this.plot.setScale("x", { min: view[0], max: view[1] });
    this.showValues(null);
  }

  // Switch a line on or off. The parts of a whole then lie elsewhere.
  toggle(index) {
    const off = !this.hidden.delete(index) && Boolean(this.hidden.add(index));
    this.entries[index].button.setAttribute("aria-pressed", String(!off));
    if (this.form.stacked) this.draw();
    else this.plot.setSeries(index + 1, { show: !off });
  }

  timeAt(index) {
    const time = this.moment.long(this.times[index]);
    const counting = this.running && index === this.times.length - 1;
    return counting ? gettext("%(time)s (still counting)", { time }) : time;
  }

  // Show the values under the pointer, or a hint if the pointer is elsewhere.
  showValues(index) {
    const { entries, figures, part, plot, times, tip } = this;
    part("readout").textContent = index == null
      ? gettext("Point at the chart to read its values. Drag across it to zoom in.")
      : this.timeAt(index);
    entries.forEach((entry, column) => {
      entry.value.textContent = index == null ? "" : figures.shown(index, column);
    });
    if (index == null) tip.hide();
    else tip.show(this.timeAt(index), this.valuesAt(index), { left: plot.valToPos(times[index], "x"), sum: this.sumAt(index) });
  }

  // The sum of the visible parts of a whole; nothing for lines.
  sumAt(index) {
    if (!this.form.stacked) return "";
    const parts = this.figures.data.slice(1).filter((_, column) => !this.hidden.has(column));
    return formatNumber(parts.reduce((sum, column) => sum + (column[index] ?? 0), 0));
  }

  // The values of the visible lines at a time, the greatest first.
  valuesAt(index) {
    const { names, data, shown } = this.figures;
    return names
      .map((name, column) => ({ name, column, text: shown(index, column) }))
      .filter(({ column }) => !this.hidden.has(column))
      .sort((one, other) =>
        (data[other.column + 1][index] ?? -Infinity)
        - (data[one.column + 1][index] ?? -Infinity) || one.column - other.column);
  }

  // The arrow keys move from time to time, and a screen reader says the values.
  readByKey(event) {
    const { plot, times } = this;
    const at = plot.cursor.idx;
    const last = times.length - 1;
    const moves = { ArrowLeft: at == null ? last : at - 1, ArrowRight: at == null ? 0 : at + 1, Home: 0, End: last };
    if (event.key === "Escape") plot.setCursor({ left: -10, top: -10 });
    else if (event.key in moves) {
      const index = Math.max(0, Math.min(last, moves[event.key]));
      plot.setCursor({ left: plot.valToPos(times[index], "x"), top: 0 });
      this.say(index);
    } else return;
    event.preventDefault();
  }

  say(index) {
    const values = this.valuesAt(index).map(({ name, text }) => `${name} ${text}`);
    const sum = this.form.stacked ? [`${gettext("Sum")} ${this.sumAt(index)}`] : [];
    this.tip.say(`${this.timeAt(index)}: ${[...values, ...sum].join(", ")}`);
  }

  zoom(step) {
    const { plot, view, whole } = this;
    let [min, max] = MOVES[step](...view);
    const length = Math.min(max - min, whole[1] - whole[0]);
    min = Math.max(whole[0], Math.min(min, whole[1] - length));
    plot.setScale("x", { min, max: min + length });
  }

  // Write which times are shown, and switch off the tools that would show no others.
  showRange(min, max) {
    const { figures, moment, part, times, whole } = this;
    const full = min <= whole[0] && max >= whole[1];
    this.view = full ? whole : [min, max];
    const useless = {
      in: times.length < 2 || max - min <= 4 * figures.step,
      out: full,
      earlier: min <= whole[0],
      later: max >= whole[1],
      reset: full,
    };
    for (const button of part("tools").querySelectorAll("[data-zoom]")) {
      const { zoom } = button.dataset;
      button.disabled = useless[zoom];
      button.title = !useless[zoom] ? ""
        : zoom === "in" ? gettext("The chart shows no less than this.") : gettext("The chart shows the whole period.");
    }
    part("range").textContent = full ? "" : gettext("Shows %(first)s to %(last)s", { first: moment.short(min), last: moment.short(max) });
  }

  save() {
    const { figures, form, hidden, holder, moment, part, plot, times, zone } = this;
    const place = moment.isUtc ? "" : ` (${zone})`;
    const span = this.hourly
      ? gettext("%(first)s to %(last)s", { first: moment.short(times[0]), last: moment.short(times.at(-1) + figures.step) }) + place
      : holder.dataset.span;
    const below = [span, part("running")?.textContent, holder.dataset.platform];
    const words = {
      heading: part("chart-heading").textContent,
      below: below.filter(Boolean).map((text) => text.trim()).join(" · "),
    };
    savePicture(plot, holder.dataset.file, { figures, hidden, form, words });
  }
}

// The parts of a chart have ids with the same beginning as that of its holder.
for (const holder of document.querySelectorAll(".chart[data-form]")) {
  const part = (name) => document.getElementById(holder.id.replace(/chart$/, name));
  const table = readTable(part("figures").querySelector("table"));
  new Chart(holder, groupRest(table, holder.dataset), part);
}
