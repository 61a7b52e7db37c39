/**
 * Pixels: pictures of files and videos, and what the networks see of them. A picture has four bytes a pixel, the input of a
 * network three.
 *
 * @typedef {import("./canthus.js").Affine} Affine
 * @typedef {import("./canthus.js").Box} Box
 * @typedef {import("./canthus.js").Picture} Picture
 */
import { between, hullBox, roundEven, turned } from "./boxes.js";

/**
 * The pixels of a picture file, upright and with its alpha dropped, as Python reads it; of a video or canvas, as it is shown.
 *
 * @param {Blob|ImageBitmap|VideoFrame|HTMLVideoElement|HTMLCanvasElement|OffscreenCanvas} source
 * @param {Picture} [spare]  a picture that is not needed any more, whose memory the pixels of a video frame may get
 * @returns {Promise<Picture>}
 */
export async function readPicture(source, spare) {
  const copied = await copyFrame(source, spare);
  if (copied) return copied;
  const asStored = { imageOrientation: "from-image", colorSpaceConversion: "none", premultiplyAlpha: "none" };
  const shown = source instanceof Blob ? await createImageBitmap(source, asStored) : source;
  const width = shown.displayWidth ?? shown.videoWidth ?? shown.width;
  const height = shown.displayHeight ?? shown.videoHeight ?? shown.height;
  if (!canvas || canvas.width !== width || canvas.height !== height) {
    canvas = new OffscreenCanvas(width, height);
    pen = canvas.getContext("2d", { willReadFrequently: true });
  }
  pen.globalCompositeOperation = "copy"; // what was there before does not shine through
  pen.drawImage(shown, 0, 0);
  const picture = pen.getImageData(0, 0, width, height);
  if (source instanceof Blob) {
    if (isTransparent(picture)) readStored(shown, picture);
    shown.close();
  }
  return picture;
}

/**
 * Convert the frame of a video straight into memory: a third of the time of a canvas. Null where that is not possible: it is
 * turned, its pixels are not square, or the browser cannot do it.
 */
async function copyFrame(frame, spare) {
  if (typeof VideoFrame === "undefined" || !(frame instanceof VideoFrame)) return null;
  const { displayWidth: width, displayHeight: height, visibleRect: seen } = frame;
  if (frame.rotation !== 0 || frame.flip || seen?.width !== width || seen.height !== height) return null;
  const data = spare?.data.length === 4 * width * height ? spare.data : new Uint8ClampedArray(4 * width * height);
  const [plane] = await frame.copyTo(data, { format: "RGBA" }).catch(() => [null]);
  return plane?.stride === 4 * width ? { data, width, height } : null;
}

/** @type {OffscreenCanvas} */ let canvas;
/** @type {OffscreenCanvasRenderingContext2D} */ let pen;

/** @param {Picture} picture */
function isTransparent({ data }) {
  for (let at = 3; at < data.length; at += 4) if (data[at] !== 255) return true;
  return false;
}

/**
 * Read the colours as they are stored. A canvas keeps them multiplied by alpha, so that those of transparent pixels are lost;
 * a texture does not. Where there is no WebGL, the picture stays as it is: over black.
 *
 * @param {ImageBitmap} bitmap
 * @param {Picture} picture  gets the colours
 */
function readStored(bitmap, picture) {
  const gl = new OffscreenCanvas(1, 1).getContext("webgl2");
  if (!gl) return;
  if (Math.max(picture.width, picture.height) <= gl.getParameter(gl.MAX_TEXTURE_SIZE)) {
    const texture = gl.createTexture();
    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, bitmap);
    gl.bindFramebuffer(gl.FRAMEBUFFER, gl.createFramebuffer());
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, texture, 0);
    gl.readPixels(0, 0, picture.width, picture.height, gl.RGBA, gl.UNSIGNED_BYTE, picture.data);
  }
  gl.getExtension("WEBGL_lose_context")?.loseContext(); // a page may hold a few contexts only
}

/**
 * A picture, or a rectangle of it, at half its size, each pixel the mean of four; an odd last row or column is dropped.
 *
 * @param {Picture} picture
 * @param {{left?: number, top?: number, width?: number, height?: number}} [rectangle]
 * @returns {Picture}
 */
export function halve(picture, { left = 0, top = 0, width = picture.width, height = picture.height } = {}) {
  const [columns, rows] = [Math.max(1, width >> 1), Math.max(1, height >> 1)];
  const from = new Int32Array(picture.data.buffer, picture.data.byteOffset, picture.width * picture.height);
  const to = new Int32Array(columns * rows);
  const right = width > 1 ? 1 : 0;
  const down = height > 1 ? picture.width : 0;
  for (let y = 0, at = 0; y < rows; y++) {
    let first = (top + 2 * y) * picture.width + left;
    for (let x = 0; x < columns; x++, first += 2) {
      const a = from[first];
      const b = from[first + right];
      const c = from[first + down];
      const d = from[first + down + right];
      // Two channels of a pixel at a time, each in 16 bits.
      const even = (a & EVEN) + (b & EVEN) + (c & EVEN) + (d & EVEN) + 0x20002;
      const odd = ((a >>> 8) & EVEN) + ((b >>> 8) & EVEN) + ((c >>> 8) & EVEN) + ((d >>> 8) & EVEN) + 0x20002;
      to[at++] = ((even >>> 2) & EVEN) | (((odd >>> 2) & EVEN) << 8);
    }
  }
  return { data: new Uint8ClampedArray(to.buffer), width: columns, height: rows };
}

const EVEN = 0xff00ff; // every second channel

/** A rectangle of a picture. @returns {Picture} */
export function part(picture, left, top, width, height) {
  const data = new Uint8ClampedArray(width * height * 4);
  for (let y = 0; y < height; y++) {
    const start = 4 * ((top + y) * picture.width + left);
    data.set(picture.data.subarray(start, start + 4 * width), 4 * y * width);
  }
  return { data, width, height };
}

/**
 * Resize a picture to a longer side of `size`, then pad it with black on the right and at the bottom.
 *
 * @param {Picture} picture
 * @param {number} size
 * @param {number} multiple  both sides are padded to multiples of this
 * @returns {{data: Uint8Array, width: number, height: number, toPicture: Affine}}
 */
export function fitImage(picture, size, multiple) {
  const scale = Math.min(size / Math.max(picture.height, picture.width), 2);
  const [columns, rows] = [picture.width, picture.height].map((side) => Math.max(1, roundEven(side * scale)));
  let [small, stepX, stepY] = [picture, 1, 1];
  while (Math.max(small.height / rows, small.width / columns) >= 2) {
    [stepX, stepY] = [stepX * Math.min(2, small.width), stepY * Math.min(2, small.height)];
    small = halve(small);
  }
  const [growX, growY] = [(stepX * small.width) / columns, (stepY * small.height) / rows];
  const [width, height] = [columns, rows].map((side) => Math.ceil(side / multiple) * multiple);
  const data = new Uint8Array(width * height * 3);
  resize(small, columns, rows, data, width);
  return { data, width, height, toPicture: { x: [growX, 0, growX / 2 - 0.5], y: [0, growY, growY / 2 - 0.5] } };
}

/**
 * Resize into the first rows and columns of `data`, whose rows have `stride` pixels; bilinear, with the weights of 11 bits
 * and the roundings of OpenCV, so that the networks see the same bytes.
 */
function resize(picture, columns, rows, data, stride) {
  if (columns === picture.width && rows === picture.height) return copyColors(picture, data, stride);
  const across = taps(picture.width, columns);
  const down = taps(picture.height, rows);
  const sums = [new Int32Array(3 * columns), new Int32Array(3 * columns)];
  const held = [-1, -1]; // rows of the picture in `sums`
  const summed = (row) => {
    if (held[row & 1] !== row) addAcross(picture, row, across, sums[row & 1]);
    held[row & 1] = row;
    return sums[row & 1];
  };
  for (let y = 0; y < rows; y++) {
    const low = down.low[y];
    const [above, below] = [summed(low), summed(Math.min(low + 1, picture.height - 1))];
    const [first, second] = [down.first[y], down.second[y]];
    for (let i = 0, to = 3 * y * stride; i < 3 * columns; i++, to++) {
      data[to] = (((first * (above[i] >> 4)) >> 16) + ((second * (below[i] >> 4)) >> 16) + 2) >> 2;
    }
  }
}

/** Drop the fourth byte of each pixel. */
function copyColors({ data: from, width, height }, data, stride) {
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0, to = 3 * y * stride; x < width; x++, at += 4, to += 3) {
      data[to] = from[at];
      data[to + 1] = from[at + 1];
      data[to + 2] = from[at + 2];
    }
  }
}

/** One row of a picture, resized and times 2048. */
function addAcross({ data, width }, row, { low, first, second }, sums) {
  for (let x = 0, to = 0; x < low.length; x++) {
    const left = 4 * (row * width + low[x]);
    const right = low[x] + 1 < width ? left + 4 : left;
    for (let c = 0; c < 3; c++, to++) sums[to] = data[left + c] * first[x] + data[right + c] * second[x];
  }
}

/** For each pixel of a resized side, the first of the two pixels that it lies between, and the weights of both. */
function taps(before, after) {
  const [low, first, second] = [new Int32Array(after), new Int32Array(after), new Int32Array(after)];
  for (let index = 0; index < after; index++) {
    const place = Math.fround(between(((index + 0.5) * before) / after - 0.5, 0, before - 1));
    low[index] = Math.floor(place);
    const share = Math.fround(place - low[index]);
    [first[index], second[index]] = [roundEven(Math.fround(1 - share) * 2048), roundEven(share * 2048)];
  }
  return { low, first, second };
}

/** Square with the centre of a box and `margin` times its longer side. @returns {Box} */
export function cropSquare([x1, y1, x2, y2], margin) {
  const [x, y, half] = [(x1 + x2) / 2, (y1 + y2) / 2, (margin * Math.max(x2 - x1, y2 - y1)) / 2];
  return [x - half, y - half, x + half, y + half].map(Math.fround);
}

/**
 * Crop a square and resample it to `size` pixels; black outside the picture. A region more than twice as large is first
 * halved, as often as possible.
 *
 * @param {Picture} picture
 * @param {Box} square
 * @param {number} size
 * @param {Uint8Array} data  gets the RGB bytes, from `to` on
 * @param {number} [to]
 * @param {number} [turn]  of the square about its centre, in radians clockwise on the screen
 */
export function cropImage(picture, [x1, y1, x2, y2], size, data, to = 0, turn = 0) {
  const scale = (x2 - x1) / size;
  const centre = [(x1 + x2 - 1) / 2, (y1 + y2 - 1) / 2];
  const place = (column, row) => turned([(column + 0.5) * scale + x1 - 0.5, (row + 0.5) * scale + y1 - 0.5], turn, centre);
  const halvings = Math.max(0, Math.ceil(Math.log2((x2 - x1) / (2 * size))));
  let [small, left, top] = [picture, 0, 0];
  const step = 2 ** halvings;
  if (halvings) {
    const ends = [[0, 0], [size, 0], [0, size], [size, size]].map(([x, y]) => place(x - 0.5, y - 0.5)); // prettier-ignore
    const shown = turn ? hullBox(ends) : [x1, y1, x2, y2];
    left = between(Math.floor(shown[0]) - step, 0, picture.width);
    top = between(Math.floor(shown[1]) - step, 0, picture.height);
    const columns = Math.floor((between(Math.ceil(shown[2]) + step, 0, picture.width) - left) / step);
    const rows = Math.floor((between(Math.ceil(shown[3]) + step, 0, picture.height) - top) / step);
    if (columns < 1 || rows < 1) return;
    small = halve(picture, { left, top, width: columns * step, height: rows * step });
    for (let done = 1; done < halvings; done++) small = halve(small);
  }
  const [cos, sin] = [Math.cos(turn), Math.sin(turn)].map((value) => (value * scale) / step);
  const [startX, startY] = place(0, 0);
  const map = { x: [cos, -sin, (startX + 0.5 - left) / step - 0.5], y: [sin, cos, (startY + 0.5 - top) / step - 0.5] };
  warp(small, map, size, data, to);
}

/** Resample a picture through a map from pixels of the result; bilinear at 32nds of a pixel, as OpenCV. @param {Affine} map */
function warp(picture, { x, y }, size, data, to) {
  const { data: from, width, height } = picture;
  const fixed = (value) => roundEven(value * 1024);
  const [across, down] = [x, y].map(([step]) => Int32Array.from({ length: size }, (_, column) => fixed(column * step)));
  const last = [4 * (width - 1), 4 * width * (height - 1)]; // column and row, in bytes as `left` and `above`
  for (let row = 0; row < size; row++) {
    const [startX, startY] = [x, y].map(([, step, start]) => fixed(row * step + start) + 16);
    for (let column = 0; column < size; column++, to += 3) {
      const placeX = (startX + across[column]) >> 5;
      const placeY = (startY + down[column]) >> 5;
      const left = 4 * (placeX >> 5);
      const above = 4 * width * (placeY >> 5);
      const u = placeX & 31;
      const v = placeY & 31;
      if (left >= 0 && left < last[0] && above >= 0 && above < last[1]) {
        const first = above + left;
        const second = first + 4 * width;
        for (let c = 0; c < 3; c++) {
          const upper = (32 - u) * from[first + c] + u * from[first + 4 + c];
          const lower = (32 - u) * from[second + c] + u * from[second + 4 + c];
          data[to + c] = ((32 - v) * upper + v * lower + 512) >> 10;
        }
      } else {
        // At the edge and outside, where the picture is black.
        const isInside = (x, y) => x >= 0 && x <= last[0] && y >= 0 && y <= last[1];
        const at = (dx, dy, c) => (isInside(left + dx, above + dy) ? from[above + dy + left + dx + c] : 0);
        for (let c = 0; c < 3; c++) {
          const upper = (32 - u) * at(0, 0, c) + u * at(4, 0, c);
          const lower = (32 - u) * at(0, 4 * width, c) + u * at(4, 4 * width, c);
          data[to + c] = ((32 - v) * upper + v * lower + 512) >> 10;
        }
      }
    }
  }
}
