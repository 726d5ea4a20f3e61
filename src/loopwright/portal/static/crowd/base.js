/** What every crowd element is: attributes as properties, early properties kept, an answer by name. */
import { safeUrl, sheet } from "./dom.js";
import { parseLax } from "./lax.js";
import { common } from "./style.js";

/** @typedef {Record<string, unknown>} Answer */

/** @param {unknown} value @returns {value is Record<string, any>} */
export function isMap(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export class CrowdElement extends HTMLElement {
  #isSet = false;
  /** @type {Map<string, {text: string, value: unknown}>} */
  #read = new Map();

  constructor() {
    super();
    this.root = this.attachShadow({ mode: "open" });
    this.root.adoptedStyleSheets = [common];
  }

  get isSet() {
    return this.#isSet;
  }

  connectedCallback() {
    if (!this.#isSet) {
      // What a script set before this class was there would hide the accessors: set it again.
      /** @type {[string, unknown][]} */
      const early = [];
      for (const name of Object.keys(this)) {
        if (!(name in Object.getPrototypeOf(this))) continue;
        early.push([name, Reflect.get(this, name)]);
        Reflect.deleteProperty(this, name);
      }
      for (const [name, value] of early) Reflect.set(this, name, value);
      this.setup();
      this.#isSet = true;
    }
    this.connected();
  }

  disconnectedCallback() {
    this.disconnected();
  }

  /** @param {string} name */
  attributeChangedCallback(name) {
    if (this.#isSet) this.changed(name);
  }

  /** Builds the shadow root, once. */
  setup() {}

  connected() {}

  disconnected() {}

  /** @param {string} _name */
  changed(_name) {}

  /** @param {string} css */
  wear(css) {
    this.root.adoptedStyleSheets = [...this.root.adoptedStyleSheets, sheet(css)];
  }

  /** @param {string} name */
  attr(name) {
    return this.getAttribute(name) ?? "";
  }

  /** @param {string} name A flag may be written as name, name="" or name="true", but not name="false". */
  flag(name) {
    return this.hasAttribute(name) && this.getAttribute(name) !== "false";
  }

  /** @param {string} name @param {number} otherwise */
  number(name, otherwise) {
    const text = this.attr(name).trim();
    return text !== "" && Number.isFinite(Number(text)) ? Number(text) : otherwise;
  }

  /** @param {string} name @param {"link" | "picture"} use */
  address(name, use) {
    return safeUrl(this.getAttribute(name), use);
  }

  /**
   * The attribute's lax JSON; undefined when it is missing or not readable.
   * @param {string} name
   * @returns {unknown}
   */
  data(name) {
    const text = this.getAttribute(name);
    if (text === null || !text.trim()) return undefined;
    const kept = this.#read.get(name);
    if (kept && kept.text === text) return kept.value;
    /** @type {unknown} */
    let value;
    try {
      value = parseLax(text);
    } catch (error) {
      console.warn(`${this.localName}: the attribute ${name} is not readable: ${error}`);
    }
    this.#read.set(name, { text, value });
    return value;
  }

  /** @param {string} name @returns {unknown[]} */
  items(name) {
    const value = this.data(name);
    if (typeof value === "string") return [value];
    return Array.isArray(value) ? value : [];
  }

  /** Rewrites an attribute as canonical JSON. @param {string} name @param {unknown} value */
  write(name, value) {
    this.setAttribute(name, JSON.stringify(value ?? []));
  }

  announce() {
    this.dispatchEvent(new Event("change", { bubbles: true }));
  }

  // What a form asks for.

  get name() {
    return this.attr("name");
  }

  set name(name) {
    this.setAttribute("name", name);
  }

  /** The form around this element. */
  get form() {
    return this.closest("crowd-form");
  }

  /** What goes into the answer; undefined for nothing. @returns {unknown} */
  submittable() {
    return undefined;
  }

  get _submittableValue() {
    return this.submittable();
  }

  /** @param {Answer} answer */
  contribute(answer) {
    const value = this.submittable();
    if (this.name && value !== undefined && value !== "" && !this.flag("disabled")) answer[this.name] = value;
  }

  /** Puts its part of an earlier answer back. @param {Answer} answer */
  takeBack(answer) {
    if (this.name) this.restore(answer[this.name]);
  }

  /** @param {unknown} _value */
  restore(_value) {}

  /** Goes back to what the template said. */
  reset() {}

  /** What is wrong with the answer, in plain words; "" for nothing. @returns {string} */
  problem() {
    return "";
  }

  /** Shows a problem at the element, or takes it away. @param {string} _message */
  complain(_message) {}
}

/**
 * Gives a class properties that stand for attributes, for the templates' scripts.
 * @param {CustomElementConstructor} type
 * @param {Record<string, "text" | "flag" | "number">} kinds by attribute
 */
export function reflect(type, kinds) {
  for (const [attribute, kind] of Object.entries(kinds)) {
    const name = attribute.replace(/-(.)/g, (_, letter) => letter.toUpperCase());
    if (Object.getOwnPropertyDescriptor(type.prototype, name)) continue;
    Object.defineProperty(type.prototype, name, {
      configurable: true,
      enumerable: true,
      /** @this {CrowdElement} */
      get() {
        if (kind === "flag") return this.flag(attribute);
        return kind === "number" ? this.number(attribute, 0) : this.attr(attribute);
      },
      /** @this {CrowdElement} @param {unknown} value */
      set(value) {
        if (kind === "flag") this.toggleAttribute(attribute, Boolean(value) && value !== "false");
        else if (value === null || value === undefined) this.removeAttribute(attribute);
        else this.setAttribute(attribute, String(value));
      },
    });
  }
}
