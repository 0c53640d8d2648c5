// Nothing is lost: what is chosen stays in this browser until the server has said that it is saved.
//
// Kept are the path of a choice and what was chosen (and a note until it is saved), no report text.
"use strict";

(() => {
  const KEPT = "cxr-unsaved:" + document.body.dataset.who;
  const RETRY = 2000; // milliseconds
  let timer = null;

  const kept = () => JSON.parse(localStorage.getItem(KEPT) || "{}");
  const keep = (unsaved) =>
    Object.keys(unsaved).length
      ? localStorage.setItem(KEPT, JSON.stringify(unsaved))
      : localStorage.removeItem(KEPT);
  const path = (element) => element.getAttribute("hx-put");
  const owner = (element) => element.closest?.("[data-key], [data-extras]");

  // What one path saves, as it goes into the request.
  function fields(address, form) {
    const names = address.endsWith("/note") ? ["note", "unsure"] : ["f-" + address.split("/").pop()];
    const parts = new URLSearchParams();
    for (const name of names) {
      if (form.has(name)) parts.set(name, form.get(name));
    }
    return parts.toString();
  }

  function show(text, wrong = false) {
    const saved = document.getElementById("saved");
    if (saved) {
      saved.textContent = text;
      saved.classList.toggle("wrong", wrong);
    }
  }

  function message(text) {
    const bar = document.getElementById("message");
    bar.textContent = text;
    bar.hidden = !text;
  }

  function remember(event) {
    const element = owner(event.target);
    if (!element) return;
    const unsaved = kept();
    unsaved[path(element)] = fields(path(element), new FormData(element.closest("form")));
    keep(unsaved);
    show("Saving…");
  }

  function forget(address, sent) {
    const unsaved = kept();
    if (unsaved[address] === sent) delete unsaved[address];
    keep(unsaved);
    if (Object.keys(unsaved).length) return;
    show("Saved");
    message("");
  }

  function later() {
    show("Not saved yet", true);
    message("The server does not answer. Your choices are kept in this browser and are saved as soon as it does.");
    clearTimeout(timer);
    timer = setTimeout(retry, RETRY);
  }

  function retry() {
    for (const [address, sent] of Object.entries(kept())) {
      const element = document.querySelector(`[hx-put="${CSS.escape(address)}"]`);
      if (element) htmx.trigger(element, "retry");
      else send(address, sent);
    }
  }

  // A choice of a page that was closed before it was saved.
  async function send(address, sent) {
    const token = JSON.parse(document.body.getAttribute("hx-headers:inherited"));
    const headers = { ...token, "Content-Type": "application/x-www-form-urlencoded", "HX-Request": "true" };
    try {
      const response = await fetch(address, { method: "PUT", headers, body: sent });
      if (response.status < 500) forget(address, sent);
      else later();
    } catch {
      later();
    }
  }

  // A page that comes back shows what it had.
  function restore() {
    for (const [address, sent] of Object.entries(kept())) {
      const element = document.querySelector(`[hx-put="${CSS.escape(address)}"]`);
      if (!element) continue;
      const values = new URLSearchParams(sent);
      for (const input of element.querySelectorAll("input, textarea")) {
        if (input.type === "radio") input.checked = values.get(input.name) === input.value;
        else if (input.type === "checkbox") input.checked = values.has(input.name);
        else if (values.has(input.name)) input.value = values.get(input.name);
      }
    }
    if (Object.keys(kept()).length) retry();
  }

  document.addEventListener("change", remember, true);
  document.addEventListener("input", (event) => {
    if (event.target.matches("textarea")) remember(event);
  }, true);

  document.addEventListener("htmx:after:request", (event) => {
    const { request, response } = event.detail.ctx;
    if (response.status >= 400) return;
    const body = new URLSearchParams(request.body || "");
    if (request.method === "PUT") forget(request.action, fields(request.action, body));
    // a commit carries all that the page holds
    if (request.method === "POST" && request.action.endsWith("/commit")) {
      for (const element of document.querySelectorAll("[data-key], [data-extras]")) {
        forget(path(element), fields(path(element), body));
      }
    }
  });

  // The findings were replaced: a choice that was made meanwhile is in what is kept.
  document.addEventListener("htmx:after:swap", (event) => {
    if (event.detail.ctx.target?.id !== "panel") return;
    if (Object.keys(kept()).length) restore();
    else show("Saved");
  });

  document.addEventListener("htmx:response:error", (event) => {
    const { request, response, text } = event.detail.ctx;
    if (response.status >= 500) {
      later();
      return;
    }
    if (request.method === "PUT") {
      forget(request.action, fields(request.action, new URLSearchParams(request.body || "")));
      show("Not saved", true);
    }
    message(text.trim());
  });

  document.addEventListener("htmx:error", (event) => {
    if (event.detail.ctx) later();
  });

  window.addEventListener("beforeunload", (event) => {
    if (document.getElementById("saved")?.classList.contains("wrong")) event.preventDefault();
  });

  document.addEventListener("DOMContentLoaded", () => setTimeout(restore));
})();
