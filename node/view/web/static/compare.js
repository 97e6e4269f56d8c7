// Two records beside each other: what was tried, what it gave and cost, how it trained, and how their sources differ.

import { badge, card, diff, heading, make, nothing, peerLink, recordLink, table, valueText } from "./elements.js";
import { lossChart } from "./chart.js";

const COLOURS = ["good", "orange", "green", "red", "grey", "soft"];

/** The mean of a figure over the runs made here of what a side tried, as text; null where none has it. */
function mean(side, figure, text) {
  const all = (side.curves || []).filter((run) => run.of === "child").map(figure).filter((value) => typeof value === "number");
  return all.length ? text(all.reduce((sum, value) => sum + value, 0) / all.length) : null;
}

/** The names of what the runs of either side measured besides. */
const metrics = (found) => [...new Set([found.a, found.b].flatMap((side) => (side.curves || []).flatMap((run) => Object.entries(run.metrics || {}).filter(([, value]) => typeof value === "number").map(([name]) => name))))];

export function compare(place, page, [a = "", b = ""]) {
  const body = make("div", {});
  place.append(heading("Two records compared"), body);

  async function read() {
    const found = await page.ask(`/api/compare?a=${encodeURIComponent(a)}&b=${encodeURIComponent(b)}`);
    if (!found) return body.replaceChildren(nothing("These two cannot be compared: both have to be here, with sources and values."));
    const chart = make("div", { class: "chart" }), sides = [["A", found.a], ["B", found.b]];
    const row = (name, of) => [name, ...sides.map(([, side]) => of(side) ?? "–")];
    body.replaceChildren(card("Figures", table(["", "A", "B"], [
      row("what", (side) => recordLink(side.id, side.title || side.kind)), row("category", (side) => side.category), row("by", (side) => peerLink(side.by, page.about.you)),
      row("decision", (side) => badge(side.decision)), row("gain", (side) => side.gain_text), row("value", (side) => valueText(side.value)), row("parent's value", (side) => valueText(side.from)),
      row("CPU cost ratio", (side) => side.cost_ratio && side.cost_ratio.toFixed(3)), row("CPU seconds", (side) => side.cpu_seconds && side.cpu_seconds.toFixed(1)),
      row("seconds of a run here", (side) => mean(side, (run) => run.wall_seconds, (all) => all.toFixed(1))),
      row("memory of a run here", (side) => mean(side, (run) => run.peak_memory, (all) => `${(all / 2 ** 20).toFixed(0)} MiB`)), ...metrics(found).map((name) => row(name, (side) => mean(side, (run) => (run.metrics || {})[name], valueText))),
      row("class", (side) => side.compute_class), row("device", (side) => side.device)].filter(([, a, b]) => a !== "–" || b !== "–")),
    found.difference_text ? make("p", {}, make("strong", {}, found.difference_text)) : "",
    make("p", { class: "soft" }, found.same_parent ? "Both were made from the same source." : "They were made from different sources, so their gains do not compare directly.")),
    card("Training loss of runs made here", chart), card("How the sources differ (A to B)", diff(found.diff)));
    const curves = sides.flatMap(([name, side]) => (side.curves || []).filter((one) => one.curve.length).map((one) => ({ name: `${name}, ${one.of}, seed ${one.seed ?? "?"}`, points: one.curve })));
    curves.slice(0, COLOURS.length).forEach((one, index) => { one.colour = COLOURS[index]; });
    if (curves.length) lossChart(chart, curves.slice(0, COLOURS.length));
    else chart.replaceChildren(nothing("None is kept for these two."));
  }

  read();
  return { redraw: read };
}
