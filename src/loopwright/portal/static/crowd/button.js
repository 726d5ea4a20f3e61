/** crowd-button, crowd-icon-button, crowd-fab. */
import { CrowdElement, reflect } from "./base.js";
import { el, must } from "./dom.js";
import { icon } from "./icons.js";

const CSS = `
:host { display: inline-block; max-width: 100%; vertical-align: middle; }
.plain { text-decoration: none; color: var(--ink); font-weight: 550; padding: .45rem 1rem; min-height: 40px;
  justify-content: center; max-width: 100%; }
.strong { color: var(--on-accent); }
.link { background: none; border-color: transparent; color: var(--accent); text-decoration: underline; }
.end { flex-direction: row-reverse; }
img { width: 20px; height: 20px; object-fit: contain; }
.spinner { width: 1rem; height: 1rem; border: 2px solid currentColor; border-right-color: transparent;
  border-radius: 50%; animation: turn .8s linear infinite; }
@keyframes turn { to { transform: rotate(1turn); } }
`;

export class CrowdButton extends CrowdElement {
  static observedAttributes = [
    ...["variant", "disabled", "href", "target", "icon", "icon-url", "icon-align", "loading", "form-action", "aria-label"],
  ];

  /** @type {HTMLButtonElement | HTMLAnchorElement | null} */
  inner = null;

  setup() {
    this.wear(CSS);
    this.#draw();
    // A click on the host itself, by a script or a label, is a click on the button.
    this.addEventListener("click", (event) => {
      if (!this.flag("disabled") && !this.flag("loading")) return;
      event.stopImmediatePropagation();
      event.preventDefault();
    });
  }

  changed() {
    this.#draw();
  }

  #draw() {
    const hadFocus = this.root.activeElement !== null;
    const variant = this.attr("variant");
    const isSubmit = this.attr("form-action") === "submit";
    const look = variant === "link" ? "link" : variant === "primary" || (isSubmit && !variant) ? "strong" : "";
    const end = this.attr("icon-align") === "right" ? "end" : "";
    const isBusy = this.flag("loading");
    const props = { class: `plain ${look} ${end}`, part: "button", "aria-label": this.getAttribute("aria-label") };
    const address = this.address("href", "link");
    const isLink = address && !this.flag("disabled");
    this.inner = isLink
      ? el("a", { ...props, href: address, target: this.attr("target") || null, rel: "noopener noreferrer" })
      : el("button", { ...props, type: "button", disabled: this.flag("disabled") || isBusy, "aria-busy": isBusy || null });
    if (isBusy) this.inner.append(el("span", { class: "spinner", "aria-hidden": "true" }));
    const picture = this.address("icon-url", "picture");
    if (picture) this.inner.append(el("img", { src: picture, alt: "" }));
    else if (this.attr("icon")) this.inner.append(icon(this.attr("icon")));
    this.inner.append(el("span", {}, el("slot")));
    this.root.replaceChildren(this.inner);
    if (hadFocus) this.focus();
  }

  focus() {
    this.inner?.focus();
  }

  contribute() {}
}

const ROUND = `
:host { display: inline-block; vertical-align: middle; }
button { border-radius: 50%; border: 0; background: none; width: 44px; height: 44px; display: inline-flex;
  align-items: center; justify-content: center; cursor: pointer; color: var(--ink); font-weight: 650; }
button:hover:not(:disabled) { background: var(--accent-soft); }
button:disabled { color: var(--off); cursor: default; }
button.fab { width: 56px; height: 56px; background: var(--accent); color: var(--on-accent); box-shadow: 0 4px 14px rgb(15 23 42 / .3); }
button.fab:hover:not(:disabled) { background: var(--accent-dark); }
button.fab:disabled { background: light-dark(#dfe4ea, #38434f); }
img { width: 22px; height: 22px; object-fit: contain; }
`;

export class CrowdIconButton extends CrowdElement {
  static observedAttributes = ["icon", "icon-url", "src", "title", "label", "disabled", "aria-label"];
  look = "";

  setup() {
    this.wear(ROUND);
    this.button = el("button", { type: "button", class: this.look });
    this.root.append(this.button);
    this.changed();
  }

  changed() {
    const button = must(this.button);
    const label = this.attr("label");
    const picture = this.address("icon-url", "picture") || this.address("src", "picture");
    /** @type {Node} */
    let face = icon(this.attr("icon"));
    if (picture) face = el("img", { src: picture, alt: "" });
    else if (!this.attr("icon") && label) face = document.createTextNode(label.slice(0, 2));
    button.replaceChildren(face);
    button.disabled = this.flag("disabled");
    const name = this.attr("aria-label") || this.attr("title") || label || this.attr("icon").replace(/^.*:/, "") || "Button";
    button.setAttribute("aria-label", name);
    button.title = this.attr("title") || label;
  }

  focus() {
    this.button?.focus();
  }

  contribute() {}
}

export class CrowdFab extends CrowdIconButton {
  look = "fab";
}

reflect(CrowdButton, {
  ...{ variant: "text", href: "text", target: "text", icon: "text", "icon-url": "text", "icon-align": "text" },
  ...{ "form-action": "text", disabled: "flag", loading: "flag" },
});
reflect(CrowdIconButton, { icon: "text", label: "text", disabled: "flag", src: "text" });
