// The page's frame: rows as they arrive, what runs now, which view is shown, and the pause button. A view is a function
// of (place, page, words of the address) that fills the place and returns what is to be called when something is new:
// {rows, live, board, suggestions}, each optional.

import { byId, effectText, heading, make, measuredSuffix } from "./elements.js";
import { compare } from "./compare.js";
import { discoveries } from "./discoveries.js";
import { liveTests } from "./tests.js";
import { map } from "./map.js";
import { now } from "./now.js";
import { objective } from "./objective.js";
import { peer } from "./peer.js";
import { progress } from "./progress.js";
import { record } from "./record.js";
import { settings } from "./settings.js";
import { suggestions } from "./suggestions.js";
import { swarm } from "./swarm.js";

const VIEWS = { now, progress, discoveries, map, swarm, suggestions, settings, objective, record, peer, compare, tests: liveTests };
const BOARD_MILLISECONDS = 1500; // at least, between two requests for the boards

const RESUMING_MILLISECONDS = 5000; // at most: hours or other programs may keep the node paused

/** What every view can use. */
const page = {
  rows: [], records: new Map(), dropped: 0, about: {}, actions: [], now: null, live: null, tests: [], feed: "", resuming: false,
  board: { nodes: [], discoveries: [], tried: [], transfers: { categories: [], transfers: [] }, strategy: null },
  ask, act, listen: () => {},
};
let shown = {}; // what the view wants to hear of
let boardTimer = null;

async function begin() {
  history.replaceState(null, "", location.pathname + location.hash); // the token need not stay in sight
  const first = await ask("/api/state");
  if (!first) return;
  hold(first.rows);
  Object.assign(page, { dropped: first.dropped, about: first.about, actions: first.actions, now: first.now, tests: first.live, feed: first.feed });
  byId("feed").href = first.feed; // with the key, which a feed reader needs
  byId("name").textContent = `${page.about.name} · ${page.about.metric}${measuredSuffix(page.about)}`;
  byId("to-tests").hidden = !first.live.length;
  showView();
  showState();
  listen(first.cursor);
  await askBoard();
}

/** The JSON at an address of the dashboard's; null where there is none, which is said at the top if it is all over. */
async function ask(path) {
  const answer = await fetch(path).catch(() => null);
  if (answer && answer.ok) return answer.json();
  if (answer && [404, 409].includes(answer.status)) return null;
  trouble(answer && answer.status === 403
    ? "This page's token is not valid any more: open the address the dashboard printed at its last start."
    : "The dashboard does not answer. Start it again with: autoresearch-node dashboard");
  return null;
}

async function act(action, text = "") {
  const answer = await fetch(`/api/do/${action}`, { method: "POST", headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ text }) }).catch(() => null);
  if (!answer) return { done: false, said: "The dashboard does not answer." };
  return answer.ok ? { done: true, said: (await answer.json()).said } : { done: false, said: await answer.text() };
}

function trouble(text) {
  byId("connection").textContent = text;
  byId("connection").hidden = !text;
}

// ---- what arrives --------------------------------------------------------------------------------------------------

function listen(cursor) {
  const events = new EventSource(`/api/events?after=${cursor}&dropped=${page.dropped}`);
  events.onopen = () => trouble("");
  events.onerror = () => trouble(events.readyState === EventSource.CLOSED
    ? "The dashboard has stopped. Start it again with: autoresearch-node dashboard"
    : "The connection was lost; trying again …");
  events.onmessage = (event) => take(JSON.parse(event.data));
  events.addEventListener("live", (event) => {
    page.live = JSON.parse(event.data);
    showState();
    tell("live");
  });
  events.addEventListener("suggestions", () => tell("suggestions"));
}

function take(news) {
  page.now = news.now;
  showState();
  if (news.dropped !== page.dropped) Object.assign(page, { rows: [], records: new Map(), dropped: news.dropped }); // they come anew
  const known = news.cursor - news.rows.length;
  if (news.rows.length && known <= page.rows.length) {
    const fresh = news.rows.slice(page.rows.length - known);
    hold(fresh);
    showState();
    tell("rows", fresh);
    boardTimer ??= setTimeout(askBoard, BOARD_MILLISECONDS);
  }
}

async function askBoard() {
  const board = await ask("/api/board");
  boardTimer = null;
  if (!board) return;
  page.board = board;
  showState();
  tell("board");
  if (board.of < page.rows.length) boardTimer = setTimeout(askBoard, Math.max(BOARD_MILLISECONDS, 1000 * board.rest));
}

/** Keep rows in their order, and by the ids of their records. */
function hold(rows) {
  for (const row of rows) {
    page.rows.push(row);
    page.records.set(row.id, row);
  }
}

function tell(what, news) {
  if (shown[what]) shown[what](news);
}

function noSuchPage(place) {
  place.append(heading("There is no such page"), make("p", {}, "Nothing is at this address. What runs now is on the page ", make("a", { href: "#/now" }, "Now"),
    ", and the other views are named above."));
}

// ---- what is shown -------------------------------------------------------------------------------------------------

function showView() {
  const [name, ...words] = location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  const view = name === "" ? now : Object.hasOwn(VIEWS, name) ? VIEWS[name] : noSuchPage;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#/${name || "now"}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (shown.close) shown.close();
  const place = byId("main");
  place.replaceChildren();
  shown = view(place, page, words) || {};
  document.title = `${place.querySelector("h1")?.textContent || "autoresearch-node"} · ${page.about.name || "autoresearch-node"}`;
}

const WORDS = { running: "running", idle: "idle", paused: "paused", off: "not running" };

function showState() {
  const { running, paused } = page.now;
  const state = page.live ? page.live.state : !running ? "off" : paused ? "paused" : "running";
  if (state !== "paused") page.resuming = false;
  byId("state").textContent = page.resuming ? "resuming …" : WORDS[state];
  byId("state").className = `pill ${state}`;
  const mine = page.board.nodes.find((node) => node.peer === page.about.you);
  const title = running && running.title ? running.title.replace(/^trying a peer's: /, "") : ""; // which `doing` says
  const doing = running ? [running.doing, title].filter(Boolean).join(": ") : "start it with autoresearch-node join";
  byId("status").textContent = [running && running.scale ? `at scale ${running.scale}` : null,
    running ? `${running.peers.length} peer${running.peers.length === 1 ? "" : "s"}` : null,
    mine && mine.gain ? `best gain ${effectText(mine.gain)}${measuredSuffix(page.about)}` : null,
    `${page.rows.length.toLocaleString("en")} record${page.rows.length === 1 ? "" : "s"}`, doing].filter(Boolean).join(" · ");
  byId("status").title = byId("status").textContent; // where its end has no room
  const button = byId("pause"), action = paused ? "resume" : "pause";
  button.hidden = !page.actions.includes(action);
  button.textContent = paused ? "Resume research" : "Pause research";
  button.dataset.action = action;
}

byId("pause").addEventListener("click", async () => {
  const button = byId("pause"), { done, said } = await act(button.dataset.action);
  if (done) page.now.paused = button.dataset.action === "pause";
  page.resuming = done && !page.now.paused; // until the node says so, a second later, or why it goes on resting
  setTimeout(() => { page.resuming = false; showState(); }, RESUMING_MILLISECONDS);
  showState();
  trouble(done ? "" : said);
});
addEventListener("hashchange", () => {
  if (location.hash === "#main") return; // the link that skips the navigation
  showView();
  byId("main").focus({ preventScroll: true });
  scrollTo(0, 0);
});
const redraw = () => tell("redraw");
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
let width = innerWidth;
addEventListener("resize", () => {
  if (innerWidth !== width) redraw();
  width = innerWidth;
});

begin();
