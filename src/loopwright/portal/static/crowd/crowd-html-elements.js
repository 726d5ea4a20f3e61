/**
 * The entry: defines all crowd-* elements, then tells the page and the portal that they are ready. As a
 * module it runs when the page is parsed, so that elements find their children and what scripts set early.
 */
import { CrowdForm } from "./form.js";
import { CrowdInput, CrowdTextArea } from "./inputs.js";
import { CrowdCheckbox, CrowdRadioButton, CrowdRadioGroup, CrowdToggleButton } from "./choices.js";
import { CrowdSlider, CrowdSliderLabel } from "./slider.js";
import { CrowdButton, CrowdFab, CrowdIconButton } from "./button.js";
import { CrowdAlert, CrowdBadge, CrowdCard, CrowdInstructions, CrowdModal, CrowdToast } from "./surfaces.js";
import { CrowdTab, CrowdTabs } from "./tabs.js";
import * as classifiers from "./classifier.js";
import * as vectors from "./canvas/vector.js";
import * as masks from "./canvas/segmentation.js";
import { CrowdModeration } from "./moderation.js";
import { CrowdTextract } from "./textract.js";
import { CrowdEntityAnnotation } from "./text/entity.js";
import { CrowdQuestionAnswer } from "./text/questions.js";
import { CrowdTextRanking } from "./text/ranking.js";
import { noteChange, openBridge, sayReady } from "./bridge.js";

/** Forms come first: they wrap their children before those are set up. @type {[string, CustomElementConstructor][]} */
const ELEMENTS = [
  ["crowd-form", CrowdForm],
  ["crowd-radio-group", CrowdRadioGroup],
  ["crowd-radio-button", CrowdRadioButton],
  ["crowd-input", CrowdInput],
  ["crowd-text-area", CrowdTextArea],
  ["crowd-checkbox", CrowdCheckbox],
  ["crowd-toggle-button", CrowdToggleButton],
  ["crowd-slider", CrowdSlider],
  ["crowd-slider-label", CrowdSliderLabel],
  ["crowd-button", CrowdButton],
  ["crowd-icon-button", CrowdIconButton],
  ["crowd-fab", CrowdFab],
  ["crowd-card", CrowdCard],
  ["crowd-badge", CrowdBadge],
  ["crowd-alert", CrowdAlert],
  ["crowd-toast", CrowdToast],
  ["crowd-modal", CrowdModal],
  ["crowd-instructions", CrowdInstructions],
  ["crowd-tabs", CrowdTabs],
  ["crowd-tab", CrowdTab],
  ["crowd-classifier", classifiers.CrowdClassifier],
  ["crowd-classifier-multi-select", classifiers.CrowdClassifierMultiSelect],
  ["crowd-image-classifier", classifiers.CrowdImageClassifier],
  ["crowd-image-classifier-multi-select", classifiers.CrowdImageClassifierMultiSelect],
  ["crowd-bounding-box", vectors.CrowdBoundingBox],
  ["crowd-polygon", vectors.CrowdPolygon],
  ["crowd-polyline", vectors.CrowdPolyline],
  ["crowd-line", vectors.CrowdLine],
  ["crowd-keypoint", vectors.CrowdKeypoint],
  ["crowd-semantic-segmentation", masks.CrowdSemanticSegmentation],
  ["crowd-instance-segmentation", masks.CrowdInstanceSegmentation],
  ["crowd-entity-annotation", CrowdEntityAnnotation],
  ["crowd-textract-analyze-document", CrowdTextract],
  ["crowd-rekognition-detect-moderation-labels", CrowdModeration],
  ["crowd-text-ranking", CrowdTextRanking],
  ["crowd-question-answer-generation", CrowdQuestionAnswer],
];

/** Every form of the page, also those that elements bring in their shadow roots. @returns {CrowdForm[]} */
function forms() {
  const own = [...document.querySelectorAll("crowd-entity-annotation")].map((host) =>
    host.shadowRoot?.querySelector("crowd-form"),
  );
  return [...document.querySelectorAll("crowd-form"), ...own].filter((form) => form instanceof CrowdForm);
}

const COLOURS = /(?:^|[\s;{"'])(?:color|background(?:-color)?)\s*:|\b(?:bgcolor|text)\s*=/i;

/**
 * Follows the worker's choice of dark pages, unless the template has colours of its own: these were made
 * for white paper. A template says what it was made for by <meta name="color-scheme">.
 */
function followColours() {
  if (document.querySelector('meta[name="color-scheme"]')) return;
  const own = [...document.querySelectorAll("style, [style], [bgcolor]")].some((element) =>
    COLOURS.test(element.localName === "style" ? (element.textContent ?? "") : element.outerHTML.slice(0, element.outerHTML.indexOf(">"))),
  );
  if (own || document.querySelector('link[rel~="stylesheet"]')) return;
  document.documentElement.style.colorScheme = "light dark";
  document.documentElement.style.background = "light-dark(#fff, #1a2028)";
}

function start() {
  followColours();
  openBridge(forms);
  for (const [name, type] of ELEMENTS) if (!customElements.get(name)) customElements.define(name, type);
  document.addEventListener("crowd-changed-inside", noteChange);
  // After the listeners of DOMContentLoaded, which may wait for this event.
  let isSaid = false;
  const say = () => {
    if (isSaid) return;
    isSaid = true;
    window.setTimeout(sayReady);
  };
  if (document.readyState === "complete") say();
  document.addEventListener("DOMContentLoaded", say);
  window.addEventListener("load", say);
}

start();
