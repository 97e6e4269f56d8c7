// The view of settings: what people change while a node runs, what each is now and where that is from, and a way back.

import { badge, card, heading, make } from "./elements.js";

const LABELS = { hours: "Hours of work", others_cpu_percent: "Make way for other programs", user_idle_minutes: "Wait until nobody is there", on_battery: "Work on battery",
  max_celsius: "Hottest the processor may be", gpu_others: "Share a GPU with others", gpu_max_celsius: "Hottest a GPU may be", workers: "Runs at once", gpu: "Use of GPUs",
  replicate_share: "Time for others' claims" };

export function settings(place, page) {
  const said = make("p", { id: "said", role: "status" }), list = make("div", {}), undo = make("p", {}), pause = make("div", {});
  place.append(heading("Settings", "What is changed here is kept in the home beside swarm.toml, which stays as it is; each can be set back."), pause, said, undo, list);

  async function read() {
    const data = await page.ask("/api/settings");
    if (!data) return;
    undo.replaceChildren(data.undo ? make("button", { type: "button", onclick: () => act("undo", "") }, `Undo: ${data.undo.text}`) : "");
    pause.replaceChildren(pauseCard(data.pause));
    list.replaceChildren(data.trouble ? make("p", { class: "refuted" }, data.trouble) : "",
      card("What this node may take", ...data.settings.map(row)), make("p", { class: "soft" }, data.file ? `All other settings are in ${data.file}.` : "All other settings are in swarm.toml, of which this home has none."));
  }

  function pauseCard(now) {
    const length = make("input", { id: "pause-for", placeholder: "90m, 2h or 22:00", size: 14 });
    if (now && now.by === "settings") return card("Resting", make("p", {}, `${now.why || "The settings say so"}. It goes on by itself.`));
    return card("Pause", now ? make("p", {}, now.until ? `Paused until ${new Date(1000 * now.until).toLocaleString()}.` : "Paused until somebody resumes it.",
      " ", make("button", { type: "button", onclick: () => act("resume", "") }, "Resume"))
      : make("form", { class: "inline", onsubmit: (event) => { event.preventDefault(); act("pause", length.value); } },
        make("label", { for: "pause-for" }, "for how long, or until when (empty: until resumed) "), length, make("button", { type: "submit" }, "Pause")));
  }

  function row(setting) {
    const id = `set-${setting.name}`, field = input(setting, id), answer = make("p", { class: "answer", role: "status" });
    const save = () => act("set", `${setting.name} ${valueOf(setting, field)}`, { field, answer });
    return make("form", { class: "setting", onsubmit: (event) => { event.preventDefault(); save(); } },
      make("div", {}, make("label", { for: id }, make("strong", {}, LABELS[setting.name] || setting.name)), " ", make("code", { class: "soft" }, setting.name), " ", badge(setting.from === "default" ? "default" : "changed", setting.from === "default" ? "default" : `from ${setting.from}`),
        make("p", { class: "soft" }, setting.about),
        setting.pending && setting.takes_effect !== "at once" ? make("p", { class: "note" }, `The running node still uses ${JSON.stringify(setting.running)}; this takes effect at the next start.`) : null,
        setting.why_not ? make("p", { class: "note" }, setting.why_not) : null),
      make("div", { class: "inline" }, field,
        setting.changeable ? make("button", { type: "submit" }, "Save") : null,
        setting.changeable && setting.from === "changed" ? make("button", { type: "button", onclick: () => act("reset", setting.name) }, `Back to ${inWords(setting.file_value ?? setting.default)}`) : null, answer));
  }

  /** Do it, and say what came of it: at the top, or beside the field that was refused. */
  async function act(name, text, beside = null) {
    const { done, said: what } = await page.act(name, text);
    const place = !done && beside ? beside.answer : said;
    if (place !== said) {
      beside.field.setAttribute("aria-invalid", "true");
      said.textContent = "";
    }
    place.textContent = what;
    place.classList.toggle("refuted", !done);
    if (done) await read();
  }

  read();
  return { suggestions: () => { if (!place.contains(document.activeElement) || document.activeElement.tagName !== "INPUT") read(); } };
}

function input(setting, id) {
  const { kind, value, changeable } = setting, disabled = !changeable;
  if (kind === "flag") return make("input", { id, type: "checkbox", checked: value === true, disabled });
  if (setting.choices) return make("select", { id, disabled }, ...setting.choices.map((one) => make("option", { value: one, selected: one === value }, one)));
  if (kind === "number" || kind === "share") {
    return make("input", { id, type: "number", step: kind === "share" ? 0.05 : "any", min: setting.least, max: setting.most, value, disabled });
  }
  if (kind === "hours") return make("input", { id, value: (value || []).join(", "), placeholder: "always; or 22:00-07:00", disabled });
  return make("input", { id, value: JSON.stringify(value), disabled });
}

const inWords = (value) => (value === true ? "yes" : value === false ? "no" : Array.isArray(value) ? value.join(", ") || "none" : String(value));

/** What is written for a setting, as in swarm.toml. */
function valueOf({ kind, choices }, field) {
  if (kind === "flag") return String(field.checked);
  if (kind === "hours") return JSON.stringify(field.value.split(/[,;\s]+/).filter(Boolean));
  return choices && kind !== "number" ? JSON.stringify(field.value) : field.value;
}
