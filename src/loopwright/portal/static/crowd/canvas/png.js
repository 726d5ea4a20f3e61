/**
 * Writes a map of small numbers as a PNG with a palette. Our own, because what a canvas gives back need not
 * be exact (browsers that resist fingerprinting add noise), and because maps are mostly runs.
 */

const CRC = new Uint32Array(256).map((_, index) => {
  let value = index;
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});
const RUN_MAX = 258;

/** @param {Uint8Array} bytes */
function crc(bytes) {
  let value = 0xffffffff;
  for (const byte of bytes) value = CRC[(value ^ byte) & 255] ^ (value >>> 8);
  return (value ^ 0xffffffff) >>> 0;
}

/** @param {Uint8Array} bytes */
function adler(bytes) {
  let [a, b] = [1, 0];
  for (let start = 0; start < bytes.length; start += 3800) {
    const end = Math.min(start + 3800, bytes.length);
    for (let index = start; index < end; index += 1) b += a += bytes[index];
    a %= 65521;
    b %= 65521;
  }
  return ((b << 16) | a) >>> 0;
}

/** Bits of a deflate stream with the fixed codes; runs refer to the byte before. */
class Deflater {
  /** @param {number} size of what is packed */
  constructor(size) {
    // A literal takes 9 bits at most.
    this.bytes = new Uint8Array(Math.ceil((size * 9) / 8) + 16);
    this.at = 0;
    this.held = 0;
    this.count = 0;
  }

  /** @param {number} value @param {number} bits */
  put(value, bits) {
    this.held |= value << this.count;
    this.count += bits;
    while (this.count >= 8) {
      this.bytes[this.at] = this.held & 255;
      this.at += 1;
      this.held >>>= 8;
      this.count -= 8;
    }
  }

  /** A Huffman code goes with its highest bit first. @param {number} code @param {number} bits */
  code(code, bits) {
    let turned = 0;
    for (let bit = 0; bit < bits; bit += 1) turned |= ((code >> bit) & 1) << (bits - 1 - bit);
    this.put(turned, bits);
  }

  /** @param {number} symbol a byte, or 256 and more for an end or a length */
  symbol(symbol) {
    if (symbol < 144) this.code(0x30 + symbol, 8);
    else if (symbol < 256) this.code(0x190 + symbol - 144, 9);
    else if (symbol < 280) this.code(symbol - 256, 7);
    else this.code(0xc0 + symbol - 280, 8);
  }

  /** Repeats the byte before. @param {number} length 3 to 258 */
  run(length) {
    if (length === RUN_MAX) this.symbol(285);
    else if (length < 11) this.symbol(254 + length);
    else {
      const extra = 29 - Math.clz32(length - 3);
      this.symbol(257 + extra * 4 + ((length - 3) >> extra));
      this.put((length - 3) & ((1 << extra) - 1), extra);
    }
    this.code(0, 5);
  }
}

/** @param {Uint8Array} bytes */
function zlib(bytes) {
  const out = new Deflater(bytes.length);
  out.put(0x0178, 16);
  out.put(3, 3);
  let index = 0;
  while (index < bytes.length) {
    const byte = bytes[index];
    let run = 1;
    while (run <= RUN_MAX && bytes[index + run] === byte && index + run < bytes.length) run += 1;
    out.symbol(byte);
    index += 1;
    if (run > 3) {
      out.run(run - 1);
      index += run - 1;
    }
  }
  out.symbol(256);
  if (out.count) out.put(0, 8 - out.count);
  const sum = adler(bytes);
  for (const shift of [24, 16, 8, 0]) out.put((sum >>> shift) & 255, 8);
  return out.bytes.subarray(0, out.at);
}

/** @param {string} kind @param {Uint8Array} data */
function chunk(kind, data) {
  const made = new Uint8Array(data.length + 12);
  const view = new DataView(made.buffer);
  view.setUint32(0, data.length);
  for (let index = 0; index < 4; index += 1) made[4 + index] = kind.charCodeAt(index);
  made.set(data, 8);
  view.setUint32(data.length + 8, crc(made.subarray(4, data.length + 8)));
  return made;
}

/**
 * @param {number} width
 * @param {number} height
 * @param {Uint8Array} data one number a pixel
 * @param {[number, number, number][]} palette from 1 on; 0 is white and can be seen through
 * @returns {string} the PNG in base64
 */
export function pngOf(width, height, data, palette) {
  const head = new Uint8Array(13);
  const view = new DataView(head.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  head.set([8, 3, 0, 0, 0], 8);
  // Each row as its difference to the one above: equal rows are runs of zeros.
  const rows = new Uint8Array((width + 1) * height);
  for (let y = 0, to = 0, from = 0; y < height; y += 1) {
    rows[to] = y ? 2 : 0;
    to += 1;
    for (let x = 0; x < width; x += 1, to += 1, from += 1) rows[to] = data[from] - (y ? data[from - width] : 0);
  }
  const colors = new Uint8Array([255, 255, 255, ...palette.flat()]);
  const parts = [
    new Uint8Array([137, 80, 78, 71, 13, 10, 26, 10]),
    ...[chunk("IHDR", head), chunk("PLTE", colors), chunk("tRNS", new Uint8Array([0]))],
    ...[chunk("IDAT", zlib(rows)), chunk("IEND", new Uint8Array())],
  ];
  let text = "";
  for (const part of parts) {
    for (let at = 0; at < part.length; at += 8192) text += String.fromCharCode(...part.subarray(at, at + 8192));
  }
  return btoa(text);
}
