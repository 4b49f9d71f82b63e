"use strict";
// What every page with forms needs. A form with data-post is sent as JSON; what comes of it is said, and told by the event "answered". One
// with data-next leads on there when it was done.
const $ = (id) => document.getElementById(id);
const keys = new Map(); // of what was asked for and has no answer yet: asked for again, it is done once

function say(text, bad) {
  $("said").textContent = text;
  $("said").className = bad ? "bad" : "";
}

document.addEventListener("submit", async (e) => {
  const form = e.target, button = form.querySelector("button");
  if (!form.dataset.post) return;
  e.preventDefault();
  let path = form.dataset.post;
  const body = form.dataset.body ? JSON.parse(form.dataset.body) : {};
  const amount = form.querySelector("[data-money]"), currency = form.querySelector("[data-currency]");
  for (const field of form.querySelectorAll("input,select")) {
    if ("path" in field.dataset) path = path.replace("{" + field.name + "}", encodeURIComponent(field.value));
    else if (field === amount || field === currency) continue;
    else body[field.name] = field.type === "number" ? Number(field.value) : field.value;
  }
  if (amount && amount.value) body.amount = { amount: Number(amount.value), currency: currency.value.toUpperCase() };
  const sent = JSON.stringify(body), what = path + " " + sent;
  if (!keys.has(what)) keys.set(what, crypto.randomUUID());
  button.disabled = true;
  try {
    const answer = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json", "Idempotency-Key": keys.get(what) }, body: sent });
    const said = await answer.json();
    if (answer.status < 500) keys.delete(what);
    if (answer.ok && form.dataset.next) return location.assign(form.dataset.next);
    if (answer.ok) {
      say("Done: " + button.textContent + ".");
      form.reset();
      if (form.closest("details")) form.closest("details").open = false;
    } else {
      const fields = (said.errors || []).map((f) => f.field + " " + f.reason).join("; ");
      say("Not done: " + (fields || said.detail || said.title) + ".", true);
    }
  } catch { say("Not done: the mall cannot be reached. Try again.", true); }
  button.disabled = false;
  button.focus();
  document.dispatchEvent(new Event("answered"));
});
