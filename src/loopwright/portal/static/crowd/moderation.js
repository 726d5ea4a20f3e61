/** crowd-rekognition-detect-moderation-labels: an image classifier that answers with the whole categories. */
import { isMap } from "./base.js";
import { CrowdImageClassifierMultiSelect } from "./classifier.js";
import { nameOf } from "./task.js";

const KEY = "AWS/Rekognition/DetectModerationLabels/Image/V3";

export class CrowdModeration extends CrowdImageClassifierMultiSelect {
  get exclusion() {
    return super.exclusion || "None";
  }

  /** @returns {any} */
  submittable() {
    if (!this.chosen.size) return undefined;
    const items = this.items("categories").filter((item) => this.chosen.has(nameOf(item)));
    return { ModerationLabels: items.map((item) => (isMap(item) ? item : { name: nameOf(item) })) };
  }

  /** @param {import("./base.js").Answer} answer */
  contribute(answer) {
    const value = this.submittable();
    if (value) answer[KEY] = value;
  }

  /** @param {import("./base.js").Answer} answer */
  takeBack(answer) {
    const value = answer[KEY];
    const list = isMap(value) && Array.isArray(value.ModerationLabels) ? value.ModerationLabels.map(nameOf) : null;
    this.value = list && !list.length ? [this.exclusion] : list ?? [];
  }
}
