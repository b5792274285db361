"use strict";
for (const button of document.querySelectorAll("thead th button")) {
  button.addEventListener("click", () => {
    const head = button.closest("th"), body = head.closest("table").tBodies[0];
    const column = head.cellIndex, up = head.getAttribute("aria-sort") !== "ascending";
    for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const rows = [...body.rows].filter(row => !row.classList.contains("total"));
    const number = cell => "value" in cell.dataset ? parseFloat(cell.dataset.value) : NaN;
    const text = cell => cell.textContent === "\u2013" ? "" : cell.textContent;
    rows.sort((a, b) => {
      const c = a.cells[column], d = b.cells[column], p = number(c), q = number(d);
      if (isNaN(p) !== isNaN(q)) return isNaN(p) ? 1 : -1;
      if (!text(c) !== !text(d)) return text(c) ? -1 : 1;
      const order = isNaN(p) ? text(c).localeCompare(text(d), "en", { numeric: true }) : p - q;
      return up ? order : -order;
    });
    body.prepend(...rows);
  });
}
