// Parts of charts, for the script that draws them: tooltip, legend, the mark of the present, texts
// of times, and pictures.

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

const HUES = 6;
const TIP_LINES = 6;
const DASHES = [[], [8, 4], [2, 3], [10, 3, 2, 3], [4, 8]];

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
    show: (title, values, { left, sum }) => {
      const rows = values.slice(0, TIP_LINES).map(({ name, column, text }) => {
        const row = document.createElement("span");
        row.className = `hue-${column % HUES}`;
        row.append(line("i", name), " ", line("b", text));
        return row;
      });
      const more = values.length - TIP_LINES;
      if (more > 0) rows.push(line("span", ngettext("and %(count)s more", "and %(count)s more", more)));
      if (sum) {
        const row = document.createElement("span");
        row.append(line("i", gettext("Sum")), " ", line("b", sum));
        rows.push(row);
      }
      element.replaceChildren(line("b", title), ...rows);
      element.hidden = false;
      const width = element.parentElement.clientWidth;
      const place = left > width / 2 ? left - element.offsetWidth - 12 : left + 12;
      element.style.insetInlineStart = `${Math.max(0, Math.min(place, width - element.offsetWidth))}px`;
    },
  };
}

// The legend's button of a line: switches it on and off, shows its style and its present value.
function addEntry(legend, name, { index, form }) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = `button hue-${index % HUES}`;
  button.setAttribute("aria-pressed", "true");
  const swatch = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
  swatch.setAttribute("viewBox", "0 0 28 8");
  swatch.setAttribute("aria-hidden", "true");
  line.setAttribute("d", form.bars ? "M10 4h8" : "M0 4h28");
  if (form.bars) swatch.classList.add("block");
  else line.setAttribute("stroke-dasharray", dashOf(index).join(" "));
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

// The hour or day that is still counted is hatched, and a line to it is dashed. A dot marks the present.
function markRunning(plot, times, { bars, step }) {
  const { ctx, bbox } = plot;
  const last = times.at(-1);
  const { min, max } = plot.scales.x;
  if (last < min || last > max) return;
  const ratio = devicePixelRatio;
  const place = (seconds) => plot.valToPos(seconds, "x", true);
  const [from, to] = bars ? [place(last - step / 2), place(last + step / 2)] : [place(times.at(-2) ?? last - step), place(last)];
  const lean = bars ? bbox.height : 0;
  ctx.save();
  ctx.beginPath();
  ctx.rect(Math.max(from, bbox.left), bbox.top, to - Math.max(from, bbox.left) + ratio, bbox.height);
  ctx.clip();
  ctx.beginPath();
  ctx.globalCompositeOperation = "destination-out";
  ctx.lineWidth = 2.5 * ratio;
  for (let x = from - lean; x < to; x += 6 * ratio) {
    ctx.moveTo(x, bbox.top + bbox.height);
    ctx.lineTo(x + lean, bbox.top);
  }
  ctx.stroke();
  ctx.restore();
  ctx.save();
  ctx.beginPath();
  ctx.arc(place(last), plot.valToPos(Math.max(0, plot.scales.y.min), "y", true), 4 * ratio, 0, 2 * Math.PI);
  ctx.fillStyle = css("--now");
  ctx.strokeStyle = css("--card");
  ctx.lineWidth = 2 * ratio;
  ctx.fill();
  ctx.stroke();
  ctx.restore();
}

// Formats of a time for the axis, for people and for screen readers.
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
    // In a zone where it is as late as in UTC, one time is enough.
    long: (seconds) => !hourly ? `${short(seconds)}${isUtc ? ", UTC" : ""}`
      : isUtc || hour(seconds) === utc(seconds) ? short(seconds) : `${short(seconds)} (${utc(seconds)} UTC)`,
  };
}

// Save the chart as a picture, with its heading above and the names of its lines below.
function savePicture(plot, file, { figures, hidden, form, words }) {
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
  pen.fillText(words.heading.replace(/\s+/g, " ").trim(), 12, 24);
  pen.font = `13px ${css("--sans")}`;
  pen.fillText(words.below, 12, 46);
  pen.lineWidth = form.bars ? 12 : 3;
  shown.forEach(([name, index], place) => {
    const x = 12 + (place % columns) * Math.floor(plot.width / columns);
    const y = above + plot.height + 16 + 24 * Math.floor(place / columns);
    pen.strokeStyle = css(`--hue-${index % HUES}`);
    pen.setLineDash(form.bars ? [] : dashOf(index));
    pen.beginPath();
    pen.moveTo(x, y);
    pen.lineTo(x + (form.bars ? 12 : 28), y);
    pen.stroke();
    pen.fillText(name, x + 36, y);
  });
  canvas.toBlob((blob) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `${file}.png`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  }, "image/png");
}
