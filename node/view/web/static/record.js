// One record in full: the claim and its reason, what others found, every run, the lineage and the edit.

import { ago, badge, card, diff, effectText, effectWithParts, heading, make, measuredSuffix, nothing, peerLink, recordLink, shortId, table, valueText } from "./elements.js";
import { COMPARABLE } from "./compare.js";
import { replay } from "./replay.js";

const FIELDS = ["category", "reason", "proposer", "class", "device", "sandbox", "decision", "route", "cost"];
const AGAIN_MILLISECONDS = 3000; // until it is asked for again where it was not here

export function record(place, page, [id = ""]) {
  const head = make("div", {}), body = make("div", {});
  let timer = null;
  place.append(head, body);
  head.replaceChildren(heading("Record"));
  body.replaceChildren(nothing("reading …"));

  async function read() {
    const found = await page.ask(`/api/record/${encodeURIComponent(id)}`);
    if (!found) {
      body.replaceChildren(nothing("This record is not here (yet)."));
      timer = setTimeout(read, AGAIN_MILLISECONDS);
      return;
    }
    const { record: one } = found;
    const title = one.body.title || `${one.kind} ${shortId(one.id)}`;
    head.replaceChildren(heading(title), make("p", {}, found.standing ? badge(found.standing) : badge(outcome(page, one)), " ",
      one.body.category ? badge("category", one.body.category) : "", " by ", peerLink(one.author_peer || found.peer || peerOf(page, one), page.about.you), " ", ago(one.time)), picker(page, one));
    body.replaceChildren(...parts(found, one, measuredSuffix(page.about)));
    document.title = `${title} · ${page.about.name}`;
  }

  read();
  return { close: () => clearTimeout(timer) };
}

/** What came of it in a word: a search goes on from what it keeps, also where nothing is claimed of it. */
function outcome(page, one) {
  const row = page.records.get(one.id);
  if (one.body.route) return "adopted";
  return (row && row.conclusion) || one.body.decision || one.kind;
}

const peerOf = (page, one) => page.records.get(one.id)?.by;

/** The way to put it beside another: with what it went on from, where that is known, or with any. */
function picker(page, one) {
  if (!COMPARABLE.includes(one.kind)) return "";
  const claim = one.body.discovery && page.records.has(one.body.discovery) ? make("a", { class: "button", href: `#/compare/${one.body.discovery}/${one.id}` }, "Compare with the claim") : "";
  return make("p", { class: "buttons" }, claim, make("a", { class: "button", href: `#/compare/${one.id}` }, "Compare with another …"));
}

function parts(shown, record, measured) {
  const { body } = record, found = [];
  if (record.kind === "experiment" && body.decision === "improved") {
    found.push(card(`Claimed and found${measured}`, make("div", { class: "wide-picture", tabindex: "0", role: "region", "aria-label": "the picture of its evidence" }, make("img", { src: `/api/record/${record.id}/forest.svg`, class: "picture",
      alt: `Gains with 95 % intervals: claimed ${effectText(shown.effect)}, ${shown.replications.length} replications` }))));
  }
  found.push(card("What it says", facts(shown, record, body, measured)));
  if (shown.replications && shown.replications.length) found.push(card(`Replications${measured}`, replications(shown.replications)));
  if (shown.audits && shown.audits.length) found.push(card(`Audits${measured}`, audits(shown.audits)));
  if (shown.lineage) found.push(card("Lineage", lineage(shown.lineage)));
  if (shown.diff !== undefined) found.push(card("The edit", diff(shown.diff)));
  if (shown.runs && shown.runs.length) found.push(card(`Runs and pairs${measured}`, runs(shown.runs)));
  if (shown.replay) found.push(card(`Replay of the last run here${measured}`, replay(shown.replay)));
  return found;
}

function facts(shown, record, body, measured) {
  const list = make("dl", {});
  const add = (name, value) => {
    if (value !== null && value !== undefined && value !== "") list.append(make("dt", {}, name), make("dd", {}, value));
  };
  if (body.discovery) add("of", recordLink(body.discovery, shortId(body.discovery)));
  if (shown.conclusion_text) add("conclusion", shown.conclusion_text);
  if (shown.effect) add(record.kind === "experiment" ? "claimed gain" : "found gain", effectWithParts(shown.effect, measured));
  if (shown.holdout) add("on holdout", effectText(shown.holdout) + measured);
  if (shown.adoption) add("gain by adopting", effectText(shown.adoption) + measured);
  if (shown.standing) add("standing", `${shown.standing} (${shown.rests_on})`);
  for (const name of FIELDS) add(name === "cost" ? "CPU cost ratio" : name, scalar(body[name]));
  add("record", make("code", {}, record.id));
  add("by", `${shown.author}, number ${record.seq} of its feed`);
  add("time", `${new Date(record.time).toISOString().slice(0, 19).replace("T", " ")} UTC, by its author's clock`);
  return list;
}

const scalar = (value) => (typeof value === "number" ? value.toPrecision(4) : typeof value === "string" ? value.replaceAll("_", " ") : null);
const value = (run) => (run.value === null ? run.failure : valueText(run.value));

function replications(rows) {
  return table(["by", "class", "found gain", "decision", "adopted", "record"], rows.map((row) => [
    peerLink(row.peer), row.compute_class, effectText(row.effect || row.adoption), badge(row.route ? "adopted" : row.decision), row.route || "no", recordLink(row.id)]));
}

function audits(rows) {
  const words = new Map([[true, "agrees"], [false, "disagrees"], [null, "not known here"]]);
  return table(["by", "class", "of report", "seed", "parent", "child", "outcome"], rows.map((row) => [
    recordLink(row.id, peerLink(row.peer).textContent), row.compute_class, recordLink(row.report), row.seed,
    value(row.parent), value(row.child), { text: words.get(row.agrees), kind: row.agrees === false ? "contradicts" : null }]));
}

function runs(rows) {
  return table(["of", "seed", "parent", "child", "CPU s, parent", "CPU s, child"], rows.map((row) => [
    row.of, row.seed, value(row.parent), value(row.child), row.parent.cpu_seconds.toFixed(1), row.child.cpu_seconds.toFixed(1)]));
}

function lineage(steps) {
  return make("ol", { start: 0, class: "list" }, make("li", {}, "baseline"),
    ...steps.map((step) => make("li", {}, recordLink(step.id, step.title), ` ${effectText(step.effect)}`)));
}
