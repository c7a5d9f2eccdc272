"use strict";
(() => {
  document.documentElement.classList.add("scripted");

  // ---- tooltips on hover, focus and tap ----
  const tooltip = document.getElementById("tooltip");
  const hide = () => { tooltip.hidden = true; };
  const show = (element, x, y) => {
    tooltip.textContent = element.dataset.tip;
    tooltip.hidden = false;
    const box = tooltip.getBoundingClientRect();
    const below = y + 18 + box.height < innerHeight;
    tooltip.style.left = `${Math.max(8, Math.min(x + 14, innerWidth - box.width - 8))}px`;
    tooltip.style.top = `${below ? y + 18 : Math.max(8, y - box.height - 12)}px`;
  };
  const fromPointer = (event) => {
    const element = event.target instanceof Element ? event.target.closest("[data-tip]") : null;
    if (element) show(element, event.clientX, event.clientY); else hide();
  };
  document.addEventListener("pointerover", fromPointer);
  document.addEventListener("click", fromPointer);
  document.addEventListener("focusin", (event) => {
    if (!event.target.matches("[data-tip]:focus-visible")) return;
    const box = event.target.getBoundingClientRect();
    show(event.target, box.left + box.width / 2, box.bottom - 10);
  });
  document.addEventListener("focusout", hide);
  document.addEventListener("scroll", hide, true);
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });

  // ---- the table: a click on a heading sorts, a second one turns it round, rows without a figure stay last ----
  const table = document.getElementById("table"), body = table.tBodies[0];
  const rows = [...body.rows];
  const headings = [...table.tHead.rows[0].cells];
  const cellAt = (row, column) => {
    let at = 0;
    for (const cell of row.cells) {
      at += cell.colSpan;
      if (at > column) return cell;
    }
    return null;
  };
  const valueOf = (row, column) => {
    const cell = cellAt(row, column);
    if (!cell) return "";
    const text = "v" in cell.dataset ? cell.dataset.v : cell.textContent.trim();
    return text !== "" && Number.isFinite(Number(text)) ? Number(text) : text;
  };
  const compare = (a, b) => {
    if (typeof a === "number" && typeof b === "number") return a - b;
    return String(a).localeCompare(String(b), "en", { numeric: true });
  };
  const sort = (column) => {
    const descending = headings[column].getAttribute("aria-sort") === "ascending";
    headings.forEach((heading) => heading.removeAttribute("aria-sort"));
    headings[column].setAttribute("aria-sort", descending ? "descending" : "ascending");
    const keyed = rows.map((row, place) => ({ row, place, value: valueOf(row, column) }));
    keyed.sort((a, b) => {
      if (a.value === "" || b.value === "") return (a.value === "") - (b.value === "") || a.place - b.place;
      return (descending ? -1 : 1) * compare(a.value, b.value) || a.place - b.place;
    });
    body.append(...keyed.map(({ row }) => row));
  };
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = heading.textContent;
    heading.replaceChildren(button);
    button.addEventListener("click", () => sort(column));
  });

  // ---- the filter: rows that have every word ----
  const filter = document.getElementById("filter"), shown = document.getElementById("shown");
  const texts = rows.map((row) => row.textContent.toLowerCase());
  filter.form.addEventListener("submit", (event) => event.preventDefault());
  filter.addEventListener("input", () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    rows.forEach((row, i) => { row.hidden = !words.every((word) => texts[i].includes(word)); });
    const left = rows.filter((row) => !row.hidden).length;
    shown.textContent = words.length ? `${left} of ${rows.length}` : "";
  });
})();
