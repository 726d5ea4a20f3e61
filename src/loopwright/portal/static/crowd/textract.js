/** crowd-textract-analyze-document: review of the pairs of keys and values that were read from a form. */
import { isMap } from "./base.js";
import { dot } from "./canvas/draw.js";
import { VIEW_CSS, View } from "./canvas/view.js";
import { el, freshId, must } from "./dom.js";
import { TaskElement, nameOf } from "./task.js";

/** @typedef {Record<string, any>} Block */
/** @typedef {{key: Block | null, value: Block | null, name: string, text: string, isOff: boolean, isMissing: boolean}} Pair */

const KEY = "AWS/Textract/AnalyzeDocument/Forms/V1";
const CSS = `
.document { flex: 1 1 360px; min-width: 0; }
.pairs { flex: 1 1 320px; min-width: min(260px, 100%); display: flex; flex-direction: column; gap: .6rem; max-height: 80vh; overflow: auto; padding: 3px; }
.pair { border: 1px solid var(--line); border-radius: var(--round); padding: .7rem .8rem; }
.pair.current { border-color: var(--accent); box-shadow: inset 0 0 0 1px var(--accent); }
.pair.off { background: var(--soft); } .pair label { display: block; font-size: .88rem; color: var(--quiet); margin-top: .3rem; }
.pair .row { display: flex; flex-wrap: wrap; gap: .25rem 1rem; margin-top: .5rem; }
.pair .row label { display: inline-flex; gap: .35rem; align-items: center; color: var(--ink); margin: 0; min-height: 28px; }
.pair input[type=checkbox] { width: 1.1rem; height: 1.1rem; accent-color: var(--accent); }
`;

/** Blocks come with names like blockType or like BlockType. @param {Block} block @param {string} name */
function keyOf(block, name) {
  const pascal = name[0].toUpperCase() + name.slice(1);
  return pascal in block ? pascal : name;
}

/** @param {Block} block @param {string} name @returns {any} */
function part(block, name) {
  return block[keyOf(block, name)];
}

/** @param {Block} block @param {string} type @returns {string[]} the ids of related blocks */
function related(block, type) {
  const list = part(block, "relationships");
  const found = (Array.isArray(list) ? list : []).filter((item) => isMap(item) && part(item, "type") === type);
  return found.flatMap((item) => part(item, "ids") ?? []);
}

/** The names of a block follow those of the others. @param {Block[]} blocks @param {Record<string, unknown>} parts */
function newBlock(blocks, parts) {
  const isPascal = blocks.some((block) => "BlockType" in block);
  const named = Object.entries(parts).map(([name, value]) => [isPascal ? name[0].toUpperCase() + name.slice(1) : name, value]);
  return Object.fromEntries(named);
}

export class CrowdTextract extends TaskElement {
  static observedAttributes = ["src", "initial-value", "header", "keys", "block-types", "no-key-edit", "no-geometry-edit"];
  /** @type {Block[]} */
  blocks = [];
  /** @type {Pair[]} */
  pairs = [];
  current = -1;

  setup() {
    super.setup();
    this.wear(VIEW_CSS);
    this.wear(CSS);
    const view = new View(this.attr("header") || "Document");
    this.view = view;
    view.upper.setAttribute("role", "img");
    view.setPanTool(true);
    view.drawOver = (context) => this.#mark(context);
    this.list = el("div", { class: "pairs" });
    this.note = el("p", { class: "error", role: "alert", hidden: true });
    must(this.area).append(el("div", { class: "document" }, view.frame), this.list, this.note);
    view.load(this.address("src", "picture"));
    this.begin();
  }

  connected() {
    this.view?.start();
  }

  disconnected() {
    this.view?.stop();
  }

  /** @param {string} name */
  changed(name) {
    if (name === "header") this.titled();
    else if (name === "src") this.view?.load(this.address("src", "picture"));
    else this.begin();
  }

  begin() {
    const given = this.data("initial-value");
    const list = isMap(given) ? part(given, "blocks") : given;
    this.blocks = (Array.isArray(list) ? list : []).filter(isMap);
    const ids = new Map(this.blocks.map((block) => [part(block, "id"), block]));
    const keys = this.blocks.filter((block) => (part(block, "entityTypes") ?? []).includes("KEY"));
    this.pairs = keys.map((key) => {
      const value = related(key, "VALUE").map((id) => ids.get(id)).find(Boolean) ?? null;
      const text = value ? this.#textOf(value, ids) : "";
      return { key, value, name: this.#textOf(key, ids), text, isOff: false, isMissing: false };
    });
    for (const item of this.items("keys")) this.#expect(item);
    this.#draw();
  }

  /** A key that should be there and was not found can be filled in. @param {unknown} item */
  #expect(item) {
    const name = isMap(item) ? String(item.importantFormKey ?? item.key ?? nameOf(item)) : String(item);
    const aliases = isMap(item) && Array.isArray(item.importantFormKeyAliases) ? item.importantFormKeyAliases.map(String) : [];
    /** @param {string} text */
    const plain = (text) => text.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "");
    const wanted = [name, ...aliases].map(plain);
    if (!name || name === "*" || this.pairs.some((pair) => wanted.includes(plain(pair.name)))) return;
    this.pairs.push({ key: null, value: null, name, text: "", isOff: false, isMissing: false });
  }

  /** @param {Block} block @param {Map<unknown, Block>} ids @returns {string} */
  #textOf(block, ids) {
    const own = part(block, "text");
    if (typeof own === "string") return own;
    const words = related(block, "CHILD").map((id) => ids.get(id));
    return words.map((word) => {
      if (!word) return "";
      const status = part(word, "selectionStatus");
      return String(part(word, "text") ?? (status === "SELECTED" ? "selected" : status ? "not selected" : ""));
    }).join(" ").trim();
  }

  #draw() {
    this.list?.replaceChildren(el("h3", { text: `Pairs (${this.pairs.length})` }), ...this.pairs.map((pair, index) => this.#card(pair, index)));
    this.view?.draw();
  }

  /** @param {Pair} pair @param {number} index */
  #card(pair, index) {
    const card = el("div", { class: "pair", role: "group", "aria-label": pair.name });
    /** @param {string} title @param {"name" | "text"} field @param {boolean} isFixed */
    const line = (title, field, isFixed) => {
      const id = freshId("pair");
      const input = el("input", { class: "field", id, value: pair[field], readonly: isFixed });
      input.addEventListener("input", () => (pair[field] = input.value));
      input.addEventListener("change", () => this.announce());
      return { input, row: [el("label", { for: id, text: title }), input] };
    };
    const key = line("Key", "name", this.flag("no-key-edit") || !pair.key);
    const value = line("Value", "text", false);
    /** @param {string} title @param {boolean} isOn @param {(isOn: boolean) => void} act */
    const box = (title, isOn, act) => {
      const input = el("input", { type: "checkbox", checked: isOn });
      input.addEventListener("change", (event) => {
        event.stopPropagation();
        act(input.checked);
        update();
        this.announce();
      });
      return { input, label: el("label", {}, input, title) };
    };
    const blank = box("Value is blank", false, (isOn) => isOn && (pair.text = value.input.value = ""));
    const off = box("Not a key-value pair", pair.isOff, (isOn) => (pair.isOff = isOn));
    const missing = box("Key not found", pair.isMissing, (isOn) => (pair.isMissing = isOn));
    const update = () => {
      const isGone = pair.isOff || pair.isMissing;
      card.classList.toggle("off", isGone);
      value.input.disabled = isGone;
      blank.input.disabled = isGone;
      blank.input.checked = !pair.text && blank.input.checked;
    };
    value.input.addEventListener("input", update);
    card.append(...key.row, ...value.row, el("div", { class: "row" }, blank.label, pair.key && off.label, missing.label));
    card.addEventListener("focusin", () => this.#choose(index));
    card.addEventListener("click", () => this.#choose(index));
    update();
    return card;
  }

  /** @param {number} index */
  #choose(index) {
    this.current = index;
    [...must(this.list).querySelectorAll(".pair")].forEach((card, at) => card.classList.toggle("current", at === index));
    const box = this.#boxOf(this.pairs[index].value ?? this.pairs[index].key);
    if (box) this.view?.show({ x: box.left, y: box.top });
    this.view?.draw();
  }

  /** @param {Block | null} block @returns {{left: number, top: number, width: number, height: number} | null} in pixels */
  #boxOf(block) {
    const geometry = block && part(block, "geometry");
    const box = isMap(geometry) ? part(geometry, "boundingBox") : null;
    const size = this.view?.size;
    if (!isMap(box) || !size) return null;
    const [left, top, width, height] = ["left", "top", "width", "height"].map((name) => Number(part(box, name)));
    return { left: left * size.x, top: top * size.y, width: width * size.x, height: height * size.y };
  }

  /** @param {CanvasRenderingContext2D} context */
  #mark(context) {
    const view = must(this.view);
    this.pairs.forEach((pair, index) => {
      for (const [block, color] of [[pair.key, "#0b5cad"], [pair.value, "#146c43"]]) {
        const box = this.#boxOf(/** @type {Block | null} */ (block));
        if (!box || pair.isOff || pair.isMissing) continue;
        const at = view.toStage({ x: box.left, y: box.top });
        context.globalAlpha = index === this.current ? 0.3 : 0.1;
        context.fillStyle = context.strokeStyle = String(color);
        context.fillRect(at.x, at.y, box.width * view.scale, box.height * view.scale);
        context.globalAlpha = 1;
        context.lineWidth = index === this.current ? 3 : 1;
        context.strokeRect(at.x, at.y, box.width * view.scale, box.height * view.scale);
        if (index === this.current) dot(context, at, String(color), 4);
      }
    });
  }

  submittable() {
    const types = this.items("block-types").map(String);
    const wanted = types.length ? types : ["KEY_VALUE_SET"];
    const [gone, texts] = [new Set(), new Map()];
    /** @type {Block[]} */
    const fresh = [];
    this.pairs.forEach((pair, index) => {
      if (pair.isOff || pair.isMissing) [pair.key, pair.value].forEach((block) => gone.add(block));
      else if (pair.key) texts.set(pair.key, pair.name).set(pair.value, pair.text);
      else if (pair.text) {
        const [key, value] = [`added-key-${index}`, `added-value-${index}`];
        const relationships = [newBlock(this.blocks, { type: "VALUE", ids: [value] })];
        fresh.push(newBlock(this.blocks, { blockType: "KEY_VALUE_SET", id: key, entityTypes: ["KEY"], relationships, text: pair.name }));
        fresh.push(newBlock(this.blocks, { blockType: "KEY_VALUE_SET", id: value, entityTypes: ["VALUE"], text: pair.text }));
      }
    });
    const kept = this.blocks.filter((block) => wanted.includes(part(block, "blockType")) && !gone.has(block));
    const written = kept.map((block) => {
      if (!texts.has(block)) return { ...block };
      return { ...block, ["BlockType" in block ? "Text" : "text"]: texts.get(block) };
    });
    return { blocks: [...written, ...fresh] };
  }

  get value() {
    return this.submittable();
  }

  /** @param {import("./base.js").Answer} answer */
  contribute(answer) {
    answer[KEY] = this.submittable();
  }

  /** @param {import("./base.js").Answer} answer */
  takeBack(answer) {
    const value = answer[KEY];
    const blocks = isMap(value) && Array.isArray(value.blocks) ? value.blocks.filter(isMap) : null;
    if (!blocks) return;
    const ids = new Map(blocks.map((block) => [part(block, "id"), block]));
    this.pairs.forEach((pair, index) => {
      const key = ids.get(pair.key ? part(pair.key, "id") : `added-key-${index}`);
      const written = ids.get(pair.value ? part(pair.value, "id") : `added-value-${index}`);
      pair.isOff = Boolean(pair.key) && !key;
      if (key) pair.name = String(part(key, "text") ?? pair.name);
      if (written) pair.text = String(part(written, "text") ?? pair.text);
    });
    this.#draw();
  }

  reset() {
    this.begin();
  }

  focus() {
    this.list?.querySelector("input")?.focus();
  }
}
