// Two records beside each other: what was tried, what it gave and cost, how it trained, and how their sources differ.
// Which two is chosen here, among all that show runs.

import { badge, card, diff, gainText, heading, make, nothing, peerLink, recordLink, short, shortId, table, valueText } from "./elements.js";
import { lossChart } from "./chart.js";

export const COMPARABLE = ["experiment", "replication", "transfer"];
const MOST_OFFERED = 200; // in a list to choose from; words find the others
const COLOURS = ["good", "orange", "green", "red", "grey", "soft"];

/** The mean of a figure over the runs made here of what a side tried, as text; null where none has it. */
function mean(side, figure, text) {
  const all = (side.curves || []).filter((run) => run.of === "child").map(figure).filter((value) => typeof value === "number");
  return all.length ? text(all.reduce((sum, value) => sum + value, 0) / all.length) : null;
}

/** The names of what the runs of either side measured besides. */
const metrics = (found) => [...new Set([found.a, found.b].flatMap((side) => (side.curves || []).flatMap((run) => Object.entries(run.metrics || {}).filter(([, value]) => typeof value === "number").map(([name]) => name))))];

export function compare(place, page, [a = "", b = ""]) {
  const chosen = { a, b }, body = make("div", {}), lists = ["a", "b"].map((side) => picker(page, side, chosen, show));
  place.append(heading("Compare two records", "Choose any two experiments, reports or promotions: what each gave and cost, how it trained, and how their sources differ."),
    card("Which two", make("div", { class: "columns even" }, ...lists.map((one) => one.element))), body);

  /** What is chosen stands in the address, so that it can be kept and sent. */
  function show() {
    if (chosen.a && chosen.b) location.hash = `#/compare/${chosen.a}/${chosen.b}`;
  }

  async function read() {
    if (!chosen.a || !chosen.b) return body.replaceChildren(nothing(page.rows.some((row) => COMPARABLE.includes(row.kind)) ? "Choose two above." : "No record shows runs yet."));
    if (chosen.a === chosen.b) return body.replaceChildren(nothing("Both are the same record: choose another for one of them."));
    const found = await page.ask(`/api/compare?a=${encodeURIComponent(a)}&b=${encodeURIComponent(b)}`);
    if (!found) return body.replaceChildren(nothing("These two cannot be compared: both have to be here, with sources and values."));
    const chart = make("div", { class: "chart" }), sides = [["A", found.a], ["B", found.b]];
    const row = (name, of) => [name, ...sides.map(([, side]) => of(side) ?? "–")];
    body.replaceChildren(card("Figures", table(["", "A", "B"], [
      row("what", (side) => recordLink(side.id, side.title || side.kind)), row("category", (side) => side.category), row("by", (side) => peerLink(side.by, page.about.you)),
      row("came of it", (side) => badge(side.conclusion || side.decision)), row("gain", (side) => side.gain_text), row("value", (side) => valueText(side.value)), row("parent's value", (side) => valueText(side.from)),
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
  return { redraw: read, rows: () => lists.forEach((one) => one.fill()) };
}

/** A list to choose a record from, and words that shorten it. */
function picker(page, side, chosen, then) {
  const name = side.toUpperCase(), words = make("input", { type: "search", id: `find-${side}`, autocomplete: "off", placeholder: "words of its title, category, node or id", oninput: () => fill() });
  const list = make("select", { id: `pick-${side}`, onchange: () => { chosen[side] = list.value; then(); } }), count = make("p", { class: "soft" });

  function fill() {
    if (document.activeElement === list) return; // it is open
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    const all = page.rows.filter((row) => COMPARABLE.includes(row.kind)), found = all.filter((row) => wanted.every((word) => described(row, page).toLowerCase().includes(word) || row.id.startsWith(word))).reverse();
    const mine = chosen[side] && all.find((row) => row.id.startsWith(chosen[side])), offered = found.slice(0, MOST_OFFERED).filter((row) => row !== mine);
    list.replaceChildren(make("option", { value: "" }, found.length ? "choose a record …" : "none of them"), ...[mine, ...offered].filter(Boolean).map((row) => make("option", { value: row.id, selected: row === mine }, described(row, page))));
    count.textContent = wanted.length ? `${found.length} of ${all.length}` : `${all.length} records, the newest first${all.length > MOST_OFFERED ? `; ${MOST_OFFERED} of them are in the list` : ""}`;
  }

  fill();
  return { fill, element: make("div", { class: "pick" }, make("p", {}, make("label", { for: `find-${side}` }, `find ${name} `), words), make("p", {}, make("label", { for: `pick-${side}` }, `${name} `), list), count) };
}

/** A record in a line: what it tried, what that gave, and who. */
function described(row, page) {
  const what = { replication: "run again: ", transfer: `at scale ${row.scale}: ` }[row.kind] || "", about = row.title || (row.of && page.records.get(row.of)?.title) || "";
  return `${what}${about || shortId(row.of || row.id)} · ${gainText(row)} · ${row.category ? `${row.category} · ` : ""}${row.by === page.about.you ? "this node" : short(row.by)} · ${shortId(row.id)}`;
}
