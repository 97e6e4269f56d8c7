// The view of the objective: what is measured, within which budget, who measures, and the direction a person gave.

import { badge, card, heading, make, nothing, valueText } from "./elements.js";

export function objective(place, page) {
  place.append(heading(page.about.name || "Objective"));
  page.ask("/api/objective").then((found) => place.append(...(found ? parts(found) : [nothing("Nothing is known of it here.")])));
  return {};
}

function parts(found) {
  const facts = make("dl", {});
  const add = (name, value) => { if (value !== null && value !== undefined && value !== "") facts.append(make("dt", {}, name), make("dd", {}, value)); };
  add("what is measured", `${found.metric}${found.unit ? `, in ${found.unit}` : ""}: ${found.direction} is better`);
  add("who measures it", make("span", {}, badge(found.measured), ` ${found.trust}`));
  add("what may be edited", found.editable.join(", "));
  add("budget of a run", found.budget && found.budget.text);
  add("device", found.device);
  add("kind", found.kind);
  if (found.baseline && found.baseline.value !== null) add("baseline", `${valueText(found.baseline.value)}, the first run${found.baseline.n > 1 ? `; mean of ${found.baseline.n} ${found.baseline.of} ${valueText(found.baseline.mean)}${found.baseline.mean_se ? ` ± ${valueText(found.baseline.mean_se)}` : ""}` : ""}`);
  if (found.best && found.best.value !== null) add("best here", `${valueText(found.best.value)}${found.best.gain_text ? `, ${found.best.gain_text} over the baseline` : ""}`);
  add("larger scales", (found.scales || []).join(", "));
  add("categories of ideas", (found.categories || []).join(", "));
  add("here", `${found.records.toLocaleString("en")} records of ${found.authors} node${found.authors === 1 ? "" : "s"}`);
  add("id", make("code", {}, found.id));
  const others = (found.others || []).map((one) => make("li", {}, `${one.name || one.id.slice(0, 10)}: ${one.records} records`));
  return [card("What is researched", found.summary ? make("p", {}, found.summary) : null, facts),
    found.program ? card("Direction for the search (program.md)", make("pre", { class: "prose", tabindex: "0" }, found.program), found.program_cut ? nothing("The rest is in the file.") : null) : "",
    others.length ? card("Other objectives of this home", make("ul", { class: "list" }, ...others), nothing("autoresearch-node objective use NAME changes over.")) : ""];
}
