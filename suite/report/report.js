// Shows the rows that hold every word of the search and have a chosen outcome. Without it, all are shown.
"use strict";
const form = document.getElementById("filter");
const rows = [...document.querySelectorAll("#checks tbody tr")];
function filter() {
  const words = document.getElementById("search").value.toLowerCase().split(/\s+/);
  const chosen = new Set([...form.querySelectorAll("input[name=outcome]:checked")].map((box) => box.value));
  let shown = 0;
  for (const row of rows) {
    const text = row.textContent.toLowerCase();
    row.hidden = !(chosen.has(row.dataset.outcome) && words.every((word) => text.includes(word)));
    shown += row.hidden ? 0 : 1;
  }
  document.getElementById("shown").value = shown + " of " + rows.length;
}
form.addEventListener("input", filter);
form.addEventListener("submit", (event) => event.preventDefault());
form.hidden = false;
filter();
