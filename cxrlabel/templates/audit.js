"use strict";
// Filters the disagreements and shows some at a time; without it all of them stand on the page.
(() => {
  const STEP = 20;
  const cards = [...document.querySelectorAll(".card")];
  const form = document.getElementById("filters");
  const count = document.getElementById("count");
  const more = document.getElementById("more");
  const all = document.getElementById("all");
  if (!form) return;
  let limit = STEP;
  const matches = (card) =>
    [...form.querySelectorAll("select")].every(
      (select) => !select.value || card.dataset[select.name] === select.value
    ) && card.textContent.toLowerCase().includes(form.elements.words.value.trim().toLowerCase());
  const show = () => {
    const chosen = cards.filter(matches);
    const shown = new Set(chosen.slice(0, limit));
    for (const card of cards) card.hidden = !shown.has(card);
    count.textContent = `${shown.size} of ${chosen.length} shown`;
    more.hidden = all.hidden = shown.size === chosen.length;
  };
  form.addEventListener("input", () => { limit = STEP; show(); });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => { limit = STEP; setTimeout(show); });
  more.addEventListener("click", () => { limit += STEP; show(); });
  all.addEventListener("click", () => { limit = cards.length; show(); });
  form.hidden = false;
  show();
})();
