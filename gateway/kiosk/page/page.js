"use strict";
// Everything works without this file. It follows what happens, counts the time down, and asks whether somebody is there.

const live = document.getElementById("live");
const say = (text) => {
  const box = document.getElementById("say");
  box.textContent = text;
  box.hidden = false;
};

// A touch or a key that is down is for what lies under it: were that drawn anew before it is up, nothing would come of it.
let down = false, held = null;
const press = () => { down = true; };
const release = () => setTimeout(() => { // behind what the touch does
  down = false;
  if (held !== null) show(held);
});
for (const what of ["pointerdown", "keydown"]) addEventListener(what, press, { passive: true, capture: true });
for (const what of ["pointerup", "pointercancel", "keyup", "blur"]) addEventListener(what, release, { passive: true, capture: true });

// A part that changed elsewhere is put in the place of the one that is shown. Whoever stood in it, or had begun to fill it in, stays where they were.
const drawn = document.createElement("template");
let shown = live && live.innerHTML;
const show = (html) => {
  held = down ? html : null;
  if (down) return;
  drawn.innerHTML = html;
  if (drawn.innerHTML === shown) return; // as the page came
  shown = drawn.innerHTML;
  const focused = document.activeElement && live.contains(document.activeElement) ? document.activeElement.id : "";
  const chosen = [...live.querySelectorAll("input[type=radio][id], input[type=checkbox][id]")].filter((i) => i.checked !== i.defaultChecked).map((i) => [i.id, i.checked]);
  const unfolded = [...live.querySelectorAll("details[open]")].map((d) => d.id);
  live.innerHTML = html;
  for (const id of unfolded) document.getElementById(id)?.setAttribute("open", "");
  for (const [id, checked] of chosen) {
    const input = document.getElementById(id);
    if (input) input.checked = checked;
  }
  const decide = document.getElementById("decide-title");
  if (focused && document.getElementById(focused)) document.getElementById(focused).focus();
  else if (decide && !show.decided) decide.focus();
  show.decided = Boolean(decide);
  const ended = document.getElementById("ended");
  if (ended) say(ended.textContent);
  const below = document.querySelector(".below"), pieces = document.getElementById("pieces");
  if (below) {
    below.hidden = !pieces;
    if (pieces) below.textContent = pieces.textContent;
  }
  tick();
  goOn();
};
show.decided = Boolean(document.getElementById("decide-title"));

// What needs no decision of anybody goes on by itself: an order whose payment is approved.
let gone = false;
function goOn() {
  const form = document.querySelector("form[data-go]");
  if (!form || gone) return;
  gone = true;
  form.requestSubmit();
}

// A browser follows again by itself where a connection breaks, but never again where something else answered than a stream: a proxy before a mall that
// starts, or the mall itself once the session is over. Then the page asks until it is told either, and what is no more for whoever stands there goes away.
const lost = document.getElementById("lost");
function follow() {
  const source = new EventSource(live.dataset.live);
  source.addEventListener("part", (e) => { lost.hidden = true; show(e.data); });
  source.addEventListener("open", () => { lost.hidden = true; });
  source.addEventListener("error", () => {
    lost.hidden = false;
    if (source.readyState === EventSource.CLOSED) setTimeout(ask, 3000);
  });
}
async function ask() {
  const asked = new AbortController();
  let status = 0; // nobody answers
  try {
    status = (await fetch(live.dataset.live, { signal: asked.signal })).status;
  } catch { /* the next time */ }
  asked.abort();
  if (status === 200) follow();
  else if ([401, 403, 404, 410].includes(status)) location.reload();
  else setTimeout(ask, 3000);
}
if (live && live.dataset.live) follow();

// The time for which the basket is kept. It is told aloud at one minute, not every second, and taken back where it is kept for longer after all.
let told = false;
function tick() {
  const kept = document.getElementById("kept"), box = document.getElementById("say");
  if (!kept) return;
  const seconds = Math.max(0, Math.round((Date.parse(kept.dateTime) - Date.now()) / 1000));
  document.getElementById("left").textContent = `(${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")})`;
  kept.closest(".held").classList.toggle("soon", seconds <= 60);
  if (seconds > 60) {
    if (told && box.textContent === kept.dataset.soon) box.hidden = true;
    told = false;
  } else if (!told && seconds > 0) {
    told = true;
    say(kept.dataset.soon);
  }
}
tick();
setInterval(tick, 1000);

// Is somebody there? Whoever does not answer within the warning is taken to have left.
const idle = document.getElementById("idle");
if (idle) {
  const after = Number(document.body.dataset.idle), warn = Number(document.body.dataset.warn);
  const begins = location.pathname === "/kiosk" && !("shopping" in document.body.dataset);
  let last = Date.now();
  const here = () => {
    if (!idle.open) last = Date.now();
  };
  for (const what of ["pointerdown", "keydown", "scroll", "input"]) addEventListener(what, here, { passive: true });
  idle.addEventListener("close", () => { last = Date.now(); });
  if (!begins) setInterval(() => {
    const quiet = Date.now() - last;
    if (quiet >= after && !idle.open) idle.showModal();
    if (!idle.open) return;
    document.getElementById("idle-left").textContent = String(Math.max(0, Math.ceil((after + warn - quiet) / 1000)));
    if (quiet >= after + warn) document.getElementById("idle-end").submit();
  }, 250);
}

// What was chosen for the basket goes along with every form. It is told at once as well, since a link takes nothing along; what was told last holds.
const checkout = () => document.querySelector(".checkout");
let telling = new AbortController();
addEventListener("change", (e) => {
  const form = checkout();
  if (!form?.contains(e.target)) return;
  telling.abort();
  telling = new AbortController();
  fetch("/kiosk/wishes", { method: "POST", body: new URLSearchParams(new FormData(form)), keepalive: true, redirect: "manual", signal: telling.signal })
    .catch(() => { /* a form tells it */ });
});
addEventListener("formdata", (e) => {
  const form = checkout();
  if (!form || e.target === form || e.target.method !== "post") return;
  telling.abort();
  for (const [name, value] of new FormData(form)) if (name !== "back") e.formData.set(name, value);
});

// A form is sent once, however often it is touched.
addEventListener("submit", (e) => {
  if (e.target.method !== "post") return;
  if (e.target.dataset.sent) e.preventDefault();
  e.target.dataset.sent = "yes";
});
goOn();
