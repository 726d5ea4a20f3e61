/** crowd-tabs and crowd-tab. */
import { CrowdElement, reflect } from "./base.js";
import { el, freshId, must } from "./dom.js";

export class CrowdTab extends CrowdElement {
  static observedAttributes = ["header"];

  setup() {
    this.wear(":host { display: block; padding: 1rem .25rem; }");
    this.root.append(el("slot"));
    this.setAttribute("role", "tabpanel");
    if (!this.id) this.id = freshId("tab");
    this.setAttribute("aria-label", this.attr("header"));
  }

  changed() {
    this.setAttribute("aria-label", this.attr("header"));
    if (this.parentElement instanceof CrowdTabs) this.parentElement.draw();
  }
}

export class CrowdTabs extends CrowdElement {
  static observedAttributes = ["selected"];

  setup() {
    this.wear(`:host { display: block; margin: .5rem 0; }
      [role=tablist] { display: flex; gap: .25rem; border-bottom: 1px solid var(--line); overflow-x: auto; }
      [role=tab] { border: 0; background: none; padding: .6rem 1rem; cursor: pointer; color: var(--quiet); font-weight: 550;
        border-bottom: 3px solid transparent; white-space: nowrap; }
      [role=tab]:hover { color: var(--accent); }
      [role=tab][aria-selected=true] { color: var(--accent); border-bottom-color: var(--accent); }
      :focus-visible { outline-offset: -3px; }`);
    this.list = el("div", { role: "tablist" });
    this.root.append(this.list, el("slot"));
    this.list.addEventListener("keydown", (event) => this.#moved(event));
    new MutationObserver(() => this.draw()).observe(this, { childList: true });
    this.draw();
  }

  changed() {
    this.draw();
  }

  get tabs() {
    return [...this.children].filter((child) => child.localName === "crowd-tab");
  }

  get selected() {
    return this.number("selected", 0);
  }

  set selected(index) {
    this.setAttribute("selected", String(index));
  }

  draw() {
    const { tabs } = this;
    const hadFocus = this.root.activeElement !== null;
    const selected = Math.min(this.selected, tabs.length - 1);
    const buttons = tabs.map((tab, index) => {
      if (tab instanceof HTMLElement) tab.hidden = index !== selected;
      const button = el("button", { type: "button", role: "tab", text: tab.getAttribute("header") ?? `Tab ${index + 1}` });
      button.setAttribute("aria-selected", String(index === selected));
      button.tabIndex = index === selected ? 0 : -1;
      button.addEventListener("click", () => (this.selected = index));
      return button;
    });
    must(this.list).replaceChildren(...buttons);
    if (hadFocus) buttons[selected]?.focus();
  }

  /** @param {KeyboardEvent} event */
  #moved(event) {
    const count = this.tabs.length;
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (event.key === "Home") this.selected = 0;
    else if (event.key === "End") this.selected = count - 1;
    else if (step && count) this.selected = (this.selected + step + count) % count;
    else return;
    event.preventDefault();
  }
}

reflect(CrowdTab, { header: "text" });
