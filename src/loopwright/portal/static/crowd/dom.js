/** Makes elements and style sheets; keeps untrusted text and addresses harmless. */

/** @typedef {Record<string, any>} Props */
/** @typedef {Node | string | null | undefined | false} Child */

/**
 * Sets attributes; `text` is text, `on…` listens, null and false leave out.
 * @param {Element} target
 * @param {Props} props
 */
function apply(target, props) {
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "text") target.textContent = String(value);
    else if (typeof value === "function") target.addEventListener(name.slice(2), value);
    else target.setAttribute(name, value === true ? "" : String(value));
  }
}

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Props} [props]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function el(tag, props = {}, ...children) {
  const made = document.createElement(tag);
  apply(made, props);
  for (const child of children) if (child) made.append(child);
  return made;
}

/**
 * @param {string} tag
 * @param {Props} [props]
 * @param {...Node} children
 * @returns {SVGElement}
 */
export function svg(tag, props = {}, ...children) {
  const made = /** @type {SVGElement} */ (document.createElementNS("http://www.w3.org/2000/svg", tag));
  apply(made, props);
  made.append(...children);
  return made;
}

/** @param {string} css */
export function sheet(css) {
  const made = new CSSStyleSheet();
  made.replaceSync(css);
  return made;
}

/**
 * An address that a link or a picture may have, or "": never javascript:, data: only for pictures.
 * @param {string | null} address
 * @param {"link" | "picture"} use
 */
export function safeUrl(address, use) {
  if (!address) return "";
  /** @type {URL} */
  let url;
  try {
    url = new URL(address, document.baseURI);
  } catch {
    return "";
  }
  const common = url.protocol === "http:" || url.protocol === "https:";
  if (use === "link") return common || url.protocol === "mailto:" ? url.href : "";
  const inline = url.protocol === "blob:" || /^data:image\/(png|jpe?g|gif|webp|svg\+xml|bmp)[;,]/i.test(url.href);
  return common || inline ? url.href : "";
}

let count = 0;

/** @param {string} stem */
export function freshId(stem) {
  count += 1;
  return `${stem}-${count}`;
}

/**
 * @template T
 * @param {T | null | undefined} value
 * @returns {T}
 */
export function must(value) {
  if (value === null || value === undefined) throw new Error("something that must be there is missing");
  return value;
}

/** @param {number} value @param {number} low @param {number} high */
export function clamp(value, low, high) {
  return Math.min(Math.max(value, low), high);
}
