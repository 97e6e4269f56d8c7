// The view of now: the runs under way with their losses, what comes next, what arrived, and what all of it has brought.

import { ago, badge, card, duration, effectText, gainText, heading, make, nothing, peerLink, percent, recordLink, shortId, table, tile } from "./elements.js";
import { lossChart } from "./chart.js";

const LATEST = 10;
const MOST_FOUND = 6;
const TILES = 6;
const PHASES = { train: "training", compile: "compiling", examine: "examination", score: "scoring", prepare: "preparing", start: "starting" };
const ROLES = { idea: "an idea", incumbent: "what this node builds on", baseline: "the baseline", peer: "a peer's work, run again here" };

export function now(place, page) {
  const runs = make("div", {}), next = make("div", {}), latest = make("div", {}), tiles = make("div", { class: "tiles" });
  const machine = make("div", {}), found = make("div", {}), objectives = make("div", {});
  place.append(heading("Now", "What this node is doing, and what it has brought."), make("div", { class: "columns" },
    make("div", { class: "wide" }, runs, tiles, next, found), make("div", {}, machine, latest)), objectives);
  let charts = [], drawnFor = "";
  let totals = null;

  function showRuns(anew = false) {
    const live = page.live;
    if (!live || !live.runs.length) {
      drawnFor = "";
      runs.replaceChildren(card("Run under way", nothing(idle(live, page))));
      return;
    }
    const key = JSON.stringify(live.runs.map((run) => [run.source, run.role, run.title, Boolean(run.curve.length)]));
    if (key !== drawnFor || anew) {
      drawnFor = key;
      charts = live.runs.map(runCard);
      runs.replaceChildren(...charts.map((one) => one.element));
    }
    live.runs.forEach((run, index) => charts[index].show(run));
  }

  function showNext() {
    const planned = (page.live && page.live.next) || [];
    next.replaceChildren(planned.length ? card("What comes next", make("ol", { class: "list" }, ...planned.map((one) => make("li", {},
      one.title, " ", badge("category", one.category), make("span", { class: "soft" }, ` by ${one.proposer}`))))) : "");
  }

  function showMachine() {
    const live = page.live, { cpu_percent: cpu, memory_percent: memory, gpus } = (live && live.machine) || {};
    const loads = [["CPU", cpu], ["memory", memory], ...(gpus || []).map((one) => [`GPU ${one.index}`, one.busy_percent, one.celsius === null || one.celsius === undefined ? null : `${one.celsius} °C`])]
      .filter(([, load]) => typeof load === "number");
    machine.replaceChildren(loads.length ? card("This machine", make("div", { class: "loads" }, ...loads.flatMap(([name, load, more]) => [make("span", {}, name),
      make("meter", { min: 0, max: 100, value: load, "aria-label": `${name} in use` }), make("span", { class: "load" }, `${Math.round(load)} %`, more ? ` · ${more}` : "")])),
    make("p", { class: "soft" }, [live.workers ? `${live.workers.busy} run${live.workers.busy === 1 ? "" : "s"} now${live.runs.length > live.workers.busy ? ", a pair in turns" : ""}` : null, live.compute_class, live.device].filter(Boolean).join(" · "))) : "");
  }

  /** What this machine found, and in how many others' best source it lives on. */
  function showFound() {
    const mine = totals.discoveries;
    found.replaceChildren(mine.length ? card("What this machine found", make("ul", { class: "list news" }, ...mine.slice(0, MOST_FOUND).map((one) => make("li", {},
      make("span", {}, recordLink(one.id, one.title), " ", make("span", { class: "gain" }, one.gain_text || ""), " ", badge(one.standing)),
      make("span", { class: "soft" }, one.lives_in ? `lives on in ${one.lives_in} of ${totals.found.others} other node${totals.found.others === 1 ? "" : "s"}` : one.adopted_by ? `adopted by ${one.adopted_by}` : "")))),
    mine.length > MOST_FOUND ? nothing(`and ${mine.length - MOST_FOUND} more`) : "") : "");
  }

  /** What went into each objective, where this home has researched more than one. */
  function showObjectives() {
    const row = (one, name) => [{ text: name, kind: "text" }, one.runs.toLocaleString("en"), duration(3600 * one.cpu_hours), one.experiments, one.kept, one.claims, one.confirmed, one.replications];
    objectives.replaceChildren(totals.objectives.length > 1 ? card("By objective", table(["objective", "runs", "CPU", "experiments", "kept", "claims", "confirmed", "claims run again"],
      [...totals.objectives.map((one) => row(one, one.current ? make("a", { href: "#/objective" }, one.name || shortId(one.id)) : one.name || shortId(one.id))), row(totals.all, make("strong", {}, "all"))])) : "");
  }

  function showLatest() {
    const rows = page.rows.slice(-LATEST).reverse();
    latest.replaceChildren(card("What arrived last", rows.length
      ? make("ul", { class: "list news" }, ...rows.map((row) => make("li", {}, make("span", {}, ...inWords(row, page)), make("span", { class: "soft" }, ago(row.time)))))
      : nothing("Nothing yet.")));
  }

  async function showTotals() {
    totals = await page.ask("/api/totals") || totals;
    const ahead = (await page.ask("/api/progress") || { you: [] }).you.at(-1);
    const mine = page.board.nodes.find((node) => node.peer === page.about.you);
    if (!totals) return;
    showFound();
    showObjectives();
    const { found: own } = totals;
    tiles.replaceChildren(
      tile("over the baseline", ahead && ahead.what !== "baseline" ? ahead.gain_text : "–", [ahead && ahead.what === "bet" ? (mine && mine.gain ? `of which proven ${effectText(mine.gain)}` : "kept, not proven yet") : null,
        mine && mine.replicated ? `others found ${effectText(mine.replicated)}` : null].filter(Boolean).join("; ") || null),
      tile(own.claims === 1 ? "discovery of yours" : "discoveries of yours", own.claims, `${own.confirmed} confirmed, ${own.refuted} refuted`),
      tile("of these in others' best", own.live_on, `in that of ${own.in_bests_of} of ${own.others} other nodes`),
      tile("runs made here", totals.runs.toLocaleString("en"), `${duration(3600 * totals.cpu_hours)} of CPU`),
      tile("peers' claims run again", totals.replications, `${totals.audits} audit${totals.audits === 1 ? "" : "s"}`),
      tile(`discover${totals.swarm.claims === 1 ? "y" : "ies"} in this swarm`, totals.swarm.claims, `${totals.swarm.confirmed} confirmed; ${totals.swarm.authors} node${totals.swarm.authors === 1 ? "" : "s"}`));
  }

  tiles.replaceChildren(...Array.from({ length: TILES }, () => make("div", { class: "tile waiting" }))); // so that nothing moves when they come
  showRuns();
  showNext();
  showMachine();
  showLatest();
  showTotals();
  return { live: () => { showRuns(); showNext(); showMachine(); }, rows: showLatest, board: showTotals, redraw: () => showRuns(true) };
}

function idle(live, page) {
  if (!live) return "reading …";
  if (live.state === "off") return "No node is running in this home. Start it with: autoresearch-node join";
  if (live.state === "paused") {
    const { pause } = live;
    return `Research is paused${pause && pause.why ? `: ${pause.why}` : ""}. ${page.actions.includes("resume") ? "Resume it above." : ""}`;
  }
  return live.why_not || `No run at this moment: ${live.doing || "idle"}.`;
}

/** A run's card, whose figures are filled in again and again. */
function runCard(first) {
  const bar = make("progress", { max: 1, "aria-label": "part of the run that is done" }), figures = make("p", { class: "soft" });
  const chart = make("div", { class: "chart" });
  let drawn = 0;
  const element = make("section", { class: "card" },
    make("h2", {}, first.title || ROLES[first.role] || "a run"),
    make("p", {}, badge("category", first.category || ROLES[first.role] || "run"), first.proposer ? ` by ${first.proposer}` : "",
      first.category && first.role !== "idea" ? ` · ${ROLES[first.role]}` : ""),
    first.reason ? make("p", { class: "reason" }, first.reason) : null,
    bar, figures, chart,
    first.discovery ? make("p", {}, recordLink(first.discovery, "the claim")) : null);
  return { element, show(run) {
    bar.value = run.share || 0;
    figures.textContent = [PHASES[run.phase] || run.phase, percent(run.share || 0), duration(run.seconds),
      run.seconds_left === null ? null : `about ${duration(run.seconds_left)} left`, run.loss === null || run.loss === undefined ? null : `loss ${run.loss.toFixed(3)}`].filter(Boolean).join(" · ");
    const beside = run.beside;
    const points = run.curve.length + (beside ? beside.curve.length : 0);
    if (points === drawn && drawn) return;
    drawn = points;
    if (element.isConnected) lossChart(chart, [{ name: "this run", colour: "good", points: run.curve },
      ...(beside ? [{ name: beside.role === "parent" ? "its parent, same seed" : "the incumbent, same seed", colour: "grey", points: beside.curve }] : [])]);
  } };
}

/** A record as a sentence. */
export function inWords(row, page) {
  const by = peerLink(row.by, page.about.you), gain = row.gain_text ? make("span", {}, " ", make("span", { class: "gain" }, gainText(row))) : "", of = row.of ? recordLink(row.of, page.records.get(row.of)?.title || shortId(row.of)) : null;
  switch (row.kind) {
    case "experiment": {
      const what = row.decision === "improved" ? "claims" : row.kept ? "keeps" : row.decision === "failed" ? "tried, and it failed:" : "tried";
      return [by, ` ${what} `, recordLink(row.id, row.title), gain];
    }
    case "replication":
      return [by, row.route ? " adopted " : ` found that it ${row.decision === "supports" ? "holds" : row.decision === "contradicts" ? "does not hold" : "is unclear"}: `, of, gain];
    case "audit": return [by, " checked a report on ", of];
    case "transfer": return [by, ` ran at scale ${row.scale}: `, of, gain];
    case "hypothesis": return [by, " suggests ", recordLink(row.id, row.title)];
    default: return [by, ` wrote a record of kind ${row.kind}`];
  }
}
