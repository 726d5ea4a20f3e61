/** Colours of labels: those of the template, else a fixed set that tells apart and reads on pictures. */

const FIXED = [
  ...["#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#17becf", "#bcbd22", "#0b3d91"],
  ...["#006d5b", "#b5179e", "#5f0f40", "#ffd166", "#118ab2", "#6a994e", "#bc4749", "#3a0ca3", "#f4a261", "#2a9d8f"],
];

/** @param {unknown} text @returns {string} "#rrggbb", or "" when it is no such colour */
export function hexColor(text) {
  if (typeof text !== "string") return "";
  const short = /^#([0-9a-f])([0-9a-f])([0-9a-f])$/i.exec(text.trim());
  if (short) return `#${short.slice(1).map((digit) => digit + digit).join("")}`.toLowerCase();
  return /^#[0-9a-f]{6}$/i.test(text.trim()) ? text.trim().toLowerCase() : "";
}

/** @param {number} index */
export function paletteColor(index) {
  if (index < FIXED.length) return FIXED[index];
  // Golden angle: neighbours differ, and no two of the first thousand are the same.
  const hue = (index * 137.508) % 360;
  const light = [0.42, 0.55, 0.33][index % 3];
  const spread = 0.7 * Math.min(light, 1 - light);
  /** @param {number} n */
  const part = (n) => {
    const k = (n + hue / 30) % 12;
    return Math.round(255 * (light - spread * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
  };
  return toHex([part(0), part(8), part(4)]);
}

/** @param {number[]} rgb */
export function toHex(rgb) {
  return `#${rgb.slice(0, 3).map((part) => part.toString(16).padStart(2, "0")).join("")}`;
}

/** @param {string} hex @returns {[number, number, number]} */
export function toRgb(hex) {
  const number = parseInt(hex.slice(1), 16);
  return [(number >> 16) & 255, (number >> 8) & 255, number & 255];
}

/** Black or white, whichever reads better on the colour. @param {string} hex */
export function inkOn(hex) {
  const [r, g, b] = toRgb(hex).map((part) => (part / 255 <= 0.04 ? part / 3294 : ((part / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.18 ? "#000000" : "#ffffff";
}
