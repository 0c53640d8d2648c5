// Images: gray levels from the server drawn in a window of brightness and contrast.
"use strict";

(() => {
  const STEP = 8; // of a slider of 201 positions, for each key
  const DRAG = 0.5; // slider positions for each pixel
  const box = document.querySelector("[data-films]");
  if (!box) return;

  const level = box.querySelector("[data-film-level]");
  const width = box.querySelector("[data-film-width]");
  const invert = box.querySelector("[data-film-invert]");
  const large = box.querySelector("[data-film-large]");
  const films = [];
  let drawing = false;

  async function load(canvas) {
    try {
      const response = await fetch(canvas.dataset.film);
      if (!response.ok) throw new Error("refused");
      const fact = (name) => Number(response.headers.get("X-Image-" + name));
      const buffer = await response.arrayBuffer();
      const levels = fact("Bits") === 16 ? new Uint16Array(buffer) : new Uint8Array(buffer);
      canvas.width = fact("Width");
      canvas.height = fact("Height");
      const film = { canvas, levels, bits: fact("Bits"), low: fact("Low"), high: fact("High") };
      film.context = canvas.getContext("2d");
      film.pixels = film.context.createImageData(canvas.width, canvas.height);
      film.words = new Uint32Array(film.pixels.data.buffer);
      films.push(film);
      draw(film);
    } catch {
      canvas.closest(".film").classList.add("missing");
    }
  }

  // Level -> opaque gray, for the window that the sliders ask for.
  function table(film) {
    const span = film.high - film.low;
    const narrow = Math.pow(4, -width.value / 100); // contrast 4 times more or less
    const middle = (film.low + film.high) / 2 - (level.value / 100) * span * 0.75;
    const low = middle - (span * narrow) / 2;
    const flip = invert.getAttribute("aria-pressed") === "true";
    const grays = new Uint32Array(1 << film.bits);
    for (let at = 0; at < grays.length; at++) {
      const share = Math.min(Math.max((at - low) / (span * narrow), 0), 1);
      const gray = Math.round(255 * (flip ? 1 - share : share));
      grays[at] = (0xff000000 | (gray << 16) | (gray << 8) | gray) >>> 0;
    }
    return grays;
  }

  function draw(film) {
    const grays = table(film);
    for (let at = 0; at < film.levels.length; at++) film.words[at] = grays[film.levels[at]];
    film.context.putImageData(film.pixels, 0, 0);
  }

  function redraw() {
    if (drawing) return;
    drawing = true;
    requestAnimationFrame(() => {
      drawing = false;
      films.forEach(draw);
    });
  }

  function nudge(slider, step) {
    slider.value = Number(slider.value) + step;
    redraw();
  }

  function toggle(button) {
    const pressed = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(pressed));
    if (button === large) box.classList.toggle("large", pressed);
    redraw();
  }

  function reset() {
    level.value = width.value = 0;
    invert.setAttribute("aria-pressed", "false");
    redraw();
  }

  const KEYS = {
    w: () => nudge(level, STEP), s: () => nudge(level, -STEP),
    e: () => nudge(width, STEP), d: () => nudge(width, -STEP),
    i: () => toggle(invert), f: () => toggle(large), 0: reset,
  };

  document.addEventListener("keydown", (event) => {
    const action = KEYS[event.key.toLowerCase()];
    const typing = event.target.matches("textarea") || document.querySelector("dialog[open]");
    if (!action || typing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (localStorage.getItem("cxr-keys-off")) return;
    event.preventDefault();
    action();
  });

  for (const slider of [level, width]) slider.addEventListener("input", redraw);
  invert.addEventListener("click", () => toggle(invert));
  large.addEventListener("click", () => toggle(large));
  box.querySelector("[data-film-reset]").addEventListener("click", reset);

  for (const canvas of box.querySelectorAll("[data-film]")) {
    // a finger scrolls the page; it has the sliders
    canvas.addEventListener("pointerdown", (event) => {
      if (event.pointerType === "touch") return;
      canvas.setPointerCapture(event.pointerId);
      event.preventDefault();
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!canvas.hasPointerCapture(event.pointerId)) return;
      level.value = Number(level.value) - event.movementY * DRAG;
      width.value = Number(width.value) + event.movementX * DRAG;
      redraw();
    });
    load(canvas);
  }
})();
