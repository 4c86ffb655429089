// Shows the requirements that hold every word of the search and have a chosen outcome and level. Without it, all are shown.
"use strict";
const form = document.getElementById("filter");
const search = document.getElementById("search");
const checks = [...document.querySelectorAll("#checks > details")];
const texts = checks.map((check) => check.textContent.toLowerCase());
const chosen = (name) => new Set([...form.querySelectorAll(`input[name=${name}]:checked`)].map((box) => box.value));
function filter() {
  const words = search.value.toLowerCase().split(/\s+/);
  const outcomes = chosen("outcome");
  const levels = chosen("level");
  let shown = 0;
  checks.forEach((check, at) => {
    const { outcome, level } = check.dataset;
    check.hidden = !(outcomes.has(outcome) && levels.has(level) && words.every((word) => texts[at].includes(word)));
    shown += check.hidden ? 0 : 1;
  });
  document.getElementById("shown").value = `${shown} of ${checks.length}`;
}
// A link to a requirement opens it, also where the filter had hidden it.
function follow() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target instanceof HTMLDetailsElement) {
    target.hidden = false;
    target.open = true;
    target.scrollIntoView();
  }
}
form.addEventListener("input", filter);
form.addEventListener("submit", (event) => event.preventDefault());
document.getElementById("unfold").addEventListener("click", () => {
  const shown = checks.filter((check) => !check.hidden);
  const open = !shown.every((check) => check.open);
  for (const check of shown) check.open = open;
});
document.getElementById("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
});
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !event.target.closest("input, textarea")) {
    event.preventDefault();
    search.focus();
  }
});
addEventListener("hashchange", follow);
form.hidden = false;
filter();
follow();
