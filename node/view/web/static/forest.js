// Gains with their intervals, one below the other on one scale: what was claimed, and what others found.

import { draw } from "./elements.js";

const WIDTH = 300, ROW = 16, TICKS = 12, Z95 = 1.96;

/** rows: [{gain, se, kind}], gains in one unit; scale: [low, high] that all pictures beside each other share. unit: "%" or "". */
export function intervals(rows, [low, high], label, unit) {
  const left = (gain) => ((Math.min(high, Math.max(low, gain)) - low) / (high - low || 1)) * (WIDTH - 12) + 6;
  return draw("svg", { class: "forest", viewBox: `0 0 ${WIDTH} ${rows.length * ROW + TICKS}`, role: "img", "aria-label": label },
    draw("line", { class: "zero", x1: left(0), x2: left(0), y1: 0, y2: rows.length * ROW }),
    ...ticks(low, high).map((gain) => draw("text", { x: left(gain), y: rows.length * ROW + TICKS - 2, "text-anchor": "middle" }, `${gain > 0 ? "+" : ""}${gain}${unit && gain ? ` ${unit}` : ""}`)),
    ...rows.flatMap(({ gain, se, kind }, index) => {
      const y = index * ROW + ROW / 2;
      return [draw("line", { class: `whisker ${kind}`, x1: left(gain - Z95 * se), x2: left(gain + Z95 * se), y1: y, y2: y }),
        draw("circle", { class: kind, cx: left(gain), cy: y, r: 4.5 })];
    }));
}

/** Round gains to write below: 0, and about three more up to both ends. */
function ticks(low, high) {
  const rough = (high - low) / 5, size = 10 ** Math.floor(Math.log10(rough)), step = size * (rough / size > 5 ? 10 : rough / size > 2 ? 5 : 2);
  const from = Math.ceil((low + 0.04 * (high - low)) / step), to = Math.floor((high - 0.06 * (high - low)) / step);
  return Array.from({ length: to - from + 1 }, (_, index) => Number(((from + index) * step).toPrecision(6)));
}

/** A scale for these gains with 0 in it: [low, high], a little wider than the gains. */
export function scaleOf(gains) {
  const low = Math.min(0, ...gains), high = Math.max(0, ...gains), room = 0.08 * (high - low || 1);
  return [low - room, high + room];
}
