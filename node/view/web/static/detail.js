// One record in full: the claim and its reason, what others found, every run, the lineage and the edit.

import {
  byId, effectText, effectWithParts, make, measuredSuffix, nothing, opener, short, shortId, table, valueText,
} from "./elements.js";
import { replay } from "./replay.js";

const FIELDS = ["category", "reason", "proposer", "class", "device", "sandbox", "decision", "route", "cost"];

let measured = ""; // what stands behind a value or a gain

/** Note what the records are about. */
export function aboutRecords(about) {
  measured = measuredSuffix(about);
}

/** Open the panel on a record. */
export async function showRecord(id) {
  const dialog = byId("detail");
  byId("detail-title").textContent = "…";
  byId("detail-body").replaceChildren(nothing("reading …"));
  if (!dialog.open) dialog.showModal();
  const answer = await fetch(`/api/record/${encodeURIComponent(id)}`).catch(() => null);
  if (!answer || !answer.ok) {
    byId("detail-body").replaceChildren(nothing(answer && answer.status === 404
      ? "This record is not here (yet)." : "The dashboard does not answer any more."));
    return;
  }
  const shown = await answer.json();
  const { record } = shown, { body } = record;
  byId("detail-title").textContent = body.title || `${record.kind} ${shortId(record.id)}`;
  byId("detail-body").replaceChildren(...parts(shown, record, body).filter(Boolean));
  dialog.scrollTop = 0;
}

function parts(shown, record, body) {
  const heading = (text) => make("h3", {}, text);
  const found = [facts(shown, record, body)];
  if (record.kind === "experiment" && body.decision === "improved") {
    found.push(heading(`Claimed and found${measured}`), make("img", { src: `/api/record/${record.id}/forest.svg`,
      alt: `Gains with 95 % intervals: claimed ${effectText(shown.effect)}, ${shown.replications.length} replications` }));
  }
  if (shown.replications && shown.replications.length) found.push(heading(`Replications${measured}`), replications(shown.replications));
  if (shown.audits && shown.audits.length) found.push(heading(`Audits${measured}`), audits(shown.audits));
  if (shown.runs && shown.runs.length) found.push(heading(`Runs and pairs${measured}`), runs(shown.runs));
  if (shown.replay) found.push(heading(`Replay of the last run here${measured}`), replay(shown.replay));
  if (shown.lineage) found.push(heading("Lineage"), lineage(shown.lineage));
  if (shown.diff !== undefined) found.push(heading("The edit"), diff(shown.diff));
  return found;
}

function facts(shown, record, body) {
  const list = make("dl", {});
  const add = (name, value) => {
    if (value !== null && value !== undefined && value !== "") list.append(make("dt", {}, name), make("dd", {}, value));
  };
  add("record", record.id);
  add("by", `${shown.author}, number ${record.seq} of its feed`);
  add("time", `${new Date(record.time).toISOString().slice(0, 19).replace("T", " ")} UTC, by its author's clock`);
  if (body.discovery) add("of", opener(body.discovery, shortId(body.discovery)));
  for (const name of FIELDS) add(name === "cost" ? "CPU cost ratio" : name, scalar(body[name]));
  if (shown.effect) add(record.kind === "experiment" ? "claimed gain" : "found gain", effectWithParts(shown.effect, measured));
  if (shown.holdout) add("on holdout", effectText(shown.holdout) + measured);
  if (shown.adoption) add("gain by adopting", effectText(shown.adoption) + measured);
  if (shown.standing) add("standing", `${shown.standing} (${shown.rests_on})`);
  return list;
}

const scalar = (value) => (typeof value === "number" ? value.toPrecision(4) : typeof value === "string" ? value : null);

function replications(rows) {
  return table(["by", "class", "found gain", "decision", "adopted"], rows.map((row) => [
    opener(row.id, short(row.peer)), row.compute_class, effectText(row.effect),
    { text: row.decision, kind: row.decision }, row.route || "no"]));
}

const value = (run) => (run.value === null ? run.failure : valueText(run.value));

function audits(rows) {
  const words = new Map([[true, "agrees"], [false, "disagrees"], [null, "not known here"]]);
  return table(["by", "class", "of report", "seed", "parent", "child", "outcome"], rows.map((row) => [
    opener(row.id, short(row.peer)), row.compute_class, opener(row.report, shortId(row.report)), row.seed,
    value(row.parent), value(row.child), { text: words.get(row.agrees), kind: row.agrees === false ? "contradicts" : null }]));
}

function runs(rows) {
  return table(["of", "seed", "parent", "child", "CPU s, parent", "CPU s, child"], rows.map((row) => [
    row.of, row.seed, value(row.parent), value(row.child), row.parent.cpu_seconds.toFixed(1),
    row.child.cpu_seconds.toFixed(1)]));
}

function lineage(steps) {
  return make("ol", { start: 0 }, make("li", {}, "baseline"),
    ...steps.map((step) => make("li", {}, opener(step.id, step.title), ` ${effectText(step.effect)}`)));
}

function diff(lines) {
  if (lines === null) return nothing("The sources have not arrived yet.");
  const kind = (line) => (/^(---|\+\+\+|@@)/.test(line) ? "where" : line[0] === "+" ? "add" : line[0] === "-" ? "del" : null);
  return make("pre", { tabindex: "0", "aria-label": "The edit as a unified diff" },
    ...lines.map((line) => make("span", { class: kind(line) }, line || " ")));
}
