/** Our own line icons under the names that templates use; an unknown name shows a plain dot. */
import { svg } from "./dom.js";

/** @type {Record<string, string>} */
const PATHS = {
  add: "M12 5v14M5 12h14",
  remove: "M5 12h14",
  close: "M6 6l12 12M18 6L6 18",
  clear: "M6 6l12 12M18 6L6 18",
  check: "M5 13l4 4L19 7",
  done: "M5 13l4 4L19 7",
  delete: "M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13M10 11v5M14 11v5",
  undo: "M9 5L4 10l5 5M4 10h10a6 6 0 0 1 0 12h-3",
  redo: "M15 5l5 5-5 5M20 10H10a6 6 0 0 0 0 12h3",
  edit: "M4 20l1-5L16 4l4 4L9 19zM14 6l4 4",
  create: "M4 20l1-5L16 4l4 4L9 19zM14 6l4 4",
  search: "M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM16 16l5 5",
  "zoom-in": "M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM16 16l5 5M11 8v6M8 11h6",
  "zoom-out": "M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM16 16l5 5M8 11h6",
  fit: "M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5",
  fullscreen: "M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5",
  pan: "M12 3v18M3 12h18M12 3l-3 3M12 3l3 3M12 21l-3-3M12 21l3-3M3 12l3-3M3 12l3 3M21 12l-3-3M21 12l-3 3",
  pointer: "M5 3l6 17 2.5-6.5L20 11z",
  polygon: "M5 8l8-4 7 7-4 8-10-2z",
  brush: "M20 4L10 14M9 14c-3 0-3 3-6 4 2 2 8 3 8-2z",
  eraser: "M8 20l-5-5L14 4l6 6-10 10zM9 9l6 6",
  help: "M9 9a3 3 0 1 1 4 3c-1 .5-1 1-1 2M12 17.5v.5M12 2.5a9.5 9.5 0 1 0 0 19 9.5 9.5 0 0 0 0-19z",
  info: "M12 11v6M12 7v.5M12 2.5a9.5 9.5 0 1 0 0 19 9.5 9.5 0 0 0 0-19z",
  warning: "M12 3L2 20h20zM12 10v4M12 17v.5",
  error: "M12 7v6M12 16.5v.5M12 2.5a9.5 9.5 0 1 0 0 19 9.5 9.5 0 0 0 0-19z",
  up: "M12 19V5M6 11l6-6 6 6",
  down: "M12 5v14M6 13l6 6 6-6",
  "arrow-back": "M19 12H5M11 6l-6 6 6 6",
  "arrow-forward": "M5 12h14M13 6l6 6-6 6",
  star: "M12 3l2.8 5.8 6.2.9-4.5 4.4 1 6.3L12 17.4l-5.5 3 1-6.3L3 9.700l6.200-.9z",
  favorite: "M12 20S4 15 4 9a4 4 0 0 1 8-1 4 4 0 0 1 8 1c0 6-8 11-8 11z",
  home: "M3 11l9-8 9 8M6 9v11h12V9",
  settings: "M4 7h10M18 7h2M4 17h2M10 17h10M16 5v4M8 15v4",
  save: "M5 3h12l3 3v15H4V3zM8 3v6h8V3M8 21v-7h8v7",
  send: "M3 11l18-8-8 18-2-8z",
  refresh: "M20 11a8 8 0 1 0-2 6M20 5v6h-6",
  visibility: "M2 12s4-7 10-7 10 7 10 7-4 7-10 7S2 12 2 12zM12 9a3 3 0 1 0 0 6 3 3 0 0 0 0-6z",
  "thumb-up": "M7 11v9H3v-9zM7 11l4-8c2 0 3 1 2 6h7l-2 11H7",
  "thumb-down": "M7 13V4H3v9zM7 13l4 8c2 0 3-1 2-6h7L18 4H7",
  menu: "M4 6h16M4 12h16M4 18h16",
  list: "M8 6h12M8 12h12M8 18h12M4 6v.1M4 12v.1M4 18v.1",
  lock: "M6 11h12v9H6zM8 11V8a4 4 0 0 1 8 0v3",
};

/** @param {string} name e.g. "iron-icons:add" or "add" */
export function icon(name) {
  const key = name.replace(/^.*:/, "").toLowerCase();
  const path = (Object.hasOwn(PATHS, key) && PATHS[key]) || "M12 10a2 2 0 1 0 0 4 2 2 0 0 0 0-4z";
  return svg("svg", { class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true" }, svg("path", { d: path }));
}
