/**
 * The page at `/`: pods and containers as they appear and die, the actor tree with its states, and the events. It is one
 * static document without assets; it reads `/v1/actors` once and then follows `/v1/stream` from there. Whatever comes from
 * the daemon enters the document as text, never as markup.
 */
export const livePage = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Troupe</title>
<style>
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent); --quiet: color-mix(in srgb, currentColor 60%, transparent); }
body { font: 14px/1.45 system-ui, sans-serif; margin: 0 auto; max-width: 76rem; padding: 1rem 1.25rem 3rem; }
header { display: flex; gap: 1rem; align-items: baseline; border-bottom: 1px solid var(--line); padding-bottom: .5rem; }
h1 { font-size: 1.25rem; margin: 0; } h2 { font-size: 1rem; margin: 1.25rem 0 .5rem; }
#link::before { content: "● "; } #link.live::before { color: #2a9d4a; } #link.lost::before { color: #c0392b; }
.quiet, time { color: var(--quiet); } code, pre, td { font-family: ui-monospace, monospace; font-size: 12.5px; }
#cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: .6rem; }
.card { border: 1px solid var(--line); border-left: 4px solid var(--quiet); border-radius: 6px; padding: .5rem .7rem; transition: opacity 1.5s; overflow: hidden; }
.card b { display: block; overflow: hidden; text-overflow: ellipsis; }
.card.running { border-left-color: #2a9d4a; } .card.created { border-left-color: #3b82c4; } .card.paused { border-left-color: #b08900; }
.card.failed { border-left-color: #c0392b; } .card.gone { opacity: .25; }
main { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); gap: 1.5rem; } @media (max-width: 60rem) { main { grid-template-columns: minmax(0, 1fr); } }
#tree { list-style: none; margin: 0; padding: 0; } #tree li { white-space: nowrap; overflow: hidden; text-overflow: ellipsis; border-radius: 4px; }
#tree .state { border: 1px solid var(--line); border-radius: 9px; padding: 0 .5em; font-size: 12px; } #tree .state:empty { display: none; } .fresh { animation: fresh 1.6s; }
@keyframes fresh { from { background: color-mix(in srgb, #f2c14e 45%, transparent); } }
#log { width: 100%; border-collapse: collapse; } #log td { padding: .1rem .5rem .1rem 0; vertical-align: top; word-break: break-all; } #log td:nth-child(-n+2) { white-space: nowrap; }
</style>
<header><h1>Troupe</h1><span id="link" role="status">connecting</span><span class="quiet">record <span id="sequence">–</span></span></header>
<h2>Pods and containers</h2><div id="cards" aria-live="polite"></div><p id="none" class="quiet">None yet.</p>
<main><section><h2>Actors</h2><ul id="tree"></ul></section><section><h2>Events</h2><table id="log"><tbody></tbody></table></section></main>
<script>
"use strict";
const $ = (id) => document.getElementById(id);
const element = (tag, className, text) => { const made = document.createElement(tag); if (className) made.className = className; if (text !== undefined) made.textContent = text; return made; };
const words = (state) => typeof state === "string" ? state : state === null || state === undefined ? "" : JSON.stringify(state);
let sequence = 0;
const cards = new Map(), nodes = new Map();

function card(kind, namespace, id) {
  const key = kind + "/" + namespace + "/" + id;
  let found = cards.get(key);
  if (!found) {
    const box = element("div", "card");
    box.dataset.id = id;
    box.append(element("b", "", id), element("span", "state"), element("div", "quiet", kind + " in " + namespace));
    found = { box, state: box.children[1] };
    cards.set(key, found);
    $("cards").append(box);
    $("none").hidden = true;
  }
  return {
    show(state, look) { found.box.className = "card fresh " + (look || state); found.state.textContent = state; found.box.dataset.state = state; },
    note(text) { found.state.textContent += text; },
    gone() {
      found.box.className = "card gone"; found.state.textContent += " · removed"; cards.delete(key);
      setTimeout(() => { found.box.remove(); $("none").hidden = cards.size > 0; }, 6000);
    },
  };
}

const lives = {
  "/containers/create": (namespace, data) => card("container", namespace, data.id).show("defined", ""),
  "/containers/delete": (namespace, data) => card("container", namespace, data.id).gone(),
  "/sandboxes/create": (namespace, data) => card("pod", namespace, data.sandboxId).show("created"),
  "/sandboxes/start": (namespace, data) => card("pod", namespace, data.sandboxId).show("running"),
  "/sandboxes/exit": (namespace, data) => { const pod = card("pod", namespace, data.sandboxId); pod.show("exited " + data.exitStatus, "failed"); pod.gone(); },
  "/tasks/create": (namespace, data) => card("container", namespace, data.containerId).show("created"),
  "/tasks/start": (namespace, data) => card("container", namespace, data.containerId).show("running", "running"),
  "/tasks/paused": (namespace, data) => card("container", namespace, data.containerId).show("paused"),
  "/tasks/resumed": (namespace, data) => card("container", namespace, data.containerId).show("running"),
  "/tasks/oom": (namespace, data) => card("container", namespace, data.containerId).note(" · out of memory"),
  "/tasks/exit": (namespace, data) => { if (data.id === data.containerId) card("container", namespace, data.containerId).show("exited " + data.exitStatus, data.exitStatus ? "failed" : "exited"); },
};

function node(path, kind, state, status) {
  let found = nodes.get(path);
  if (!found) {
    const row = element("li");
    row.style.paddingLeft = (path === "/" ? 0 : path.split("/").length - 1) * 1.1 + "rem";
    row.title = path;
    row.append(element("span", "", path.slice(path.lastIndexOf("/") + 1) || "root"), " ", element("span", "state"), " ", element("span", "quiet", kind));
    found = { row, state: row.querySelector(".state") };
    nodes.set(path, found);
    const paths = [...nodes.keys()].sort();
    const next = nodes.get(paths[paths.indexOf(path) + 1]);
    if (next) next.row.before(row); else $("tree").append(row);
  }
  found.state.textContent = words(state);
  if (status && status !== "running") found.state.textContent += " (" + status + ")";
  found.row.classList.remove("fresh"); void found.row.offsetWidth; found.row.classList.add("fresh");
}

function log(event, text) {
  const row = element("tr", "fresh");
  row.append(element("td", "quiet", (event.time || "").slice(11, 23)), element("td", "", event.subject), element("td", "", text));
  const body = $("log").tBodies[0];
  body.prepend(row);
  while (body.rows.length > 200) body.lastChild.remove();
}

function take(event) {
  if (/^[0-9]+$/.test(event.id)) { sequence = Number(event.id); $("sequence").textContent = sequence; }
  if (event.type === "troupe.stream.behind" || event.type === "troupe.stream.trimmed") return log(event, event.type);
  if (event.type === "troupe.actor.transition") {
    const { from, to, message } = event.data;
    if (to === null || to === undefined) { const old = nodes.get(event.subject); if (old) { old.row.remove(); nodes.delete(event.subject); } }
    else node(event.subject, "", to);
    return log(event, words(from) + " → " + words(to) + "  (" + (message && message.type || message) + ")");
  }
  const life = lives[event.subject];
  if (life && event.data) life(event.namespace || "", event.data);
  log(event, event.data ? JSON.stringify(event.data) : event.type);
}

async function start() {
  const response = await fetch("/v1/actors");
  const answer = await response.json();
  sequence = answer.sequence;
  $("sequence").textContent = sequence;
  for (const old of nodes.values()) old.row.remove();
  nodes.clear();
  for (const actor of answer.actors) {
    node(actor.path, actor.node === "supervisor" ? "supervisor" : actor.kind, actor.node === "supervisor" ? "" : actor.state, actor.status);
    if (actor.kind === "task") card("container", actor.identity.namespace || "", actor.identity.id).show(words(actor.state));
    if (actor.kind === "sandbox") card("pod", actor.identity.namespace || "", actor.identity.id).show(words(actor.state));
  }
  follow();
}

function follow() {
  const socket = new WebSocket("ws://" + location.host + "/v1/stream?since=" + sequence, "cloudevents.json");
  const link = $("link");
  socket.onopen = () => { link.className = "live"; link.textContent = "live"; };
  socket.onmessage = (message) => take(JSON.parse(message.data));
  socket.onclose = () => { link.className = "lost"; link.textContent = "connection lost, trying again"; setTimeout(again, 1000); };
}
const again = () => start().catch(() => { $("link").className = "lost"; $("link").textContent = "daemon not reachable, trying again"; setTimeout(again, 1000); });
again();
</script>
</html>
`;
