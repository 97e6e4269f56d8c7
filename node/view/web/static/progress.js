// The view of progress: every experiment as a dot, the best so far as a staircase from the baseline, and the leaderboard.

import { progressChart } from "./chart.js";
import { card, effectText, gainText, heading, make, measuredSuffix, nothing, peerLink, short, table, valueText } from "./elements.js";

const NEAR = 30; // pixels: the pointer chooses the nearest dot within this distance
const ALL = "";
const MOST_ROWS = 200;

export function progress(place, page) {
  const { about } = page;
  const whose = make("select", { "aria-label": "whose experiments", onchange: () => { chosen = -1; drawn(); } });
  const holder = make("div", { class: "chart tall", tabindex: "0", role: "application",
    "aria-label": "Progress chart: arrow keys step through the experiments, Enter opens one", onkeydown: step });
  const readout = make("p", { class: "readout", "aria-live": "polite" });
  const boards = make("div", {});
  place.append(heading("Progress", `How ${about.metric} got better, experiment by experiment. Every comparison has seeds of its own, so `
    + "what is drawn are levels: a source lies as far from its parent as its gain says."),
  make("section", { class: "card" }, make("div", { class: "filters" }, make("label", {}, "of ", whose),
    make("ul", { class: "legend", "aria-hidden": "true" }, ...[["grey", "tried"], ["good", "kept"], ["orange", "adopted from a peer"], ["hollow", "proven on fresh seeds, and claimed"]].map(([name, text]) =>
      make("li", { class: `dot ${name}` }, text))), make("div", { class: "buttons zoom", role: "group", "aria-label": "zoom" },
    ...[["+", "Zoom in"], ["−", "Zoom out"], ["0", "See all"]].map(([key, text]) => make("button", { type: "button", onclick: () => zoom(key), title: `${text} (${key})` }, text)))), holder, readout,
  make("p", { class: "note" }, "Drag to zoom in, double-click to see all; by keyboard: arrows, Page Up and Down and Enter, + and − to zoom, 0 to see all. "
    + "Values far worse than the baseline lie outside the picture.")), boards);
  let plot = null, rows = [], places = [], count = 0, chosen = -1; // places: of each row, along the chart

  function authors() {
    const had = new Set([...whose.options].map((option) => option.value));
    if (!had.size) whose.append(make("option", { value: ALL }, "all nodes"));
    for (const row of page.rows) {
      if (had.has(row.by)) continue;
      had.add(row.by);
      whose.append(make("option", { value: row.by }, row.by === about.you ? "this node" : short(row.by)));
    }
  }

  const isBetter = (value, other) => (about.direction === "higher" ? value > other : value < other);

  /** The columns of the chart, the range of its values, and what is marked in it. */
  function measured() {
    const columns = [[], [], [], [], [], []];
    const first = rows.find((row) => typeof row.level_from === "number");
    const start = first ? first.level_from : rows.length ? rows[0].level : 1;
    let best = start, at = null;
    [0, null, start, null, null, null].forEach((value, column) => columns[column].push(value)); // the staircase begins at the baseline
    places = [];
    count = 0;
    rows.forEach((row, index) => {
      // What proves ideas that were kept before, as a chain, is no further experiment: it stands above the last one.
      const adopted = row.kind === "replication", claimed = row.steps > 0, kept = row.kept && !adopted && !claimed;
      if (!claimed) count += 1;
      places.push(count);
      // What was measured of a whole chain on fresh seeds counts for what its author had kept, also where it is less.
      const proves = claimed && at !== null && rows[at].by === row.by;
      if (proves || ((kept || adopted || claimed) && isBetter(row.level, best))) [best, at] = [row.level, index];
      [count, kept || adopted || claimed ? null : row.level, best, kept ? row.level : null, adopted ? row.level : null, claimed ? row.level : null]
        .forEach((value, column) => columns[column].push(value));
    });
    const least = about.scale === "log" ? 0.02 * Math.abs(start) : about.least_drawn; // a linear metric may start at 0
    const room = Math.max(...columns[2].map((level) => Math.abs(start - level)), least), up = about.direction === "higher" ? 1 : -1;
    const worst = rows.reduce((far, row) => (isBetter(far, row.level) && up * (start - row.level) <= 0.3 * room ? row.level : far), start);
    const ends = [best, ...columns[2]].reduce((far, level) => (isBetter(level, far) ? level : far));
    const range = [ends + up * 0.15 * room, worst - up * 0.08 * room].sort((one, other) => one - other);
    const lower = about.direction !== "higher";
    const marks = [{ value: start, colour: "soft", text: `baseline ${valueText(start)}`, below: !lower }];
    if (at !== null) {
      const row = rows[at], error = errorOf(row, about);
      marks.push({ value: best, beyond: ends, at: places[at], error, colour: "good", text: `best ${valueText(best)}${error ? ` ± ${Number(error.toPrecision(2))}` : ""}`, below: lower });
    }
    return { columns, range, marks };
  }

  /** zoomed: stay with the part that is shown, if not all was. */
  function drawn(zoomed = false) {
    const { min, max } = (zoomed && plot && plot.scales.x) || {}, part = max !== undefined && (min > 0 || max < count + 0.5) ? { min, max } : null;
    rows = page.rows.filter((row) => typeof row.level === "number" && (whose.value === ALL || row.by === whose.value));
    const { columns, range, marks } = measured();
    readout.textContent = rows.length ? "" : "Nothing has been measured yet.";
    if (!rows.length) return holder.replaceChildren();
    plot = progressChart(holder, columns, marks, range, `${about.metric} (${about.direction} is better${measuredSuffix(about)})`,
      { point: (left, top) => choose(nearest(left, top)), open });
    if (part) plot.setScale("x", part);
  }

  function nearest(left, top) {
    let found = -1, least = NEAR * NEAR;
    if (!plot || left < 0) return found;
    for (let index = 0; index < rows.length; index++) {
      const across = plot.valToPos(places[index], "x") - left;
      if (across > NEAR || across < -NEAR) continue;
      const down = plot.valToPos(rows[index].level, "y") - top, distance = across * across + down * down;
      if (distance < least) [found, least] = [index, distance];
    }
    return found;
  }

  function choose(index) {
    if (index < 0 && document.activeElement === holder) return;
    chosen = index;
    const row = rows[index];
    readout.textContent = row ? `${places[index]}: ${row.title || "adopted from a peer"}, ${valueText(row.level)}, gain ${gainText(row)}`
      + `${measuredSuffix(about)}, ${(row.conclusion || row.decision).replaceAll("_", " ")}, by ${short(row.by)}` : "";
  }

  function open() {
    if (rows[chosen]) location.hash = `#/record/${rows[chosen].id}`;
  }

  /** Half or twice as much of the experiments, about the one that is chosen or the middle; 0: all of them. */
  function zoom(key) {
    if (!plot || !rows.length) return;
    const all = count + 0.5, { min, max } = plot.scales.x, half = ((max - min) / 2) * (key === "+" ? 0.5 : 2);
    const middle = chosen >= 0 && key === "+" ? places[chosen] : (min + max) / 2;
    const left = Math.max(0, Math.min(middle - half, all - 2 * half));
    plot.setScale("x", key === "0" ? { min: 0, max: all } : { min: left, max: Math.min(all, left + Math.max(2, 2 * half)) });
  }

  function step(event) {
    if ("+-−0".includes(event.key)) return zoom(event.key);
    const far = { ArrowRight: 1, ArrowLeft: -1, PageDown: 25, PageUp: -25, Home: -Infinity, End: Infinity }[event.key];
    if (event.key === "Enter") open();
    if (far === undefined || !rows.length) return;
    event.preventDefault();
    choose(Math.min(Math.max((chosen < 0 ? rows.length : chosen) + far, 0), rows.length - 1));
  }

  function leaderboard() {
    const classes = new Map();
    for (const node of page.board.nodes) {
      const name = node.compute_class || "no class yet";
      classes.set(name, [...(classes.get(name) || []), node]);
    }
    const columns = ["place", "node", "replicated gain", "of its steps", "own figure", "own, on holdout", "tried", "run again"];
    const tables = [...classes].map(([name, members]) => table(columns, members.slice(0, MOST_ROWS).map((node) => [
      node.place, peerLink(node.peer, about.you), { text: effectText(node.replicated), kind: "number" }, `${node.replicated_steps} of ${node.steps.length}`,
      effectText(node.gain), effectText(node.holdout), node.experiments, node.replications]), `class ${name}`));
    boards.replaceChildren(card("Leaderboard", make("p", { class: "note" }, "Gain over the baseline ± standard error (seed pairs). Only what others found on "
      + "seeds of their own counts; claims and own figures are biased upward by selection."),
    ...(tables.length ? tables : [nothing("No records yet.")])));
  }

  authors();
  const mine = page.rows.some((row) => row.by === about.you && row.kind === "experiment");
  whose.value = mine ? about.you : ALL;
  drawn();
  leaderboard();
  return { rows: () => { authors(); drawn(true); }, board: leaderboard, redraw: () => drawn(true) };
}

/** The standard error of a row's gain, in units of the metric at its level; null where it has none. */
function errorOf(row, about) {
  if (!row.gain) return null;
  return about.scale === "log" ? Math.abs(row.level) * (row.gain[1] / 100) : row.gain[1];
}
