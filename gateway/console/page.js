"use strict";
const $ = (id) => document.getElementById(id);
const states = { // state: [class, sign]
  APPROVED: ["done", "✓"], COMPLETED: ["done", "✓"], READY: ["done", "✓"], PENDING: ["run", "…"], RESERVED: ["run", "…"], PICKING: ["run", "…"],
  BACKORDERED: ["wait", "⏲"], CANCELLING: ["undo", "↩"], CANCELED: ["undo", "↩"], EXPIRED: ["wait", "⏲"], REJECTED: ["bad", "✕"],
};
let paused = false, heard = 0, before = null, rates = [];

function el(name, text, cls) {
  const e = document.createElement(name);
  if (text !== undefined) e.textContent = text;
  if (cls) e.className = cls;
  return e;
}
function svg(name, attributes) {
  const e = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  return e;
}
function row(cells) {
  const tr = el("tr");
  for (const c of cells) tr.append(c);
  return tr;
}
function chip(status) {
  const [cls, sign] = states[status] || ["wait", "?"];
  const td = el("td");
  td.append(el("span", sign + " " + status.toLowerCase(), "chip " + cls));
  return td;
}
function bar(s) {
  const b = svg("svg", { class: "bar", viewBox: "0 0 84 8", "aria-hidden": "true" });
  b.append(svg("rect", { width: 84, height: 8 }));
  let x = 0;
  for (const [cls, n] of [["a", s.available], ["c", s.committed], ["h", s.held]]) {
    const w = s.onHand > 0 ? 84 * n / s.onHand : 0;
    b.append(svg("rect", { class: cls, x, width: w, height: 8 }));
    x += w;
  }
  const td = el("td");
  td.append(b);
  return td;
}

// around places n boxes on an ellipse, as high as they need: a step along it is as long as the boxes are wide, or as they are high.
function around(n) {
  for (let high = 200; ; high += 20) {
    const point = (a) => ({ x: 465 + 400 * Math.sin(a), y: high + 25 - high * Math.cos(a) });
    const turns = Array.from({ length: 721 }, (_, i) => Math.PI * i / 360), way = [0];
    for (let i = 1; i < turns.length; i++) {
      const p = point(turns[i - 1]), q = point(turns[i]);
      way.push(way[i - 1] + Math.max(Math.abs(q.x - p.x) / 130, Math.abs(q.y - p.y) / 50));
    }
    const all = way.at(-1);
    if (all >= n) return { height: 2 * high + 50, places: Array.from({ length: n }, (_, i) => point(turns[way.findIndex((w) => w >= i * all / n)])) };
  }
}

function drawMap(services, flows) {
  const map = $("map"), at = {}, { height, places } = around(services.length);
  map.replaceChildren();
  map.setAttribute("viewBox", `0 0 930 ${height}`);
  services.forEach((s, i) => { at[s.name] = places[i]; });
  for (const f of flows) {
    const p = at[f.from], q = at[f.to];
    if (!p || !q) continue;
    const bend = f.kind === "command" ? 0.12 : 0.2;
    const mx = (p.x + q.x) / 2 + bend * (q.y - p.y), my = (p.y + q.y) / 2 - bend * (q.x - p.x);
    map.append(svg("path", { class: f.kind, d: `M${p.x} ${p.y} Q${mx} ${my} ${q.x} ${q.y}` }));
  }
  for (const s of services) {
    const p = at[s.name], busy = before && s.records > (before[s.name] || 0);
    map.append(svg("rect", { x: p.x - 58, y: p.y - 20, width: 116, height: 40, class: busy ? "busy" : "" }));
    const name = svg("text", { x: p.x, y: p.y - 1 }), count = svg("text", { x: p.x, y: p.y + 13, class: "count" });
    name.textContent = s.name;
    count.textContent = s.records.toLocaleString("en") + " records";
    map.append(name, count);
  }
}

function show(s) {
  if (paused) return;
  const orders = s.orders || [], stock = s.stock || [], services = s.services || [], flows = s.flows || [];
  $("no-orders").hidden = orders.length > 0;
  $("orders").replaceChildren(...orders.map((o) => row([el("td", o.id), el("td", o.customer), el("td", o.total, "n"), chip(o.status),
    el("td", new Date(o.placed).toLocaleTimeString(), "n")])));
  $("stock").replaceChildren(...stock.map((l) => row([el("td", l.sku), el("td", l.onHand, "n"), el("td", l.held, "n"), el("td", l.committed, "n"),
    el("td", l.available, "n"), bar(l)])));
  $("flows").replaceChildren(...flows.map((f) => row([el("td", f.from), el("td", f.to), el("td", f.kind + "s"), el("td", f.types, "n")])));
  drawMap(services, flows);
  const now = {};
  for (const v of services) now[v.name] = v.records;
  if (before) count(Object.keys(now).reduce((sum, k) => sum + now[k] - (before[k] || 0), 0));
  before = now;
}

let counted = [];
function count(n) { counted.push([Date.now(), n]); }
setInterval(() => {
  const since = Date.now() - 1000;
  counted = counted.filter(([t]) => t >= since);
  const rate = counted.reduce((sum, [, n]) => sum + n, 0);
  rates = [...rates, rate].slice(-60);
  $("rate").textContent = rate.toLocaleString("en");
  const top = Math.max(...rates, 1);
  $("spark").firstElementChild.setAttribute("points", rates.map((r, i) => `${2 * i},${26 - 24 * r / top}`).join(" "));
  const silent = Date.now() - heard;
  $("state").className = silent > 30000 ? "stale" : "";
  if (silent > 30000) $("state").textContent = "⚠ no news for " + Math.round(silent / 1000) + " s";
}, 1000);

const source = new EventSource("/console/events");
source.onopen = () => { heard = Date.now(); $("state").textContent = "● live"; };
source.onmessage = (m) => { heard = Date.now(); if (!paused) $("state").textContent = "● live"; show(JSON.parse(m.data)); };
source.onerror = () => { $("state").textContent = "○ reconnecting"; };
$("pause").onclick = () => {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", String(paused));
  $("pause").textContent = paused ? "Go on" : "Pause";
  $("state").textContent = paused ? "paused" : "● live";
};
