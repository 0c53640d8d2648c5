// Light or dark: a cookie, so that the server writes it into the page and nothing flashes.
"use strict";

(() => {
  const YEAR = 365 * 24 * 3600;
  const dark = window.matchMedia("(prefers-color-scheme: dark)");

  document.querySelector("[data-theme-switch]")?.addEventListener("click", () => {
    const root = document.documentElement;
    const now = root.dataset.theme === "auto" ? (dark.matches ? "dark" : "light") : root.dataset.theme;
    root.dataset.theme = now === "dark" ? "light" : "dark";
    document.cookie = `cxr_theme=${root.dataset.theme}; path=/; max-age=${YEAR}; samesite=strict`;
  });
})();
