"use strict";
const staleAfter = 30000, betweenBoards = 400, lagging = 2000;
let asOf = $("as-of").dataset.asOf, seq = 0, heard = Date.now(), paused = false, socket = null, again = 1000;
let wanted = false, fetching = false, last = 0;

function state(text, live) {
  $("state").textContent = paused ? "paused" : text;
  $("state").className = live && !paused ? "live" : "";
}

// The server draws the board. What somebody is about to do is kept over a new one: the focus, what is open, what was typed.
function put(html) {
  const board = $("board"), focused = document.activeElement, at = { id: focused && focused.id, name: focused && focused.name };
  const within = focused && focused.closest ? focused.closest("details") : null;
  const open = [...board.querySelectorAll("details[open]")].map((d) => d.id);
  const typed = [...board.querySelectorAll("details")].flatMap((d) => [...d.querySelectorAll("input,select")].map((i) => [d.id, i.name, i.value]));
  const scrolled = [...board.querySelectorAll("section")].map((s) => [s.id, s.scrollLeft]);
  board.innerHTML = html;
  for (const id of open) if ($(id)) $(id).open = true;
  for (const [id, name, value] of typed) {
    const field = $(id) && $(id).querySelector(`[name="${name}"]`);
    if (field) field.value = value;
  }
  for (const [id, left] of scrolled) if ($(id)) $(id).scrollLeft = left;
  if (at.id && $(at.id)) $(at.id).focus({ preventScroll: true });
  else if (within && at.name && $(within.id)) $(within.id).querySelector(`[name="${at.name}"]`)?.focus({ preventScroll: true });
}
async function refresh() {
  wanted = true;
  if (fetching || paused) return;
  fetching = true;
  await new Promise((r) => setTimeout(r, Math.max(0, last + betweenBoards - Date.now())));
  wanted = false;
  try {
    const answer = await fetch("/staff/board");
    if (answer.status === 401) location.reload();
    if (answer.ok && !paused) put(await answer.text());
  } catch { wanted = true; }
  last = Date.now();
  fetching = false;
  if (wanted) setTimeout(refresh, betweenBoards);
}
let later = 0;
function changed() {
  refresh();
  clearTimeout(later);
  later = setTimeout(refresh, lagging); // lists that follow the events by a moment
}

function move(robots) {
  for (const r of robots) {
    const row = document.querySelector(`[data-robot="${CSS.escape(r.robot)}"]`);
    if (!row) continue;
    row.querySelector(".place").textContent = r.at.x + ", " + r.at.y;
    row.querySelector(".battery").textContent = r.battery + " %";
  }
}
function connect() {
  state("connecting", false);
  socket = new WebSocket((location.protocol === "https:" ? "wss://" : "ws://") + location.host + "/staff/feed?since=" + encodeURIComponent(asOf));
  let opened = false;
  socket.onopen = () => { opened = true; heard = Date.now(); again = 1000; state("live", true); };
  socket.onmessage = (m) => {
    const f = JSON.parse(m.data), numbered = f.kind !== "heartbeat" && f.kind !== "positions";
    heard = Date.now();
    if (f.seq !== seq + (numbered ? 1 : 0)) { // something is missing: everything is fetched again
      socket.close();
      location.reload();
      return;
    }
    seq = f.seq;
    asOf = f.as_of;
    state("live", true);
    if (numbered) changed();
    else if (f.kind === "positions" && !paused) move(f.robots);
  };
  socket.onclose = async () => {
    state("reconnecting", false);
    await new Promise((r) => setTimeout(r, again));
    again = Math.min(2 * again, 15000);
    try {
      const answer = await fetch("/staff/board"); // says whether we are still let in, and from where to go on
      if (answer.status === 401 || answer.status === 403) {
        state("signed out", false);
        say("You are signed out. Sign in again to see the board.", true);
        return;
      }
      if (!opened && answer.ok) { // it may be that nothing can go on from where we were: begin anew
        put(await answer.text());
        asOf = $("as-of").dataset.asOf;
        seq = 0;
      }
    } catch { /* not there yet */ }
    connect();
  };
}

$("pause").onclick = () => {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", String(paused));
  $("pause").textContent = paused ? "Go on" : "Pause updates";
  state(socket && socket.readyState === WebSocket.OPEN ? "live" : "reconnecting", socket && socket.readyState === WebSocket.OPEN);
  if (!paused) refresh();
};
setInterval(() => {
  const silent = Date.now() - heard;
  $("stale").hidden = silent <= staleAfter;
  if (silent > staleAfter) $("stale").textContent = "⚠ This board is old: no news for " + Math.round(silent / 1000) + " s.";
}, 1000);

document.addEventListener("answered", changed);
document.addEventListener("keydown", (e) => {
  if (e.target.closest && e.target.closest("input,select,textarea") || e.ctrlKey || e.metaKey || e.altKey) return;
  if (e.key === "p") $("pause").click();
});
connect();
