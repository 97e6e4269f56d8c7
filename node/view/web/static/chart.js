// Charts, drawn by uPlot (uplot.js): the loss of a run beside another's, and what was tried with the staircase of the
// best. It knows colours, points and axes; which rows are shown is said by who calls.

import { make } from "./elements.js";

const uPlot = globalThis.uPlot;
const HEIGHT = 0.5; // of the width, within these bounds
const [LEAST_HEIGHT, MOST_HEIGHT] = [220, 460];

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();

function axis(label, more = {}) {
  return { label, stroke: colour("soft"), font: "12px system-ui", labelFont: "12px system-ui", labelSize: 18,
    grid: { stroke: colour("line"), width: 1 }, ticks: { stroke: colour("line"), width: 1 }, ...more };
}

const size = (holder, most = MOST_HEIGHT) => ({ width: Math.max(240, holder.clientWidth),
  height: Math.round(Math.min(most, Math.max(LEAST_HEIGHT, holder.clientWidth * HEIGHT))) });

const dots = (name, width, more = {}) => ({ paths: () => null, points: { show: true, size: width, fill: colour(name), stroke: colour(name), ...more } });

/** Training loss by the share of the budget. curves: [{name, colour, points: [[share, loss]]}]; each with a place in the legend. */
export function lossChart(holder, curves) {
  const drawn = curves.filter((one) => one.points.length);
  if (!drawn.length) return holder.replaceChildren();
  const data = uPlot.join(drawn.map((one) => [one.points.map(([share]) => 100 * share), one.points.map(([, loss]) => loss)]));
  const series = [{ label: "% of the budget" }, ...drawn.map((one) => ({ label: one.name, stroke: colour(one.colour), width: 2,
    spanGaps: true, points: { show: false } }))];
  holder.replaceChildren(make("ul", { class: "legend" }, ...drawn.map((one) => make("li", { class: `dot ${one.colour}` }, one.name))));
  return new uPlot({ ...size(holder, 280), series, scales: { x: { time: false, range: [0, 100] } }, legend: { show: false },
    axes: [axis("% of the budget", { size: 30 }), axis("training loss", { size: 60 })], cursor: { drag: { x: false, y: false } } }, data, holder);
}

/**
 * Every value a dot, what was kept larger, the best a staircase from the baseline. columns: [number, tried, best, kept,
 * adopted, claimed]; marks: [{value, at, error, beyond, text, colour}] are written into it; range: [low, high] of the values.
 */
export function progressChart(holder, columns, marks, range, label, on) {
  holder.replaceChildren();
  const plot = new uPlot({
    ...size(holder), legend: { show: false },
    scales: { x: { time: false, range: (_, low, high) => (low === null ? [0, 1] : [low - (low ? 0.5 : 0), Math.max(high, low + 1) + 0.5]) }, y: { range: () => range } },
    series: [{}, { ...dots("grey", 5), label: "tried" },
      { label: "best", stroke: colour("good"), width: 2.5, paths: uPlot.paths.stepped({ align: 1 }), points: { show: false }, spanGaps: true },
      { ...dots("good", 9), label: "kept" }, { ...dots("orange", 10), label: "adopted" },
      { ...dots("good", 13, { fill: "transparent", width: 1.5 }), label: "claimed" }],
    axes: [axis("experiments, as they arrived", { size: 30, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000] }), axis(label, { size: 64 })],
    cursor: { drag: { x: true, y: false }, points: { show: false } },
    hooks: { draw: [(self) => marks.forEach((mark) => drawMark(self, mark))], setCursor: [(self) => on.point(self.cursor.left, self.cursor.top)] },
  }, columns, holder);
  let pressed = 0;
  plot.over.addEventListener("pointerdown", (event) => { pressed = event.clientX; });
  plot.over.addEventListener("click", (event) => { if (Math.abs(event.clientX - pressed) < 5) on.open(); });
  return plot;
}

/** A dashed line with its words: the baseline; or, with `at`, a point with its standard error: the best. */
function drawMark(plot, mark) {
  const { ctx: pen, bbox } = plot, ratio = devicePixelRatio || 1;
  const down = (value) => plot.valToPos(value, "y", true), y = down(mark.value);
  if (y < bbox.top || y > bbox.top + bbox.height) return;
  pen.save();
  pen.strokeStyle = pen.fillStyle = colour(mark.colour);
  pen.font = `${12 * ratio}px system-ui`;
  if (mark.at === undefined) {
    pen.setLineDash([5 * ratio, 5 * ratio]);
    pen.lineWidth = ratio;
    line(pen, bbox.left, y, bbox.left + bbox.width, y);
    pen.textAlign = "right";
    pen.fillText(mark.text, bbox.left + bbox.width - 6 * ratio, y + (mark.below ? 16 : -6) * ratio);
  } else {
    const x = plot.valToPos(mark.at, "x", true);
    if (x >= bbox.left && x <= bbox.left + bbox.width) {
      pen.lineWidth = 2 * ratio;
      if (mark.error) {
        const [low, high] = [down(mark.value - mark.error), down(mark.value + mark.error)];
        line(pen, x, low, x, high);
        for (const end of [low, high]) line(pen, x - 4 * ratio, end, x + 4 * ratio, end);
      }
      const width = pen.measureText(mark.text).width, fits = x + 10 * ratio + width < bbox.left + bbox.width;
      pen.textAlign = fits ? "left" : "right";
      pen.fillText(mark.text, x + (fits ? 10 : -10) * ratio, down(mark.beyond) + (mark.below ? 20 : -12) * ratio); // where no dot is
    }
  }
  pen.restore();
}

function line(pen, x1, y1, x2, y2) {
  pen.beginPath();
  pen.moveTo(x1, y1);
  pen.lineTo(x2, y2);
  pen.stroke();
}
