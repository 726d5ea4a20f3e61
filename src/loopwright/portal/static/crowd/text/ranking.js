/** crowd-text-ranking: ranks of responses, on each dimension. */
import { isMap } from "../base.js";
import { el, freshId, must } from "../dom.js";
import { TaskElement, nameOf } from "../task.js";

const CSS = `
.prompt, .response { white-space: pre-wrap; overflow-wrap: anywhere; border: 1px solid var(--line); border-radius: var(--round);
  padding: .8rem 1rem; } .prompt { background: var(--soft); }
.responses { display: grid; gap: .75rem; grid-template-columns: repeat(auto-fit, minmax(min(280px, 100%), 1fr)); margin: .75rem 0; }
.response h3 { margin: 0 0 .4rem; color: var(--accent); }
.dimension { border: 1px solid var(--line); border-radius: var(--round); padding: .75rem 1rem; margin: 0 0 .75rem; }
.dimension legend { font-weight: 650; padding: 0 .35rem; }
.line { display: flex; flex-wrap: wrap; align-items: center; gap: .4rem; border: 0; padding: .25rem 0; margin: 0; min-width: 0; }
.line legend { float: left; width: 8.5rem; padding: .3rem 0; font-weight: 500; }
.rank { display: inline-flex; align-items: center; justify-content: center; gap: .3rem; min-width: 44px; min-height: 44px; cursor: pointer;
  border: 1px solid var(--line); border-radius: 6px; padding: 0 .6rem; }
.rank:has(:checked) { background: var(--accent); color: var(--on-accent); border-color: var(--accent); }
.rank:has(:focus-visible) { outline: 3px solid var(--accent); outline-offset: 2px; }
.rank input { position: absolute; opacity: 0; width: 1px; height: 1px; margin: 0; }
`;

export class CrowdTextRanking extends TaskElement {
  static observedAttributes = ["text", "responses", "ordinal-ranking-dimensions", "header"];
  /** Ranks by dimension, one a response; 0 is none yet. @type {Map<string, number[]>} */
  ranks = new Map();

  setup() {
    super.setup();
    this.wear(CSS);
    this.box = el("div", { class: "wide" });
    this.note = el("p", { class: "error wide", role: "alert", hidden: true });
    must(this.area).append(this.box, this.note);
    this.#draw();
  }

  /** @param {string} name */
  changed(name) {
    if (name === "header") this.titled();
    else this.#draw();
  }

  get responses() {
    return this.items("responses").map(nameOf);
  }

  /** @returns {{name: string, allowTie: boolean}[]} */
  get dimensions() {
    return this.items("ordinal-ranking-dimensions").map((item) => ({
      name: nameOf(item),
      allowTie: isMap(item) && item.allowTie === true,
    }));
  }

  #draw() {
    const { responses } = this;
    for (const { name } of this.dimensions) {
      if (this.ranks.get(name)?.length !== responses.length) this.ranks.set(name, responses.map(() => 0));
    }
    const cards = responses.map((text, index) => el("article", { class: "response" }, el("h3", { text: `Response ${index + 1}` }), text));
    this.box?.replaceChildren(
      el("div", { class: "prompt", text: this.attr("text") }),
      el("div", { class: "responses" }, ...cards),
      ...this.dimensions.map((dimension) => this.#dimension(dimension)),
    );
  }

  /** @param {{name: string, allowTie: boolean}} dimension */
  #dimension({ name, allowTie }) {
    const hint = allowTie ? "1 is best; equal ranks are allowed." : "1 is best; each rank once.";
    const lines = this.responses.map((_, response) => {
      const group = freshId("rank");
      const line = el("fieldset", { class: "line" }, el("legend", { text: `Response ${response + 1}` }));
      this.responses.forEach((__, index) => {
        const input = el("input", { type: "radio", name: group, value: index + 1 });
        input.dataset.place = `${response}`;
        input.addEventListener("change", (event) => {
          event.stopPropagation();
          this.rank(name, response, index + 1);
        });
        line.append(el("label", { class: "rank" }, input, String(index + 1)));
      });
      return line;
    });
    const box = el("fieldset", { class: "dimension" }, el("legend", { text: name }), el("p", { class: "hint", text: hint }), ...lines);
    box.dataset.dimension = name;
    this.#mark(box);
    return box;
  }

  /** @param {HTMLElement} box */
  #mark(box) {
    const ranks = this.ranks.get(box.dataset.dimension ?? "") ?? [];
    for (const input of box.querySelectorAll("input")) {
      input.checked = ranks[Number(input.dataset.place)] === Number(input.value);
    }
  }

  #markAll() {
    for (const box of this.box?.querySelectorAll("fieldset.dimension") ?? []) if (box instanceof HTMLElement) this.#mark(box);
  }

  /** Without ties, a rank that is taken changes hands. @param {string} name @param {number} response @param {number} rank */
  rank(name, response, rank) {
    const ranks = must(this.ranks.get(name));
    const isTie = this.dimensions.find((dimension) => dimension.name === name)?.allowTie;
    const other = isTie ? -1 : ranks.indexOf(rank);
    if (other >= 0) ranks[other] = ranks[response];
    ranks[response] = rank;
    this.complain("");
    this.#markAll();
    this.announce();
  }

  /** @returns {any} */
  get value() {
    if (![...this.ranks.values()].some((ranks) => ranks.some(Boolean))) return undefined;
    const rankings = this.dimensions.map(({ name }) => ({ dimension: name, ranks: [...(this.ranks.get(name) ?? [])] }));
    return { rankings };
  }

  submittable() {
    return this.value;
  }

  /** @param {unknown} value */
  restore(value) {
    this.ranks.clear();
    if (isMap(value) && Array.isArray(value.rankings)) {
      for (const item of value.rankings.filter(isMap)) {
        if (Array.isArray(item.ranks)) this.ranks.set(String(item.dimension), item.ranks.map(Number));
      }
    }
    this.#draw();
  }

  reset() {
    this.restore(null);
  }

  focus() {
    this.box?.querySelector("input")?.focus();
  }

  problem() {
    const open = this.dimensions.find(({ name }) => this.ranks.get(name)?.includes(0));
    return open ? `${open.name}: please rank every response.` : "";
  }

  /** @param {string} message */
  complain(message) {
    const note = must(this.note);
    note.textContent = message;
    note.hidden = !message;
  }
}
