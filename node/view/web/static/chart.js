// The progress chart: every experiment a dot, what was kept a staircase, adoptions marked. `canvas.js` draws it.

import { Plot } from "./canvas.js";
import { byId, gainText, measuredSuffix, short, valueText } from "./elements.js";

const DRAG = 5; // pixels
const NEAR = 30; // pixels: the pointer chooses the nearest dot within this distance

let plot = null;
let shown = []; // rows with a value, in the order they are drawn
let chosen = -1;
let pressed = 0; // where the pointer went down, to tell a drag (zoom) from a click (open)
let open = () => {};
let about = {}; // of the objective: metric, direction, scale, who measures

/** Draw `rows` (of one author or of all). objective: which values are better; `onOpen` is called with a record id. */
export function drawChart(rows, objective, onOpen) {
  [about, open] = [objective, onOpen];
  shown = rows.filter((row) => typeof row.level === "number");
  const data = columns();
  if (plot && plot.about === about) {
    plot.setColumns(data);
  } else {
    rebuild(data);
  }
  if (!shown.length) byId("readout").textContent = "Nothing has been measured yet.";
}

const isBetter = (value, other) => (about.direction === "higher" ? value > other : value < other);

function columns() {
  const numbers = [], tried = [], kept = [], adopted = [], best = [];
  let reached = null;
  shown.forEach((row, index) => {
    const replication = row.kind === "replication";
    const improved = row.kept && !replication;
    if ((improved || replication) && (reached === null || isBetter(row.level, reached))) reached = row.level;
    numbers.push(index + 1);
    tried.push(improved || replication ? null : row.level);
    kept.push(improved ? row.level : null);
    adopted.push(replication ? row.level : null);
    best.push(reached);
  });
  return [numbers, tried, best, kept, adopted];
}

/** From beyond the best to a little worse than the start: what is far worse is left out of the picture. */
function range() {
  const first = shown.find((row) => typeof row.level_from === "number");
  const start = first ? first.level_from : shown.length ? shown[0].level : 1;
  let best = start;
  for (const row of shown) {
    if ((row.kind === "replication" || row.kept) && isBetter(row.level, best)) best = row.level;
  }
  const least = about.scale === "log" ? 0.02 * Math.abs(start) : about.least_drawn; // a linear metric may start at 0
  const room = Math.max(0.25 * Math.abs(start - best), least), up = about.direction === "higher" ? 1 : -1;
  return [best + up * 0.4 * room, start - up * room].sort((one, other) => one - other);
}

function rebuild(data) {
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
  plot = new Plot(byId("chart"), {
    colours: { soft: colour("soft"), line: colour("line") },
    labels: { x: "experiment", y: `${about.metric} (${about.direction} is better${measuredSuffix(about)})` },
    series: [
      { kind: "dots", colour: colour("grey"), size: 5 },
      { kind: "stairs", colour: colour("green"), size: 2 },
      { kind: "dots", colour: colour("green"), size: 8 },
      { kind: "dots", colour: colour("orange"), size: 9 },
    ],
    range, pointed: (left, top) => choose(nearest(left, top)),
  }, data);
  plot.about = about;
}

/** The colours or the width have changed. */
export function redrawChart() {
  if (plot) rebuild(plot.columns);
}

function nearest(left, top) {
  let found = -1, least = NEAR * NEAR;
  for (let index = 0; index < shown.length; index++) {
    const across = plot.left(index + 1) - left;
    if (across > NEAR || across < -NEAR) continue;
    const down = plot.top(shown[index].level) - top;
    const distance = across * across + down * down;
    if (distance < least) [found, least] = [index, distance];
  }
  return found;
}

function choose(index) {
  chosen = index;
  const row = shown[index];
  byId("readout").textContent = row
    ? `${index + 1}: ${row.title || "adopted from a peer"}, ${valueText(row.level)}, gain ${gainText(row)}${measuredSuffix(about)}, `
      + `${row.decision}, by ${short(row.by)}`
    : "";
}

function openChosen() {
  const row = shown[chosen];
  if (row) open(row.id);
}

byId("chart").addEventListener("pointerdown", (event) => { pressed = event.clientX; });
byId("chart").addEventListener("click", (event) => {
  if (Math.abs(event.clientX - pressed) < DRAG) openChosen();
});
byId("chart").addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1, PageDown: 25, PageUp: -25, Home: -Infinity, End: Infinity }[event.key];
  if (event.key === "Enter") {
    event.preventDefault(); // or the same key press would reach the panel's close button
    openChosen();
  }
  if (step === undefined || !shown.length) return;
  event.preventDefault();
  const from = chosen < 0 ? shown.length : chosen;
  choose(Math.min(Math.max(from + step, 0), shown.length - 1));
});
