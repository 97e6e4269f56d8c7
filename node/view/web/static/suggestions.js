// The view of suggestions: a person's ideas and those of others, and what became of each.

import { ago, badge, card, heading, make, nothing, peerLink, recordLink } from "./elements.js";

const WORDS = { left: "not taken up yet", refused: "refused", waiting: "waiting", trying: "being tried", tried: "tried", dropped: "dropped",
  needs_model: "needs a model", with_model: "shown to the model", vetoed: "vetoed here", taken_back: "taken back" };
const BUTTONS = { up: "Earlier", down: "Later", veto: "Veto", allow: "Allow again", "take-back": "Take back" };

export function suggestions(place, page) {
  const idea = make("textarea", { id: "idea", maxlength: 500, rows: 3, required: true });
  const said = make("p", { id: "said", role: "status" }), list = make("div", {});
  const form = make("form", { onsubmit: offer }, make("label", { for: "idea" }, "What to try, and why you expect it to help"), idea,
    make("button", { type: "submit" }, "Suggest"), said);
  place.append(heading("Suggestions", "Ideas that people offered to this node or to the swarm, and what became of each. An idea in words needs a language model or an agent; "
    + "one with an edit (autoresearch-node suggest --edit) runs as it is."),
  page.actions.includes("suggest") ? card("Suggest an idea", form) : "", list);

  async function read() {
    const data = await page.ask("/api/suggestions");
    if (!data) return;
    list.replaceChildren(data.model && !data.model.configured ? make("p", { class: "note" }, data.model.text) : "",
      ...(data.suggestions.length ? [make("div", { class: "cards" }, ...data.suggestions.map(one))] : [nothing("None yet.")]), data.more ? nothing(`and ${data.more} more`) : "");
  }

  function one(found) {
    return make("article", { class: "card" },
      make("h2", {}, found.id ? recordLink(found.id, found.title) : found.title),
      make("p", {}, badge(found.state, WORDS[found.state] || found.state), found.place ? ` number ${found.place}` : "", found.gain_text ? ` ${found.gain_text}` : ""),
      found.text && found.text !== found.title ? make("p", { class: "reason" }, found.text) : null,
      found.why ? make("p", { class: "soft" }, found.why) : null,
      (found.tried || []).length ? make("ul", { class: "list" }, ...found.tried.map((row) => make("li", {}, peerLink(row.by, page.about.you), " ", recordLink(row.id, row.decision.replaceAll("_", " ")), row.gain_text ? ` ${row.gain_text}` : ""))) : null,
      make("p", { class: "soft" }, found.own ? "from here" : peerLink(found.by, page.about.you), " · ", ago(found.time), found.has_edit ? " · with an edit" : " · in words"),
      make("p", { class: "buttons" }, ...(found.can || []).map((name) => make("button", { type: "button", onclick: () => decide(name, found) }, BUTTONS[name] || name))));
  }

  async function decide(name, found) {
    const answer = await page.act(`suggestion-${name}`, found.id || found.file);
    said.textContent = answer.said;
    await read();
  }

  async function offer(event) {
    event.preventDefault();
    const answer = await page.act("suggest", idea.value);
    said.textContent = answer.said;
    if (answer.done) idea.value = "";
    await read();
  }

  read();
  return { suggestions: read, board: read };
}
