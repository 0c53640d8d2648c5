// The keyboard: everything on the page can be done without a mouse.
"use strict";

(() => {
  const OFF = "cxr-keys-off";
  const STATES = { 1: "positive", p: "positive", 2: "negative", a: "negative", 3: "uncertain", u: "uncertain", 4: "blank", n: "blank" };
  let busy = false; // the findings are about to be replaced
  let waiting = []; // keys that came meanwhile

  const find = (selector) => document.querySelector(selector);
  const findings = () => [...document.querySelectorAll(".finding")];
  const inputs = (finding) => [...finding.querySelectorAll("input:enabled")];
  const current = () => document.activeElement?.closest?.(".finding") ?? find(".finding.current");

  function focus(finding) {
    if (!finding) return;
    const choices = inputs(finding);
    (choices.find((input) => input.checked) ?? choices[0])?.focus({ preventScroll: true });
    mark(finding);
    finding.scrollIntoView({ block: "nearest" });
  }

  // The row that the keys act on stays marked when the focus is elsewhere, as in the note.
  function mark(finding) {
    for (const other of document.querySelectorAll(".finding.current")) other.classList.remove("current");
    finding.classList.add("current");
    for (const span of document.querySelectorAll("mark[data-findings]")) {
      span.classList.toggle("current", span.dataset.findings.split(" ").includes(finding.dataset.key));
    }
  }

  function move(step) {
    const rows = findings();
    const at = rows.indexOf(current());
    focus(rows[at < 0 ? 0 : Math.min(Math.max(at + step, 0), rows.length - 1)]);
  }

  function choose(state) {
    const finding = current();
    const input = finding && inputs(finding).find((choice) => choice.value === state);
    if (!input) return;
    if (!input.checked) {
      input.checked = true;
      input.dispatchEvent(new Event("change", { bubbles: true }));
    }
    const last = finding === findings().at(-1);
    if (last) focus(finding);
    else move(1);
  }

  function clear() {
    const finding = current();
    const input = finding && inputs(finding).find((choice) => choice.checked);
    if (!input || find("[data-adjudication]")) return;
    input.checked = false;
    input.dispatchEvent(new Event("change", { bubbles: true }));
    focus(finding);
  }

  function press(selector) {
    const button = find(selector);
    if (button && !button.disabled && !button.closest("[hidden]")) button.click();
  }

  function visit(selector) {
    const link = find(selector);
    if (link) location.assign(link.href);
  }

  // A question takes the place of the usual buttons until it is answered.
  function ask(open) {
    const [usual, asks] = [find("[data-usual]"), find("[data-asks]")];
    if (!asks || asks.hidden !== open) return;
    usual.hidden = open;
    asks.hidden = !open;
    if (open) find("#confirm").focus();
  }

  function cancel() {
    const asked = find("[data-asks]")?.hidden === false;
    ask(false);
    if (asked && find("#answers")) htmx.trigger(find("[data-extras]"), "retry"); // the count again
    focus(current() ?? findings()[0]);
  }

  function scroll(direction) {
    const report = find(".material");
    const box = report.scrollHeight > report.clientHeight ? report : document.scrollingElement;
    box.scrollBy({ top: direction * box.clientHeight * 0.8 });
  }

  // Committing with everything left out answered at once: no question.
  function commitRest() {
    const confirm = find("#confirm[name=rest]");
    if (confirm) confirm.click();
    else enter();
  }

  const enter = () => press(find("[data-asks]")?.hidden === false ? "#confirm" : "#commit");

  const ACTIONS = {
    j: () => move(1), ArrowDown: () => move(1),
    k: () => move(-1), ArrowUp: () => move(-1),
    x: clear, Backspace: clear,
    r: () => press("[data-rest]"),
    z: () => press("[data-undo]"),
    o: () => press("[data-reopen]"),
    q: () => press("#unsure"),
    v: () => press("[data-ask-reveal]"),
    h: () => visit("[data-previous]"),
    l: () => visit("[data-next]"),
    g: () => location.assign("/studies"),
    t: () => find("#note")?.focus(),
    Enter: enter, "Shift+Enter": commitRest,
    Escape: cancel,
    PageDown: () => scroll(1), PageUp: () => scroll(-1),
    "?": () => find("#help")?.showModal(),
  };
  const ALWAYS = new Set(["ArrowDown", "ArrowUp", "Enter", "Shift+Enter", "Escape", "PageDown", "PageUp"]);

  const REPEATS = new Set(["ArrowDown", "ArrowUp", "j", "k", "PageDown", "PageUp"]);

  function act(key) {
    if (STATES[key]) choose(STATES[key]);
    else ACTIONS[key]();
  }

  function onKey(event) {
    let key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (key === "Enter" && event.shiftKey) key = "Shift+Enter";
    if (find("dialog[open]")) return;
    if (event.target.matches("textarea")) {
      if (key === "Escape") focus(current() ?? findings()[0]);
      return;
    }
    const undo = (event.ctrlKey || event.metaKey) && key === "z";
    if (!undo && (event.ctrlKey || event.metaKey || event.altKey)) return;
    if (!STATES[key] && !ACTIONS[key]) return;
    if (!ALWAYS.has(key) && !undo && localStorage.getItem(OFF)) return;
    // Enter on a link or a button, arrows in a slider: as everywhere
    if (key === "Enter" && event.target.matches("a, button, summary")) return;
    if (key.startsWith("Arrow") && event.target.matches("input[type=range]")) return;
    event.preventDefault();
    if (event.repeat && !REPEATS.has(key)) return;
    if (busy) waiting.push(key);
    else act(key);
  }

  function replay() {
    busy = false;
    const keys = waiting;
    waiting = [];
    for (const key of keys) {
      if (busy) waiting.push(key);
      else act(key);
    }
  }

  document.addEventListener("keydown", onKey);

  document.addEventListener("focusin", (event) => {
    const finding = event.target.closest?.(".finding");
    if (finding) mark(finding);
  });

  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("button");
    if (!button) return;
    if (button.matches("[data-help]")) ACTIONS["?"]();
    if (button.matches("[data-cancel]")) cancel();
    if (button.matches("[data-ask-reveal]")) ask(true);
    if (button.matches("[data-undo], [data-rest], [data-reopen], #commit, #confirm")) busy = true;
  });

  document.addEventListener("cxr:asks", () => ask(true));
  document.addEventListener("change", () => ask(false));

  // The findings were replaced.
  document.addEventListener("htmx:after:swap", (event) => {
    if (event.detail.ctx.target?.id !== "panel") return;
    const key = find("#findings").dataset.current;
    focus(find(`.finding[data-key="${CSS.escape(key)}"]`) ?? findings().at(-1));
  });

  document.addEventListener("htmx:finally:request", (event) => {
    if (event.detail.ctx.request.method !== "PUT" && !event.detail.ctx.hx?.redirect) replay();
  });

  document.addEventListener("DOMContentLoaded", () => {
    const off = find("[data-keys-off]");
    if (off) {
      off.checked = Boolean(localStorage.getItem(OFF));
      off.addEventListener("change", () => {
        if (off.checked) localStorage.setItem(OFF, "1");
        else localStorage.removeItem(OFF);
      });
    }
    const key = find("#findings")?.dataset.current;
    const first = find(`.finding[data-key="${CSS.escape(key ?? "")}"]`) ?? findings()[0];
    if (find(".findings.committed")) find("#commit")?.focus({ preventScroll: true });
    else focus(first);
    scrollTo(0, 0);
  });
})();
