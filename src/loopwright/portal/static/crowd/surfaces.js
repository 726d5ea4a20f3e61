/** Elements that only show: card, badge, alert, toast, modal, instructions. */
import { CrowdElement, reflect } from "./base.js";
import { el, must } from "./dom.js";
import { icon } from "./icons.js";

export class CrowdCard extends CrowdElement {
  static observedAttributes = ["heading", "image"];

  setup() {
    this.wear(`:host { display: inline-block; vertical-align: top; background: var(--paper); max-width: 100%;
      border: 1px solid var(--line); border-radius: var(--round); overflow: hidden; margin: .25rem;
      box-shadow: 0 1px 3px rgb(15 23 42 / .12); }
      .head { padding: .8rem 1rem 0; } img { display: block; width: 100%; }`);
    this.head = el("h3", { class: "head" });
    this.picture = el("img", { alt: "" });
    this.root.append(this.picture, this.head, el("slot"));
    this.changed();
  }

  changed() {
    const [head, picture] = [must(this.head), must(this.picture)];
    head.textContent = this.attr("heading");
    head.hidden = !head.textContent;
    picture.src = this.address("image", "picture");
    picture.hidden = !this.address("image", "picture");
  }
}

export class CrowdBadge extends CrowdElement {
  static observedAttributes = ["label", "icon", "for"];

  setup() {
    this.wear(`:host { display: inline-flex; vertical-align: super; }
      span { min-width: 1.3rem; height: 1.3rem; border-radius: 1rem; background: var(--bad); color: var(--on-bad); padding: 0 .4rem;
      font-size: .78rem; font-weight: 650; display: inline-flex; align-items: center; justify-content: center; }
      svg.icon { width: 14px; height: 14px; }`);
    this.mark = el("span");
    this.root.append(this.mark);
    this.changed();
  }

  connected() {
    this.place();
  }

  changed() {
    const face = this.attr("icon") ? icon(this.attr("icon")) : document.createTextNode(this.attr("label"));
    must(this.mark).replaceChildren(face);
    if (this.attr("label")) must(this.mark).setAttribute("aria-label", this.attr("label"));
    if (this.isSet) this.place();
  }

  /** Stands at the upper right corner of the element named by `for`, where both share a parent. */
  place() {
    const target = this.attr("for") ? this.parentElement?.querySelector(`#${CSS.escape(this.attr("for"))}`) : null;
    if (!(target instanceof HTMLElement) || target.offsetParent === null) return;
    this.style.position = "absolute";
    this.style.left = `${target.offsetLeft + target.offsetWidth - 10}px`;
    this.style.top = `${target.offsetTop - 10}px`;
  }
}

const ICONS = { success: "done", error: "error", warning: "warning", info: "info" };

export class CrowdAlert extends CrowdElement {
  static observedAttributes = ["type", "dismissible"];

  setup() {
    this.wear(`:host { display: block; margin: .75rem 0; }
      .alert { display: flex; gap: .7rem; align-items: flex-start; padding: .7rem .9rem; border: 1px solid;
        border-radius: var(--round); background: var(--accent-soft); color: var(--accent-dark); }
      .error { background: var(--bad-soft); color: var(--bad); } .success { background: var(--good-soft); color: var(--good); }
      .warning { background: var(--warn-soft); color: var(--warn); } .text { flex: 1; min-width: 0; font-size: 1rem; }
      button { border: 0; background: none; color: inherit; padding: 2px; cursor: pointer; display: flex; }`);
    this.changed();
  }

  changed() {
    const type = this.type;
    const close = () => {
      this.dispatchEvent(new Event("dismiss", { bubbles: true }));
      this.remove();
    };
    const button = this.flag("dismissible") && el("button", { type: "button", "aria-label": "Dismiss", onclick: close }, icon("close"));
    const role = type === "error" || type === "warning" ? "alert" : "status";
    this.root.replaceChildren(
      el("div", { class: `alert ${type}`, role }, icon(ICONS[type]), el("div", { class: "text" }, el("slot")), button),
    );
  }

  /** @returns {"success" | "error" | "warning" | "info"} */
  get type() {
    const type = this.attr("type");
    return type === "success" || type === "error" || type === "warning" ? type : "info";
  }

  set type(type) {
    this.setAttribute("type", type);
  }
}

const TOAST_MS = 5000;

export class CrowdToast extends CrowdElement {
  static observedAttributes = ["opened", "text", "duration"];
  #timer = 0;

  setup() {
    this.wear(`:host { position: fixed; left: 1rem; bottom: 1rem; z-index: 1000; max-width: min(420px, 92vw); }
      .toast { background: #1f2933; color: #fff; border-radius: var(--round); padding: .7rem 1rem;
      box-shadow: 0 6px 24px rgb(15 23 42 / .35); }`);
    this.words = el("span");
    this.box = el("div", { class: "toast", role: "status" }, this.words, el("slot"));
    this.root.append(this.box);
    this.changed();
  }

  changed() {
    const isOpen = this.flag("opened");
    must(this.words).textContent = this.attr("text");
    must(this.box).hidden = !isOpen;
    window.clearTimeout(this.#timer);
    const duration = this.number("duration", TOAST_MS);
    if (isOpen && duration > 0) this.#timer = window.setTimeout(() => this.hide(), duration);
  }

  show() {
    this.setAttribute("opened", "");
  }

  hide() {
    this.removeAttribute("opened");
  }

  disconnected() {
    window.clearTimeout(this.#timer);
  }
}

/**
 * A link or a button, as `link-type` says, with the words of `link-text`.
 * @param {CrowdElement} host @param {string} otherwise @param {() => void} act
 */
function opener(host, otherwise, act) {
  const isButton = host.attr("link-type") === "button";
  const look = isButton ? "plain" : "opener";
  return el("button", { type: "button", class: look, text: host.attr("link-text") || otherwise, onclick: act });
}

const OPENER = `.opener { border: 0; background: none; padding: .25rem 0; color: var(--accent); text-decoration: underline;
  cursor: pointer; } .opener:hover { color: var(--accent-dark); }`;

/** @param {string} title @param {...Node} content */
export function dialogOf(title, ...content) {
  const heading = el("h2", { text: title });
  const close = el("button", { type: "button", class: "plain icon", "aria-label": "Close" }, icon("close"));
  const dialog = el("dialog", { class: "awsui-modal-dialog", "aria-label": title || "Dialog" });
  dialog.append(el("header", {}, heading, close), el("div", { class: "body" }, ...content));
  close.addEventListener("click", () => dialog.close());
  // A press on what is around the dialog closes it.
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  // Keys typed here are not for what is below.
  dialog.addEventListener("keydown", (event) => event.stopPropagation());
  return { dialog, heading };
}

export class CrowdModal extends CrowdElement {
  static observedAttributes = ["link-text", "link-type", "header"];
  /** @type {HTMLDialogElement | null} */
  dialog = null;
  fallback = "Open";

  setup() {
    this.wear(`:host { display: inline-block; vertical-align: middle; } ${OPENER}`);
    this.place = el("span");
    const made = dialogOf(this.attr("header"), ...this.content());
    this.dialog = made.dialog;
    this.heading = made.heading;
    this.dialog.addEventListener("close", () => this.dispatchEvent(new Event("close")));
    this.root.append(this.place, this.dialog);
    this.changed();
  }

  /** @returns {Node[]} */
  content() {
    return [el("slot")];
  }

  changed() {
    must(this.place).replaceChildren(opener(this, this.fallback, () => this.open()));
    must(this.heading).textContent = this.attr("header");
  }

  open() {
    if (this.dialog && !this.dialog.open) this.dialog.showModal();
  }

  show() {
    this.open();
  }

  close() {
    this.dialog?.close();
  }

  hide() {
    this.close();
  }
}

/** Tells children by their tag which place of the layout they stand at. */
const INSTRUCTION_PARTS = ["short-summary", "detailed-instructions", "positive-example", "negative-example"];

export class CrowdInstructions extends CrowdModal {
  fallback = "View instructions";

  setup() {
    super.setup();
    this.wear(`.good, .poor { border: 1px solid var(--line); border-left: 4px solid var(--good); border-radius: var(--round);
      padding: .75rem 1rem; margin-top: 1rem; } .poor { border-left-color: var(--bad); }
      .good h3 { color: var(--good); } .poor h3 { color: var(--bad); } .examples { display: grid; gap: 1rem;
      grid-template-columns: repeat(auto-fit, minmax(240px, 1fr)); }`);
    this.#sort();
    new MutationObserver(() => this.#sort()).observe(this, { childList: true });
  }

  #sort() {
    for (const child of this.children) if (INSTRUCTION_PARTS.includes(child.localName)) child.slot = child.localName;
    for (const [kind, box] of [["positive", this.good], ["negative", this.poor]]) {
      if (box instanceof HTMLElement) box.hidden = !this.querySelector(`${kind}-example`);
    }
  }

  content() {
    /** @param {string} look @param {string} title @param {string} slot */
    const example = (look, title, slot) =>
      el("section", { class: look }, el("h3", { text: title }), el("slot", { name: slot }));
    this.good = example("good", "Good example", "positive-example");
    this.poor = example("poor", "Bad example", "negative-example");
    return [
      el("slot", { name: "short-summary" }),
      el("slot", { name: "detailed-instructions" }),
      el("slot"),
      el("div", { class: "examples" }, this.good, this.poor),
    ];
  }
}

reflect(CrowdCard, { heading: "text", image: "text" });
reflect(CrowdBadge, { label: "text", icon: "text", for: "text" });
reflect(CrowdAlert, { dismissible: "flag" });
reflect(CrowdToast, { opened: "flag", text: "text", duration: "number" });
reflect(CrowdModal, { "link-text": "text", "link-type": "text", header: "text" });
