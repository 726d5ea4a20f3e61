/** The layout of a task: instructions at the left, their full text in a dialog, the work in its own area. */
import { CrowdElement } from "./base.js";
import { el, must } from "./dom.js";
import { dialogOf } from "./surfaces.js";

const CSS = `
:host { display: block; margin: .5rem 0; }
.awsui-app-layout { display: flex; gap: 1.25rem; align-items: flex-start; }
.awsui-app-layout__navigation { flex: none; width: 280px; max-width: 100%; background: var(--soft); padding: 1rem;
  border: 1px solid var(--line); border-radius: var(--round); overflow-wrap: anywhere; max-height: 90vh; overflow: auto; }
.awsui-app-layout__navigation > .plain { margin-top: .75rem; }
.annotation-area { flex: 1; min-width: 0; display: flex; flex-wrap: wrap; gap: 1rem 1.25rem; align-items: flex-start; }
.annotation-area > .wide { flex: 1 1 100%; min-width: 0; }
.annotation-area > h2 { flex: 1 1 100%; margin: 0; }
.examples section { border-left: 4px solid var(--good); padding: .25rem .75rem; margin-top: 1rem; }
.examples .poor { border-color: var(--bad); }
.awsui-modal-dialog { overflow-wrap: anywhere; }
::slotted(*) { max-width: 100%; }
@media (max-width: 820px) {
  .awsui-app-layout { flex-direction: column; align-items: stretch; gap: .75rem; }
  .awsui-app-layout__navigation { width: auto; max-height: 40vh; padding: .75rem; }
  .annotation-area { flex: none; }
}
`;

const REGIONS = ["short-instructions", "full-instructions", "classification-target", "positive-example", "negative-example", "worker-comment"];

export class TaskElement extends CrowdElement {

  setup() {
    this.wear(CSS);
    this.heading = el("h2", { part: "header" });
    const made = dialogOf("Instructions", el("slot", { name: "full-instructions" }));
    this.dialog = made.dialog;
    this.dialogTitle = made.heading;
    const open = () => must(this.dialog).showModal();
    this.more = el("button", { type: "button", class: "plain", text: "View full instructions", onclick: open });
    this.navTitle = el("h3", { text: "Instructions" });
    this.examples = el("div", { class: "examples" });
    for (const [kind, title, look] of [["positive", "Good example", "good"], ["negative", "Bad example", "poor"]]) {
      const slot = el("slot", { name: `${kind}-example` });
      this.examples.append(el("section", { class: look, hidden: true }, el("h3", { text: title }), slot));
    }
    const short = el("slot", { name: "short-instructions" });
    this.nav = el("nav", { class: "awsui-app-layout__navigation", "aria-label": "Instructions" });
    this.nav.append(this.navTitle, short, this.examples, this.more);
    this.area = el("section", { class: "annotation-area" }, this.heading);
    this.root.append(el("div", { class: "awsui-app-layout" }, this.nav, this.area), this.dialog);
    this.#sort();
    new MutationObserver(() => this.#sort()).observe(this, { childList: true });
    this.titled();
  }

  titled() {
    const heading = must(this.heading);
    heading.textContent = this.attr("header");
    heading.hidden = !heading.textContent;
  }

  /** @param {string} tag @returns {Element | null} the child that is this region */
  region(tag) {
    return [...this.children].find((child) => child.localName === tag) ?? null;
  }

  /** Sends each child to its region. */
  #sort() {
    for (const child of this.children) if (REGIONS.includes(child.localName)) child.slot = child.localName;
    const [short, full] = [this.region("short-instructions"), this.region("full-instructions")];
    const [good, poor] = must(this.examples).children;
    good.toggleAttribute("hidden", !this.region("positive-example"));
    poor.toggleAttribute("hidden", !this.region("negative-example"));
    must(this.more).hidden = !full;
    must(this.navTitle).textContent = short?.getAttribute("header") || "Instructions";
    must(this.dialogTitle).textContent = full?.getAttribute("header") || "Instructions";
    must(this.nav).hidden = !short && !full && good.hasAttribute("hidden") && poor.hasAttribute("hidden");
  }
}

/** @type {Set<{host: Element, act: (event: KeyboardEvent) => boolean}>} */
const owners = new Set();

/** @param {KeyboardEvent} event */
function pressed(event) {
  const [inner] = event.composedPath();
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || !(inner instanceof Element)) return;
  if (inner.closest("dialog, [contenteditable]") || inner.matches("textarea, select, input:not([type=radio], [type=checkbox])")) return;
  const path = event.composedPath();
  const focused = [...owners].filter(({ host }) => path.includes(host));
  // A key without a focus is for the only element that listens, if it is the only one.
  for (const { act } of focused.length ? focused : owners.size === 1 ? owners : []) {
    if (act(event)) event.preventDefault();
  }
}

/**
 * Keys that work wherever the focus is, except where one types.
 * @param {Element} host @param {(event: KeyboardEvent) => boolean} act
 * @returns {() => void} what ends it
 */
export function shortcuts(host, act) {
  const owner = { host, act };
  if (!owners.size) document.addEventListener("keydown", pressed);
  owners.add(owner);
  return () => {
    owners.delete(owner);
    if (!owners.size) document.removeEventListener("keydown", pressed);
  };
}

/** @param {KeyboardEvent} event @returns {number} 0 for "1" to 9 for "0", else -1 */
export function digitOf(event) {
  return /^[0-9]$/.test(event.key) ? (Number(event.key) + 9) % 10 : -1;
}

/** @param {unknown} item a string, or an object that names itself @returns {string} */
export function nameOf(item) {
  if (typeof item !== "object" || item === null) return String(item ?? "");
  const map = /** @type {Record<string, unknown>} */ (item);
  return String(map.label ?? map.name ?? map.text ?? map.value ?? "");
}
