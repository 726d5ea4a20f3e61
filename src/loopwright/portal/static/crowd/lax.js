/**
 * Reads the lax JSON that templates put into attributes: single quotes, bare keys, trailing commas,
 * comments, words of Python. It only reads: nothing is ever evaluated.
 */

const DEPTH_MAX = 200;
/** @type {Record<string, unknown>} */
const WORDS = {
  true: true,
  false: false,
  null: null,
  undefined: null,
  True: true,
  False: false,
  None: null,
};
/** @type {Record<string, string>} */
const ESCAPES = { n: "\n", t: "\t", r: "\r", b: "\b", f: "\f", v: "\v", 0: "\0", "\n": "" };

class Reader {
  /** @param {string} text */
  constructor(text) {
    this.text = text;
    this.at = 0;
  }

  /** @param {string} message @returns {never} */
  fail(message) {
    throw new SyntaxError(`${message} at position ${this.at}`);
  }

  /** Skips blanks and comments, and tells the character that comes next ("" at the end). */
  next() {
    for (;;) {
      const blank = /[\s\ufeff]*(?:\/\/[^\n]*|\/\*[^]*?\*\/)?/y;
      blank.lastIndex = this.at;
      const found = blank.exec(this.text);
      if (!found || !found[0]) return this.text[this.at] ?? "";
      this.at += found[0].length;
    }
  }

  /** @param {number} depth @returns {unknown} */
  value(depth) {
    if (depth > DEPTH_MAX) this.fail("nested too deeply");
    const first = this.next();
    if (first === "[") return this.list(depth);
    if (first === "{") return this.map(depth);
    if (first === '"' || first === "'" || first === "`") return this.string(first);
    return this.word();
  }

  /** @param {number} depth */
  list(depth) {
    /** @type {unknown[]} */
    const items = [];
    this.at += 1;
    while (this.next() !== "]") {
      items.push(this.value(depth + 1));
      this.comma("]");
    }
    this.at += 1;
    return items;
  }

  /** @param {number} depth */
  map(depth) {
    /** @type {Record<string, unknown>} */
    const result = {};
    this.at += 1;
    while (this.next() !== "}") {
      const first = this.next();
      const key = first === '"' || first === "'" ? this.string(first) : this.bare();
      if (this.next() !== ":") this.fail("a colon is missing");
      this.at += 1;
      const value = this.value(depth + 1);
      Object.defineProperty(result, key, { value, enumerable: true, configurable: true, writable: true });
      this.comma("}");
    }
    this.at += 1;
    return result;
  }

  /** @param {string} end */
  comma(end) {
    const found = this.next();
    if (found === ",") this.at += 1;
    else if (found !== end) this.fail(`"," or "${end}" is missing`);
  }

  /** A quote ends its string only before what may follow a string: "Driver's" needs no escape. */
  ends() {
    const after = /\s*(?:[,\]}:]|$|\/[/*])/y;
    after.lastIndex = this.at + 1;
    return after.test(this.text);
  }

  /** @param {string} quote */
  string(quote) {
    let result = "";
    for (this.at += 1; this.at < this.text.length; this.at += 1) {
      const found = this.text[this.at];
      if (found === quote && this.ends()) {
        this.at += 1;
        return result;
      }
      result += found === "\\" ? this.escape() : found;
    }
    return this.fail("a string does not end");
  }

  escape() {
    this.at += 1;
    const kind = this.text[this.at] ?? "";
    const length = kind === "u" ? 4 : kind === "x" ? 2 : 0;
    if (!length) return Object.hasOwn(ESCAPES, kind) ? ESCAPES[kind] : kind;
    const digits = this.text.slice(this.at + 1, this.at + 1 + length);
    if (digits.length < length || !/^[0-9a-fA-F]+$/.test(digits)) return this.fail("not an escape");
    this.at += length;
    return String.fromCharCode(parseInt(digits, 16));
  }

  bare() {
    const name = /[^\s,:[\]{}'"]+/y;
    name.lastIndex = this.at;
    const found = name.exec(this.text);
    if (!found) return this.fail("a key is missing");
    this.at += found[0].length;
    return found[0];
  }

  word() {
    const bare = /[^,:[\]{}'"\n]+/y;
    bare.lastIndex = this.at;
    const found = bare.exec(this.text);
    if (!found) return this.fail("a value is missing");
    this.at += found[0].length;
    const word = found[0].replace(/\s*\/[/*].*$/, "").trim();
    if (Object.hasOwn(WORDS, word)) return WORDS[word];
    if (/^[+-]?(?:0x[0-9a-f]+|(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)$/i.test(word)) {
      return word.startsWith("-") ? -Number(word.slice(1)) : Number(word.replace(/^\+/, ""));
    }
    return word;
  }
}

/**
 * @param {string} text
 * @returns {unknown}
 */
export function parseLax(text) {
  const reader = new Reader(text);
  const value = reader.value(0);
  if (reader.next()) reader.fail("something follows the value");
  // labels="&quot;['a','b']&quot;": a string that holds the list.
  if (typeof value === "string" && /^\s*[[{]/.test(value)) return parseLax(value);
  return value;
}
