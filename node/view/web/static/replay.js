// The replay of a run: pictures of rows of numbers that a judge recorded. It draws numbers, and names as text.

import { draw, make } from "./elements.js";

const WIDTH = 640, HEIGHT = 160;
const KINDS = 8; // of lines, told apart in page.css; a ninth row looks like the first

/** The pictures of a replay, {picture: {row: [numbers]}}, one below the other. */
export function replay(pictures) {
  return make("div", { class: "replay" }, ...Object.entries(pictures).map(([name, rows]) => picture(name, rows)));
}

function picture(name, rows) {
  const numbers = Object.values(rows).flat();
  const low = Math.min(...numbers), high = Math.max(...numbers);
  const lines = Object.values(rows).map((row, index) => draw("polyline", { class: `line${index % KINDS}`,
    points: row.map((number, step) => place(number, step, row.length, low, high)).join(" ") }));
  const label = `${name}, from ${Number(low.toPrecision(6))} to ${Number(high.toPrecision(6))}, ${Object.values(rows)[0].length} steps`;
  return make("figure", {},
    make("figcaption", {}, label),
    draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label }, ...lines),
    make("ul", { class: "legend" }, ...Object.keys(rows).map((row, index) => make("li", { class: `dot line${index % KINDS}` }, row))));
}

/** Where a number of a row is in its picture, "left,top". */
function place(number, step, steps, low, high) {
  const left = (step / Math.max(1, steps - 1)) * WIDTH;
  const top = high > low ? ((high - number) / (high - low)) * (HEIGHT - 4) + 2 : HEIGHT / 2;
  return `${left.toFixed(1)},${top.toFixed(1)}`;
}
