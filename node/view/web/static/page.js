// The page's state: rows as they arrive, the boards when they have changed, and what the node is doing.

import { drawChart, redrawChart } from "./chart.js";
import { aboutRecords, showRecord } from "./detail.js";
import { byId, effectText, make, measuredSuffix, short } from "./elements.js";
import * as lists from "./lists.js";

const BOARD_MILLISECONDS = 1500; // at least, between two requests for the boards
const ALL = "";

const state = { rows: [], about: {}, actions: [], now: null, board: { nodes: [], discoveries: [], tried: [] } };
let boardTimer = null;

async function begin() {
  history.replaceState(null, "", location.pathname + location.hash); // the token need not stay in sight
  const first = await read("/api/state");
  if (!first) return;
  Object.assign(state, { rows: first.rows, dropped: first.dropped, about: first.about, actions: first.actions, now: first.now });
  byId("name").textContent = `${state.about.name} · ${state.about.metric}${measuredSuffix(state.about)}`;
  aboutRecords(state.about);
  byId("suggest").hidden = !state.actions.includes("suggest");
  byId("live").hidden = byId("to-live").hidden = !first.live.length;
  byId("lives").replaceChildren(...first.live.map((name, number) => make("li", {}, make("a", { href: `/live/${number}/` }, name))));
  chooseAuthors();
  const mine = state.rows.some((row) => row.by === state.about.you && row.kind === "experiment");
  byId("whose").value = mine ? state.about.you : ALL;
  showRows();
  showNow();
  listen(first.cursor);
  await askBoard();
}

async function read(path) {
  const answer = await fetch(path).catch(() => null);
  if (answer && answer.ok) return answer.json();
  trouble(answer && answer.status === 403
    ? "This page's token is not valid any more: open the address the dashboard printed at its last start."
    : "The dashboard does not answer. Start it again with: autoresearch-node dashboard");
  return null;
}

function trouble(text) {
  byId("connection").textContent = text;
  byId("connection").hidden = !text;
}

// ---- what arrives --------------------------------------------------------------------------------------------------

function listen(cursor) {
  const events = new EventSource(`/api/events?after=${cursor}&dropped=${state.dropped}`);
  events.onopen = () => trouble("");
  events.onerror = () => trouble(events.readyState === EventSource.CLOSED
    ? "The dashboard has stopped. Start it again with: autoresearch-node dashboard"
    : "The connection was lost; trying again …");
  events.onmessage = (event) => take(JSON.parse(event.data));
}

function take(news) {
  state.now = news.now;
  showNow();
  if (news.dropped !== state.dropped) Object.assign(state, { rows: [], dropped: news.dropped }); // they come anew
  const known = news.cursor - news.rows.length;
  if (news.rows.length && known <= state.rows.length) {
    state.rows.push(...news.rows.slice(state.rows.length - known));
    chooseAuthors();
    showRows();
    soonAskBoard();
  }
}

function soonAskBoard() {
  boardTimer ??= setTimeout(askBoard, BOARD_MILLISECONDS);
}

async function askBoard() {
  const board = await read("/api/board");
  boardTimer = null;
  if (!board) return;
  state.board = board;
  showBoard();
  if (board.of < state.rows.length) boardTimer = setTimeout(askBoard, Math.max(BOARD_MILLISECONDS, 1000 * board.rest));
}

// ---- what is shown -------------------------------------------------------------------------------------------------

function showRows() {
  const whose = byId("whose").value;
  const rows = whose === ALL ? state.rows : state.rows.filter((row) => row.by === whose);
  drawChart(rows, state.about, showRecord);
  lists.listReplications(state.rows);
  lists.listHypotheses(state.rows);
}

function showBoard() {
  const { you } = state.about, running = state.now && state.now.running;
  lists.listLeaderboard(state.board.nodes, you);
  lists.listDiscoveries(state.board.discoveries);
  lists.listTried(state.board.tried);
  lists.listTransfers(state.board.transfers);
  lists.listStrategy(state.board.strategy);
  lists.drawGraph(state.rows, state.board.nodes, you, new Set((running ? running.peers : []).map((peer) => peer.peer)));
  showNow();
}

function showNow() {
  const { running, paused } = state.now;
  const mine = state.board.nodes.find((node) => node.peer === state.about.you);
  const doing = running ? [running.doing, running.title].filter(Boolean).join(": ") : "no node is running here";
  const scale = running && running.scale ? `at scale ${running.scale}` : null;
  byId("status").textContent = [doing, scale, paused && !(running && running.resting) ? "paused" : null, running ? `${running.peers.length} peers` : null,
    mine ? `best gain ${effectText(mine.gain)}${measuredSuffix(state.about)}` : null, `${state.rows.length} records`].filter(Boolean).join(" · ");
  lists.listPeers(running, state.about.you);
  const button = byId("pause"), action = paused ? "resume" : "pause";
  button.hidden = !state.actions.includes(action);
  button.textContent = paused ? "Resume research" : "Pause research";
  button.dataset.action = action;
}

function chooseAuthors() {
  const select = byId("whose"), had = new Set([...select.options].map((option) => option.value));
  if (!had.size) select.append(make("option", { value: ALL }, "all nodes"));
  for (const row of state.rows) {
    if (had.has(row.by)) continue;
    had.add(row.by);
    select.append(make("option", { value: row.by }, row.by === state.about.you ? "this node" : short(row.by)));
  }
}

// ---- what a person does --------------------------------------------------------------------------------------------

async function act(action, text) {
  const answer = await fetch(`/api/do/${action}`, { method: "POST", headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ text }) }).catch(() => null);
  if (!answer) return { done: false, said: "The dashboard does not answer." };
  return answer.ok ? { done: true, said: (await answer.json()).said } : { done: false, said: await answer.text() };
}

byId("pause").addEventListener("click", async () => {
  const button = byId("pause"), { done, said } = await act(button.dataset.action, "");
  if (done) state.now.paused = button.dataset.action === "pause";
  showNow();
  trouble(done ? "" : said);
});
byId("suggest").addEventListener("submit", async (event) => {
  event.preventDefault();
  const { done, said } = await act("suggest", byId("idea").value);
  byId("said").textContent = said;
  if (done) byId("idea").value = "";
});
document.addEventListener("click", (event) => {
  const opened = event.target.closest("[data-record]");
  if (opened) showRecord(opened.dataset.record);
});
byId("whose").addEventListener("change", showRows);
byId("against").addEventListener("change", () => lists.listReplications(state.rows));
byId("find").addEventListener("input", () => lists.listDiscoveries(state.board.discoveries));
byId("standing").addEventListener("change", () => lists.listDiscoveries(state.board.discoveries));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redrawChart);
let width = innerWidth;
addEventListener("resize", () => {
  if (innerWidth !== width) redrawChart();
  width = innerWidth;
});

begin();
