/**
 * Runs the networks in a thread of its own, so that the page stays quick. Each message has an `id`, and gets one answer
 * with the same `id`: its result, or `error`.
 *
 * - `load`: options of `loadPipeline`; answers what was loaded.
 * - `picture`: `file`, a picture file; answers its frame.
 * - `frame`: `source`, what a video shows, its `timeS`, whether a video `begins`, which one also does that is wound back,
 *   whether its points get `smoothing`, and a `spare` picture; answers the frame, the milliseconds it took, and the pixels.
 *
 * Frames come without their scheme, which is always that of the model.
 */
import { BlinkCounter, Tracker, loadPipeline, readPicture } from "./canthus.js";

const MOST_PIXELS = 100e6;
let pipeline;
let tracker;
let blinks = new Map();
let lastS;

const actions = {
  async load({ options }) {
    pipeline = await loadPipeline(options);
    tracker = undefined;
    const { name, scheme, size } = pipeline.cards.model;
    return { about: { ...pipeline.about, name, scheme, size, points: pipeline.scheme.count }, scheme: pipeline.scheme };
  },

  async picture({ file }) {
    const picture = await readPicture(file);
    if (picture.width * picture.height > MOST_PIXELS) {
      throw new Error(`the picture has ${picture.width} x ${picture.height} pixels, more than ${MOST_PIXELS / 1e6} million`);
    }
    const startMs = performance.now();
    const frame = await pipeline.detect(picture);
    return { frame: { ...frame, scheme: undefined }, ms: performance.now() - startMs };
  },

  async frame({ source, timeS, begins, smoothing, spare }) {
    const startMs = performance.now();
    const picture = await readPicture(source, spare);
    source.close();
    if (begins || !tracker || timeS <= lastS) [tracker, blinks] = [new Tracker(pipeline), new Map()];
    lastS = timeS;
    tracker.settings.smoothing = smoothing;
    const frame = await tracker.next(picture, timeS);
    for (const face of frame.faces) {
      if (!face.ratios) continue;
      if (!blinks.has(face.id)) blinks.set(face.id, new BlinkCounter());
      face.blinks = blinks.get(face.id).next(face.ratios, timeS, face.upper);
    }
    const [seen, lost] = [frame.faces, tracker.lost].map((faces) => new Set(faces.map(({ id }) => id)));
    for (const [id, counter] of blinks) {
      if (lost.has(id)) counter.next(null, timeS);
      else if (!seen.has(id)) blinks.delete(id); // its number does not come back
    }
    return { frame: { ...frame, scheme: undefined }, ms: performance.now() - startMs, picture };
  },
};

let before = Promise.resolve(); // one message after the other

self.onmessage = ({ data }) => {
  before = before.then(async () => {
    try {
      const result = await actions[data.type](data);
      self.postMessage({ id: data.id, ...result }, result.picture ? [result.picture.data.buffer] : []);
    } catch (error) {
      self.postMessage({ id: data.id, error: String(error?.message ?? error) });
    }
  });
};
