// A live test's page. Text of variants is shown as text, and as a page only in a frame that can run and load nothing.

import { byId, make, nothing, table } from "./elements.js";

const READ_MILLISECONDS = 1000;
let shown = "", shownVariants = "";

async function read() {
  const answer = await fetch("api/live").catch(() => null);
  byId("connection").hidden = Boolean(answer && answer.ok);
  if (!answer || !answer.ok) {
    byId("connection").textContent = answer ? await answer.text() : "The page's server has stopped.";
    return;
  }
  const text = await answer.text();
  if (text === shown) return;
  shown = text;
  show(JSON.parse(text));
}

function show(state) {
  byId("name").textContent = `${state.name} · ${state.answer}`;
  byId("measured").textContent = state.measured;
  const looks = JSON.stringify(state.variants.map((row) => [row.name, row.sha256, row.state, row.why, row.faults, row.themes]));
  if (looks !== shownVariants) byId("variants").replaceChildren(...state.variants.map(variant)); // else previews would flicker
  shownVariants = looks;
  byId("rules").textContent = `Bounds hold at every time at once, at ${100 * state.level} % for all variants together. `
    + `${state.approved_so_far} of at most ${state.most_variants} contents were approved.`;
  const measured = state.variants.filter((row) => "visitors" in row);
  byId("answers").replaceChildren(measured.length ? table(
    ["variant", "visitors", `${state.answer}`, "at the control", "of the control's rate", "evidence, of what it takes", "found", "guards"],
    measured.map((row) => [row.name, row.visitors, rate(row.answers, row.visitors),
      `${rate(row.control_answers, row.control_visitors)} of ${row.control_visitors}`, ratio(row), evidence(row),
      row.found.join(", ") || "–", row.guards.map(guard).join("; ") || "–"])) : nothing("Nobody has been counted yet."));
  byId("stopped").replaceChildren(...state.stopped.map((row) =>
    make("p", { class: "refuted" }, `${row.variant} was taken out of traffic, ${row.reason}: ${row.detail}`)));
  const dropped = Object.entries(state.dropped);
  byId("dropped").replaceChildren(dropped.length ? table(["why", "how many"], dropped) : nothing("Nothing was dropped."));
  byId("map").replaceChildren(state.map.tried.length ? table(
    ["category", "theme", "visitors", "of the control's rate", "never without"],
    state.map.tried.map((row) => [row.category, row.title, row.visitors, ratio(row), row.never_without.join(", ")]))
    : nothing("No theme has been shown to anybody yet."));
  byId("untried").textContent = `Never tried: ${state.map.untried.map((row) => row.theme).join(", ") || "nothing of ideas/"}`;
}

function variant(row) {
  const button = row.approved
    ? make("button", { type: "button", onclick: () => act("withdraw", row.name) }, `Withdraw ${row.name}`)
    : make("button", { type: "button", disabled: row.faults.length > 0,
      onclick: () => act("approve", `${row.name} ${row.sha256}`) }, `Approve ${row.name}`);
  return make("article", { id: `variant-${row.name}` },
    make("h3", {}, `${row.name}: ${row.state}`),
    row.why ? make("p", { class: "refuted" }, row.why) : null,
    ...row.faults.map((fault) => make("p", { class: "refuted" }, fault)),
    make("p", { class: "note" }, `sha256 ${row.sha256.slice(0, 12)} · ${row.themes.join(", ") || "no themes"}`),
    make("iframe", { sandbox: "", title: `${row.name}, as people see it`, src: `preview/${row.name}/${row.sha256}` }),
    make("p", {}, button));
}

const rate = (part, whole) => (whole ? `${(100 * part / whole).toFixed(2)} %` : "–");
const ratio = (row) => `× ${row.ratio.toFixed(2)} (${row.low.toFixed(2)} to ${row.high === null ? "no bound" : row.high.toFixed(2)})`;
const guard = (row) => `${row.name} ${row.ours}, at the control ${row.theirs}${row.harmed ? ": harm" : ""}`;
const evidence = (row) => `${row.evidence.toPrecision(3)} of ${row.evidence_needed.toFixed(0)}`
  + (row.enough ? "" : ", too few yet") + (row.split_broken ? ", but visitors are not split in half" : "");

async function act(action, text) {
  const answer = await fetch(`api/do/${action}`, { method: "POST", headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ text }) }).catch(() => null);
  byId("said").textContent = !answer ? "The page's server does not answer."
    : answer.ok ? (await answer.json()).said : await answer.text();
  await read();
}

history.replaceState(null, "", location.pathname); // the token need not stay in sight
await read();
setInterval(read, READ_MILLISECONDS);
