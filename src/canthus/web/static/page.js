/** The page: pictures, videos and the camera go to the worker; what it finds is drawn and shown. */
import { toRecord } from "./canthus.js";

const $ = (id) => document.getElementById(id);
const view = $("canvas");
const pen = view.getContext("2d");
const video = $("video");

const GROUP_COLORS = { jaw: "#5ac8fa", brow: "#ffcc40", nose: "#78e682", eye: "#50f0f0", mouth: "#ff788c" };
const DOUBTFUL = 0.5;
const AXES = [[[-1, 0, 0], "#ff5a5a"], [[0, -1, 0], "#5adc5a"], [[0, 0, -1], "#5a96ff"]]; // prettier-ignore
const SHARP = 1400; // pixels of the longer side to which small pictures are enlarged
const TOLD_EVERY_MS = 200; // numbers of a video, whose layout takes longer than drawing its frames
const WIDEST_EYE = 0.45;
const WIDEST_MOUTH = 1;

/** What is shown: pictures with their frames, or the frames of a video or camera. */
const state = {
  ready: false,
  scheme: null, // of the model
  pictures: [], // {name, bitmap, frame, ms}
  at: 0,
  live: null, // {kind: "camera" | "video"}, a new one for each video
  name: "",
  shown: null, // {image, frame, ms, live, mirrored}; of a video the image is its pixels
  toldMs: 0, // when its numbers were written
  times: [], // of the frames of the last seconds
  model: undefined,
};

// The worker.

let worker;
let calls = new Map();
let lastCall = 0;

/** Ask the worker; see worker.js. */
function ask(type, values = {}, moved = []) {
  return new Promise((resolve, reject) => {
    calls.set(++lastCall, { resolve, reject });
    worker.postMessage({ id: lastCall, type, ...values }, moved);
  });
}

function startWorker() {
  worker?.terminate();
  for (const { reject } of calls.values()) reject(new Error("stopped"));
  calls = new Map();
  worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
  worker.onmessage = ({ data }) => {
    const call = calls.get(data.id);
    calls.delete(data.id);
    if (data.frame) data.frame.scheme = state.scheme;
    if (data.error !== undefined) call?.reject(new Error(data.error));
    else call?.resolve(data);
  };
  worker.onerror = (event) => {
    event.preventDefault();
    for (const { reject } of calls.values()) reject(new Error(event.message || "its files cannot be loaded"));
    calls.clear();
  };
}

let loading; // the last start of the models

/** Open the models anew, as after a change of the settings. */
function load() {
  loading = openModels();
  return loading;
}

/** Whether the models run; waits while they are loaded, so that what is opened early is not lost. */
async function isReady() {
  for (let last; last !== loading; ) await (last = loading);
  return state.ready;
}

async function openModels() {
  state.ready = false;
  say("Loading the models …");
  startWorker();
  const options = { backend: $("backend").value, threads: Number($("threads").value) || 1, model: state.model };
  if ($("least-score").value) options.minScore = Number($("least-score").value);
  try {
    const { about, scheme } = await ask("load", { options });
    const threads = `${about.threads} ${about.threads === 1 ? "thread" : "threads"}`;
    $("about").textContent = `${about.backend === "webgpu" ? "WebGPU" : `wasm, SIMD, ${threads}`}; ${about.name}, ${about.points} points`;
    Object.assign(state, { ready: true, scheme });
    problem(null);
    say("Ready. Open a picture or a video, or start the camera.");
  } catch (error) {
    if (error.message === "stopped") return; // other settings came meanwhile
    problem(`The models cannot be run (${error.message}). ${loadHelp()}`);
    say("");
  }
}

const loadHelp = () =>
  $("backend").value === "webgpu"
    ? "Choose the back end wasm."
    : "Is the server still there? 'canthus fetch web' fetches the files that run the models.";

// Texts.

function say(text) {
  $("status").textContent = text;
}

function problem(text) {
  $("problem").hidden = !text;
  $("problem").textContent = text ?? "";
}

// Pictures.

/** Pictures are marked one after the other; the first video is played. */
async function open(files) {
  const all = [...files];
  const own = all.find((file) => file.name.endsWith(".onnx"));
  if (own) {
    state.model = await own.arrayBuffer();
    await load();
    if (state.ready) await again();
  }
  const clip = all.find((file) => file.type.startsWith("video/"));
  if (clip) return play(clip);
  const pictures = all.filter((file) => file !== own);
  if (!pictures.length || !(await isReady())) return;
  await stop();
  for (const { bitmap } of state.pictures) bitmap.close();
  state.pictures = [];
  problem(null);
  const failed = [];
  for (const [index, file] of pictures.entries()) {
    say(`Picture ${index + 1} of ${pictures.length}: ${file.name}`);
    try {
      const { frame, ms } = await ask("picture", { file });
      const bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
      state.pictures.push({ file, name: file.name, bitmap, frame, ms });
      if (state.live) return; // the camera was started meanwhile
      showPicture(state.pictures.length - 1);
    } catch (error) {
      failed.push(`${file.name}: ${/decode|source image/i.test(error.message) ? "is no picture that this browser can read" : error.message}`);
    }
  }
  if (failed.length) problem(`Could not be read: ${failed.join("; ")}`);
  sayPicture();
}

/** Mark the open pictures with the newly loaded models. */
async function again() {
  for (const picture of state.pictures) Object.assign(picture, await ask("picture", { file: picture.file }));
  if (state.pictures.length && !state.live) showPicture(state.at);
}

function showPicture(index) {
  state.at = index;
  const { bitmap, frame, ms, name } = state.pictures[index];
  state.name = name;
  show(bitmap, frame, ms);
  const several = state.pictures.length > 1;
  $("earlier").hidden = $("later").hidden = !several;
  $("earlier").disabled = index === 0;
  $("later").disabled = index === state.pictures.length - 1;
  sayPicture();
}

function sayPicture() {
  const picture = state.pictures[state.at];
  if (!picture) return say("");
  const { width, height, faces } = picture.frame;
  const place = state.pictures.length > 1 ? `${state.at + 1} of ${state.pictures.length}, ` : "";
  say(`${place}${picture.name}, ${width} x ${height}: ${faces.length || "no"} ${faces.length === 1 ? "face" : "faces"}`);
}

// Video and camera.

async function play(file) {
  if (!(await isReady())) return;
  await stop();
  state.name = file.name;
  video.srcObject = null;
  video.src = URL.createObjectURL(file);
  await run("video", `${file.name} cannot be played by this browser; MP4 with H.264 and WebM can.`);
}

async function startCamera() {
  if (!(await isReady())) return;
  problem(null);
  if (!navigator.mediaDevices?.getUserMedia) {
    return problem("The browser gives the camera only to pages of this machine (127.0.0.1) and to https. Open files instead.");
  }
  await stop();
  say("Asking for the camera …");
  try {
    const wanted = { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 60 }, facingMode: "user" };
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: wanted, audio: false });
  } catch (error) {
    say("");
    return problem(CAMERA_PROBLEMS[error.name] ?? `The camera cannot be started (${error.message || error.name}).`);
  }
  state.name = "camera";
  for (const track of video.srcObject.getVideoTracks()) {
    track.onended = () => {
      stop();
      problem("The camera stopped delivering.");
    };
  }
  await run("camera", "The camera gives no picture.");
}

const CAMERA_PROBLEMS = {
  NotAllowedError: "No permission for the camera. Allow it in the address bar of the browser, then press Start camera again.",
  NotFoundError: "No camera was found. Plug one in, or open a file.",
  NotReadableError: "The camera cannot be read; does another program use it?",
};

async function run(kind, failure) {
  const live = { kind };
  Object.assign(state, { live, times: [], toldMs: 0 });
  $("camera").textContent = kind === "camera" ? "Stop camera" : "Start camera";
  $("camera").setAttribute("aria-pressed", String(kind === "camera"));
  $("pause").hidden = false;
  $("earlier").hidden = $("later").hidden = true;
  try {
    await video.play();
  } catch (error) {
    if (error.name === "AbortError") return;
    await stop();
    say("");
    return problem(failure);
  }
  say(kind === "camera" ? "The camera runs; nothing leaves this device." : `Playing ${state.name}.`);
  await newFrame();
  await follow(live);
}

async function stop() {
  for (const track of video.srcObject?.getTracks() ?? []) {
    track.onended = null;
    track.stop();
  }
  if (video.src.startsWith("blob:")) URL.revokeObjectURL(video.src);
  video.pause();
  video.srcObject = null;
  video.removeAttribute("src");
  state.live = null;
  $("camera").textContent = "Start camera";
  $("camera").setAttribute("aria-pressed", "false");
  $("pause").hidden = true;
  $("pause").textContent = "Pause";
}

/** Mark frame after frame. Each is drawn while the worker is at the next one, if that is there. */
async function follow(live) {
  let [lastS, done] = [-1, null];
  while (state.live === live) {
    try {
      if (!(await isReady())) return stop();
      const { source, timeS } = await grabbed();
      const asked = timeS === lastS ? null : askFrame(source, timeS, lastS < 0);
      if (!asked) source.close();
      lastS = timeS;
      if (done) showFrame(done);
      done = asked ? await asked : await newFrame();
    } catch (error) {
      [lastS, done] = [-1, null];
      if (error.message === "stopped" || state.live !== live) continue; // other settings, or another video
      await stop();
      problem(`The video stopped: ${error.message}`);
    }
  }
}

/** The frame that the video shows, and its time. */
async function grabbed() {
  if (typeof VideoFrame === "undefined") return { source: await createImageBitmap(video), timeS: video.currentTime };
  const source = new VideoFrame(video);
  return { source, timeS: source.timestamp / 1e6 };
}

function newFrame() {
  return new Promise((resolve) => {
    if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(() => resolve(null));
    else requestAnimationFrame(() => resolve(null));
  });
}

function askFrame(source, timeS, begins) {
  const values = { source, timeS, begins, smoothing: $("smooth").checked, spare };
  const moved = spare ? [source, spare.data.buffer] : [source];
  spare = undefined;
  return ask("frame", values, moved);
}

let spare; // pixels of a frame that is not shown any more

function showFrame({ frame, ms, picture }) {
  state.times.push(performance.now());
  show(picture, frame, ms);
}

/** Frames per second, of the last two seconds. */
function rate() {
  const { times } = state;
  while (times[0] < times.at(-1) - 2000) times.shift();
  return times.length > 2 ? ((1000 * (times.length - 1)) / (times.at(-1) - times[0])).toFixed(1) : "–";
}

// Drawing.

function show(image, frame, ms) {
  const nowMs = performance.now();
  if (state.shown?.live) spare = state.shown.image;
  state.shown = { image, frame, ms, live: state.live?.kind, mirrored: false };
  draw();
  if (state.live && nowMs < state.toldMs + TOLD_EVERY_MS) return;
  state.toldMs = nowMs;
  showNumbers();
}

function showNumbers() {
  const { frame, ms, live } = state.shown;
  put($("fps"), live ? rate() : "–");
  put($("faces"), frame.faces.length);
  put($("work"), `${ms.toFixed(ms < 100 ? 1 : 0)} ms`);
  $("save-json").disabled = $("save-overlay").disabled = false;
  showFaces(frame.faces);
  const named = frame.faces.length === 1 ? "1 face" : `${frame.faces.length} faces`;
  view.setAttribute("aria-label", `${state.name || "picture"}: ${named}`);
}

function draw() {
  if (!state.shown) return;
  const { image, frame, live } = state.shown;
  // Small pictures are enlarged, so that their points can be told apart; frames of a video are drawn as they are.
  const scale = live ? 1 : Math.min(Math.max(Math.floor(SHARP / Math.max(frame.width, frame.height)), 1), 4);
  const [width, height] = [scale * frame.width, scale * frame.height];
  if (view.width !== width) view.width = width;
  if (view.height !== height) view.height = height;
  $("hint").hidden = true;
  const mirrored = live === "camera" && $("mirror").checked;
  if (live) putPixels(image, mirrored);
  pen.setTransform(mirrored ? -scale : scale, 0, 0, scale, mirrored ? width : 0, 0);
  if (!live) pen.drawImage(image, 0, 0, frame.width, frame.height);
  const bySize = [...frame.faces].sort((a, b) => side(b.box) - side(a.box));
  for (const face of bySize) drawFace(face, frame.scheme);
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  const at = (x) => (mirrored ? frame.width - x : x);
  for (const face of bySize) drawTexts(face, at, mirrored);
}

/** Rows are reversed in place: a canvas needs five times as long to draw them mirrored. */
function putPixels({ data, width, height }, mirrored) {
  const pixels = new Int32Array(data.buffer);
  if (mirrored !== state.shown.mirrored) {
    for (let start = 0; start < pixels.length; start += width) pixels.subarray(start, start + width).reverse();
  }
  state.shown.mirrored = mirrored;
  pen.putImageData(new ImageData(data, width, height), 0, 0);
}

const side = ([x1, y1, x2, y2]) => Math.max(x2 - x1, y2 - y1);
const unsure = (face) => face.face_confidence !== null && face.face_confidence < DOUBTFUL;

/** Colour of a point: white where it is sure, over orange to red. */
function doubtColor(confidence) {
  const stops = [[235, 40, 40], [255, 150, 40], [255, 255, 255]]; // prettier-ignore
  const place = Math.min(Math.max(confidence, 0), 1) * 2;
  const low = Math.min(Math.floor(place), 1);
  return `rgb(${stops[low].map((value, c) => Math.round(value + (place - low) * (stops[low + 1][c] - value)))})`;
}

function drawFace(face, scheme) {
  const size = side(face.box);
  const width = Math.max(1, size / 220);
  if ($("show-boxes").checked) drawBox(face, width);
  if ($("show-points").checked) drawPoints(face, scheme, size, width);
  if ($("show-pose").checked && face.pose?.yaw_deg !== null && face.pose) drawPose(face, size, width);
}

function drawBox(face, width) {
  const [x1, y1, x2, y2] = face.box;
  const arm = 0.16 * Math.min(x2 - x1, y2 - y1);
  pen.strokeStyle = unsure(face) ? doubtColor(face.face_confidence) : "#fff";
  pen.lineWidth = 1;
  pen.globalAlpha = 0.45;
  pen.strokeRect(x1, y1, x2 - x1, y2 - y1);
  pen.globalAlpha = 1;
  pen.lineWidth = width + 1;
  for (const [x, y, right, down] of [[x1, y1, 1, 1], [x2, y1, -1, 1], [x2, y2, -1, -1], [x1, y2, 1, -1]]) { // prettier-ignore
    pen.beginPath();
    pen.moveTo(x + right * arm, y);
    pen.lineTo(x, y);
    pen.lineTo(x, y + down * arm);
    pen.stroke();
  }
}

function drawPoints(face, scheme, size, width) {
  // The centre of a pixel is half a pixel from its edge, from which the canvas counts.
  const points = face.points.map(([x, y]) => [x + 0.5, y + 0.5]);
  for (const [name, indices] of Object.entries(scheme.groups)) {
    if (name === "points" || name === "other") continue;
    const color = Object.entries(GROUP_COLORS).find(([part]) => name.includes(part))?.[1] ?? "#e6e6e6";
    pen.beginPath();
    for (const index of indices) pen.lineTo(...points[index]);
    if (/(eye|mouth)$/.test(name) && indices.length >= 4) pen.closePath();
    pen.strokeStyle = color;
    pen.lineWidth = width;
    pen.stroke();
  }
  const radius = Math.max(0.7, size / 140);
  points.forEach(([x, y], index) => {
    const sure = face.confidence?.[index] ?? 1;
    pen.beginPath();
    pen.arc(x, y, sure < DOUBTFUL ? 1.7 * radius : radius, 0, 7);
    if (sure < DOUBTFUL) {
      pen.strokeStyle = doubtColor(sure);
      pen.stroke();
    } else {
      pen.fillStyle = doubtColor(sure);
      pen.fill();
    }
  });
}

/** The axes of the head: red to its right, green up, blue out of the face. */
function drawPose(face, size, width) {
  const [yaw, pitch, roll] = ["yaw_deg", "pitch_deg", "roll_deg"].map((name) => (face.pose[name] * Math.PI) / 180);
  const [cy, cp, cr, sy, sp, sr] = [yaw, pitch, roll].map(Math.cos).concat([yaw, pitch, roll].map(Math.sin));
  const turn = [[cr * cy - sr * sp * sy, -sr * cp, cr * sy + sr * sp * cy], [sr * cy + cr * sp * sy, cr * cp, sr * sy - cr * sp * cy]]; // prettier-ignore
  const [x, y] = [(face.box[0] + face.box[2]) / 2, (face.box[1] + face.box[3]) / 2];
  for (const [axis, color] of AXES) {
    const [dx, dy] = turn.map((row) => row[0] * axis[0] + row[1] * axis[1] + row[2] * axis[2]);
    for (const [stroke, wider] of [["#141414", 3], [color, 1]]) { // prettier-ignore
      pen.beginPath();
      pen.moveTo(x, y);
      pen.lineTo(x + 0.5 * size * dx, y + 0.5 * size * dy);
      pen.strokeStyle = stroke;
      pen.lineWidth = width + wider;
      pen.stroke();
    }
  }
}

/** What is written on the picture: the number of a face, "doubtful", and the numbers of points. */
function drawTexts(face, at, mirrored) {
  const height = Math.max(12, 0.09 * side(face.box));
  const [x1, y1, x2, y2] = face.box;
  const left = at(mirrored ? x2 : x1);
  if (face.id !== undefined) write(`#${face.id}`, left, Math.max(y1 - 6, height), height, "#fff");
  if (unsure(face)) write("doubtful", left, y2 + 1.2 * height, height, doubtColor(face.face_confidence));
  if (!$("show-numbers").checked) return;
  face.points.forEach(([x, y], index) => write(String(index), at(x + 2), y - 2, Math.max(8, side(face.box) / 40), "#fff"));
}

function write(text, x, y, height, color) {
  pen.font = `${height}px system-ui, sans-serif`;
  pen.lineJoin = "round";
  pen.lineWidth = Math.max(2, height / 6);
  pen.strokeStyle = "#141414";
  pen.fillStyle = color;
  pen.strokeText(text, x, y);
  pen.fillText(text, x, y);
}

// The list of faces. Its elements are made once and then only get new values, so that 60 frames a second are cheap.

const cards = [];

function showFaces(faces) {
  const shown = faces.slice(0, 4);
  while (cards.length < shown.length) cards.push(faceCard());
  cards.forEach((card, index) => {
    card.root.hidden = index >= shown.length;
    if (index < shown.length) fill(card, shown[index], index);
  });
}

function faceCard() {
  const root = document.createElement("section");
  root.className = "face";
  const [title, pose, sure] = ["h2", "p", "p"].map((tag) => document.createElement(tag));
  const gauges = { right_ear: "Right eye", left_ear: "Left eye", mar: "Mouth" };
  const rows = Object.entries(gauges).map(([key, name]) => {
    const row = document.createElement("div");
    row.className = "gauge";
    const [label, meter, number] = ["span", "meter", "span"].map((tag) => document.createElement(tag));
    label.textContent = name;
    meter.setAttribute("aria-label", name);
    meter.max = key === "mar" ? WIDEST_MOUTH : WIDEST_EYE;
    row.append(label, meter, number);
    return { key, row, meter, number };
  });
  root.append(title, sure, pose, ...rows.map(({ row }) => row));
  $("results").append(root);
  return { root, title, pose, sure, rows };
}

function fill(card, face, index) {
  const blinks = face.blinks === undefined ? "" : `, ${face.blinks} ${face.blinks === 1 ? "blink" : "blinks"}`;
  put(card.title, `Face ${face.id === undefined ? index + 1 : `#${face.id}`}${blinks}`);
  const sure = face.face_confidence === null ? "" : `, points right: ${Math.round(100 * face.face_confidence)} %`;
  put(card.sure, `Score ${Math.round(100 * face.score)} %${sure}`);
  const angle = (name) => (face.pose[name] === null ? "–" : `${Math.round(face.pose[name])}°`);
  put(card.pose, face.pose ? `Yaw ${angle("yaw_deg")}, pitch ${angle("pitch_deg")}, roll ${angle("roll_deg")}` : "No pose for these points");
  for (const { key, row, meter, number } of card.rows) {
    row.hidden = !face.ratios;
    const value = face.ratios?.[key] ?? null;
    meter.value = value ?? 0;
    put(number, value === null ? "–" : value.toFixed(2));
  }
}

function put(element, text) {
  if (element.textContent !== String(text)) element.textContent = text;
}

// Saving.

function save(name, blob) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

const stem = () => state.name.replace(/\.[^.]*$/, "") || "faces";

function saveJson() {
  const shown = state.pictures.length && !state.live && !state.shown.live;
  const records = shown
    ? state.pictures.map(({ frame, name }) => toRecord(frame, name))
    : [toRecord({ ...state.shown.frame, time_s: undefined }, state.name)];
  save(`${stem()}.json`, new Blob([`${JSON.stringify(records)}\n`], { type: "application/json" }));
}

function saveOverlay() {
  view.toBlob((blob) => save(`${stem()}_faces.png`, blob), "image/png");
}

// Controls.

function listen() {
  for (const id of ["files", "model"]) {
    $(id).onchange = async () => {
      const files = [...$(id).files];
      $(id).value = "";
      await open(files);
    };
  }
  $("camera").onclick = () => (state.live?.kind === "camera" ? stop().then(() => say("The camera is off.")) : startCamera());
  $("pause").onclick = pause;
  $("earlier").onclick = () => turn(-1);
  $("later").onclick = () => turn(1);
  $("save-json").onclick = saveJson;
  $("save-overlay").onclick = saveOverlay;
  for (const id of ["show-boxes", "show-points", "show-pose", "show-numbers", "mirror"]) $(id).onchange = draw;
  for (const id of ["backend", "threads", "least-score"]) $(id).onchange = () => load().then(() => state.ready && again());
  document.addEventListener("keydown", onKey);
  listenToDrops();
}

function listenToDrops() {
  const over = (on) => (event) => {
    event.preventDefault();
    $("view").classList.toggle("over", on);
  };
  document.addEventListener("dragover", over(true));
  document.addEventListener("dragleave", over(false));
  document.addEventListener("drop", (event) => {
    over(false)(event);
    open(event.dataTransfer.files);
  });
}

function turn(step) {
  const next = state.at + step;
  if (!state.live && state.pictures[next]) showPicture(next);
}

function pause() {
  if (!state.live) return;
  if (video.paused) video.play();
  else video.pause();
  $("pause").textContent = video.paused ? "Go on" : "Pause";
  if (state.shown?.live) showNumbers();
}

const KEYS = {
  o: () => $("files").click(),
  c: () => $("camera").click(),
  j: () => $("save-json").click(),
  s: () => $("save-overlay").click(),
  m: () => $("smooth").click(),
  " ": pause,
  ArrowLeft: () => turn(-1),
  ArrowRight: () => turn(1),
};

function onKey(event) {
  const control = event.target.closest?.("input, select, button, label");
  const typing = control?.matches("select, input[type=number]");
  if (event.ctrlKey || event.metaKey || event.altKey || typing || (control && event.key === " ")) return;
  const action = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!action) return;
  event.preventDefault();
  action();
}

/** What this browser lacks, or null. */
function missing() {
  if (typeof WebAssembly === "undefined") return "This browser has no WebAssembly, which runs the networks. It may be switched off.";
  if (typeof OffscreenCanvas === "undefined" || typeof createImageBitmap === "undefined") {
    return "This browser is too old: it has no OffscreenCanvas. Firefox 105, Chrome 69, Safari 16.4 and later have it.";
  }
  return null;
}

/** Offer WebGPU only where it runs: some browsers know it, and have no graphics processor for it. */
async function checkWebGpu() {
  const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
  if (adapter) return;
  const choice = $("backend").querySelector("[value=webgpu]");
  choice.disabled = true;
  choice.textContent = "WebGPU (not in this browser)";
}

checkWebGpu();
if (!globalThis.crossOriginIsolated) $("threads").disabled = true;
$("threads").max = navigator.hardwareConcurrency || 1;
listen();
const lacking = missing();
if (lacking) {
  problem(lacking);
  say("");
  for (const control of document.querySelectorAll("#actions button, #actions input")) control.disabled = true;
} else load();
