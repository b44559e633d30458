// What uPlot is told of a chart: sizes, axes, lines and bars.

// Distances between the marks of the value axis of counts: half a Like does not exist.
const WHOLE = Array.from({ length: 16 }, (_, power) => [1, 2, 5].map((digit) => digit * 10 ** power)).flat();

function sizeOf(holder) {
  const width = holder.clientWidth;
  return { width, height: Math.round(Math.max(192, Math.min(320, width * 0.4))) };
}

// Sizes, marks and colours are read when a chart is drawn, so a new width or theme gets its own.
function makeOptions(chart) {
  const { figures, form, hidden, moment, times, whole } = chart;
  const { bars, stacked } = form;
  const many = figures.names.length > 1;
  const font = `12px ${css("--sans")}`;
  const axis = { stroke: css("--ink-soft"), font, ticks: { show: false } };
  const grid = { stroke: css("--line"), width: 1 };
  const digits = figures.percent ? { style: "percent", maximumFractionDigits: 2 } : { notation: "compact", maximumFractionDigits: 1 };
  const write = (value) => formatNumber(value, digits);
  return {
    ...sizeOf(chart.holder),
    bands: stacked && !bars ? bandsBetween(figures.names.length, hidden) : undefined,
    tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), chart.zone),
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
    series: [{}, ...figures.names.map((name, index) => makeSeries(chart, name, index))],
    hooks: {
      draw: chart.running ? [(plot) => markRunning(plot, times, { bars, step: figures.step })] : [],
      setCursor: [(plot) => chart.showValues(plot.cursor.idx)],
      setScale: [(plot, key) => key === "x" && chart.showRange(plot.scales.x.min, plot.scales.x.max)],
    },
  };
}

// A line, an area or bars of the chart, in its colour.
function makeSeries({ figures, form, hidden, times }, name, index) {
  const { bars, stacked } = form;
  const stroke = css(`--hue-${index % HUES}`);
  const common = { label: name, show: !hidden.has(index) };
  if (bars) return { ...common, stroke: css("--card"), width: 1, fill: stroke, paths: uPlot.paths.bars({ size: [0.68, 100] }), points: { show: false } };
  return {
    ...common,
    stroke,
    width: 2,
    dash: dashOf(index),
    fill: stacked ? `${stroke}88` : figures.names.length > 1 ? undefined : `${stroke}22`,
    points: { show: times.length < 3 ? true : undefined, size: 6 },
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
