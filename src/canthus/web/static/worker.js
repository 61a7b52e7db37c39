/**
 * Runs the networks in a thread of its own, so that the page stays quick. Each message has an `id`, and gets one answer
 * with the same `id`: its result, or `error`.
 *
 * - `load`: options of `loadPipeline`; answers what was loaded.
 * - `picture`: `file`, a picture file; answers its frame.
 * - `track`: `settings` of a new video.
 * - `frame`: `bitmap` and `timeS`; answers the frame, the milliseconds it took, and the bitmap.
 */
import { BlinkCounter, Tracker, loadPipeline, readPicture } from "./canthus.js";

const MOST_PIXELS = 100e6;
let pipeline;
let tracker;
let blinks = new Map();

const actions = {
  async load({ options }) {
    pipeline = await loadPipeline(options);
    tracker = undefined;
    const { name, scheme, size } = pipeline.cards.model;
    return { about: { ...pipeline.about, name, scheme, size, points: pipeline.scheme.count } };
  },

  async picture({ file }) {
    const picture = await readPicture(file);
    if (picture.width * picture.height > MOST_PIXELS) {
      throw new Error(`the picture has ${picture.width} x ${picture.height} pixels, more than ${MOST_PIXELS / 1e6} million`);
    }
    const startMs = performance.now();
    const frame = await pipeline.detect(picture);
    return { frame, ms: performance.now() - startMs };
  },

  async track({ settings }) {
    if (tracker && settings.keep) Object.assign(tracker.settings, settings);
    else {
      tracker = new Tracker(pipeline, settings);
      blinks = new Map();
    }
    return {};
  },

  async frame({ bitmap, timeS }) {
    const startMs = performance.now();
    const frame = await tracker.next(await readPicture(bitmap), timeS);
    for (const face of frame.faces) {
      if (!face.ratios) continue;
      if (!blinks.has(face.id)) blinks.set(face.id, new BlinkCounter());
      face.blinks = blinks.get(face.id).next(face.ratios, timeS);
    }
    const [seen, lost] = [frame.faces, tracker.lost].map((faces) => new Set(faces.map(({ id }) => id)));
    for (const [id, counter] of blinks) {
      if (lost.has(id)) counter.next(null, timeS);
      else if (!seen.has(id)) blinks.delete(id); // its number does not come back
    }
    return { frame, ms: performance.now() - startMs, detections: tracker.detections, bitmap };
  },
};

let before = Promise.resolve(); // one message after the other

self.onmessage = ({ data }) => {
  before = before.then(async () => {
    try {
      const result = await actions[data.type](data);
      self.postMessage({ id: data.id, ...result }, result.bitmap ? [result.bitmap] : []);
    } catch (error) {
      self.postMessage({ id: data.id, error: String(error?.message ?? error) });
    }
  });
};
