// Shows the submissions that hold every word of the search. Without it, all are shown.
"use strict";
const form = document.getElementById("filter");
const search = document.getElementById("search");
const entries = [...document.querySelectorAll(".entry")];
const texts = entries.map((entry) => entry.textContent.toLowerCase());
function filter() {
  const words = search.value.toLowerCase().split(/\s+/);
  entries.forEach((entry, at) => { entry.hidden = !words.every((word) => texts[at].includes(word)); });
  document.getElementById("shown").value = `${entries.filter((entry) => !entry.hidden).length} of ${entries.length}`;
}
form.addEventListener("input", filter);
form.addEventListener("submit", (event) => event.preventDefault());
document.getElementById("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
});
form.hidden = false;
filter();
