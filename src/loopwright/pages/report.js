/** What a report does by itself: tables sort, pictures say what is pointed at, axes pick trials. */
"use strict";

const WHOLE = 1000;

/** Sort the table of a button by its column; a second press turns it round. Empty cells stay last. */
function sort(button) {
  const head = button.closest("th");
  const body = head.closest("table").tBodies[0];
  const column = head.cellIndex;
  const down = head.getAttribute("aria-sort") === "ascending";
  for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const value = (row) => row.cells[column].dataset.v ?? row.cells[column].textContent.trim();
  const rows = [...body.rows].sort((a, b) => {
    const [one, other] = [value(a), value(b)];
    if (one === "" || other === "") return (one === "") - (other === "");
    const number = Number(one) - Number(other);
    const found = Number.isNaN(number) ? one.localeCompare(other, "en", { numeric: true }) : number;
    return down ? -found : found;
  });
  body.append(...rows);
}

/** Write below a picture what the pointer, or a finger, is on. */
function say(event) {
  const title = event.target.querySelector?.(":scope > title");
  const out = event.currentTarget.querySelector(".said");
  if (title && out) out.textContent = title.textContent;
}

/** Parallel coordinates: a range on each axis, by dragging or by keys, picks the trials within. */
class Axes {
  constructor(figure) {
    this.figure = figure;
    this.threads = [...figure.querySelectorAll(".thread")];
    this.places = this.threads.map((thread) => thread.dataset.y.split(" ").map(Number));
    this.ranges = new Map();
    this.said = figure.querySelector(".picked output");
    for (const axis of figure.querySelectorAll(".axes button")) this.listen(axis);
    figure.querySelector(".picked button").addEventListener("click", () => {
      this.ranges.clear();
      this.show();
    });
  }

  listen(axis) {
    let from = null;
    const at = (event) => {
      const box = axis.getBoundingClientRect();
      return Math.min(WHOLE, Math.max(0, ((box.bottom - event.clientY) / box.height) * WHOLE));
    };
    axis.addEventListener("pointerdown", (event) => {
      from = at(event);
      axis.setPointerCapture(event.pointerId);
    });
    axis.addEventListener("pointermove", (event) => {
      if (from !== null) this.set(axis, [from, at(event)]);
    });
    axis.addEventListener("pointerup", (event) => {
      if (from !== null && Math.abs(from - at(event)) < 10) this.set(axis, null);
      from = null;
    });
    axis.addEventListener("keydown", (event) => this.key(axis, event));
  }

  /** Up and down move a range, with Shift they move its upper end; Escape takes it away. */
  key(axis, event) {
    const step = { ArrowUp: 50, ArrowDown: -50 }[event.key];
    if (event.key === "Escape") this.set(axis, null);
    if (!step) return;
    event.preventDefault();
    const [low, high] = this.ranges.get(axis.dataset.axis) ?? [400, 600];
    if (event.shiftKey) this.set(axis, [low, Math.min(WHOLE, Math.max(low + 20, high + step))]);
    else if (low + step >= -49 && high + step <= WHOLE + 49) {
      this.set(axis, [Math.max(0, low + step), Math.min(WHOLE, high + step)]);
    }
  }

  set(axis, range) {
    if (range) this.ranges.set(axis.dataset.axis, range.sort((a, b) => a - b));
    else this.ranges.delete(axis.dataset.axis);
    this.show();
  }

  show() {
    const picked = new Set();
    this.threads.forEach((thread, index) => {
      const inside = [...this.ranges].every(([axis, [low, high]]) => {
        const place = this.places[index][Number(axis)];
        return place >= low - 1 && place <= high + 1;
      });
      thread.classList.toggle("off", !inside);
      if (inside) picked.add(thread.dataset.t);
    });
    for (const axis of this.figure.querySelectorAll(".axes button")) {
      axis.querySelector("em")?.remove();
      const range = this.ranges.get(axis.dataset.axis);
      if (!range) continue;
      const mark = axis.appendChild(document.createElement("em"));
      mark.style.bottom = `${range[0] / 10}%`;
      mark.style.top = `${100 - range[1] / 10}%`;
    }
    const all = this.ranges.size === 0;
    for (const row of document.querySelectorAll("tr[data-t]")) {
      row.hidden = !all && !picked.has(row.dataset.t);
    }
    this.figure.querySelector(".picked button").hidden = all;
    this.said.textContent = all ? "" : `${picked.size} of ${this.threads.length} trials, here and in the table`;
  }
}

for (const button of document.querySelectorAll("th button")) button.addEventListener("click", () => sort(button));
for (const figure of document.querySelectorAll("figure")) {
  figure.addEventListener("pointerover", say);
  figure.addEventListener("pointerdown", say);
}
for (const figure of document.querySelectorAll(".parallel")) new Axes(figure);
