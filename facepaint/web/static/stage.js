const $ = (selector) => element.querySelector(selector);
const fp = $(".fp"), frame = $(".fp-frame"), canvas = $(".fp-canvas"), divider = $(".fp-divider");
const before = $(".before"), after = $(".after"), status = $(".fp-status");
const LARGEST = 16; // times the fitted size
const state = { value: null, zoom: 1, x: 0, y: 0, split: 0, sharp: 0, timer: 0, beforeIs: "" };

const say = (text, wrong = false) => {
  status.textContent = text;
  status.classList.toggle("wrong", wrong);
};

// --- opening

const open = async (blob, name) => {
  fp.classList.add("busy");
  say("Reading the photo…");
  try {
    const opened = await window.facepaint.open(blob, name);
    say(opened.faces ? "" : "No face found; a larger, sharper or more upright picture of it may help.", !opened.faces);
    trigger("opened", { key: opened.key });
  } catch (error) {
    say(error.message, true);
  } finally {
    fp.classList.remove("busy");
  }
};
const file = $(".file");
$(".choose").onclick = () => file.click();
$(".another").onclick = () => file.click();
file.onchange = () => {
  if (file.files[0]) open(file.files[0], file.files[0].name);
  file.value = "";
};
window.facepaint.dropping(fp, open);
document.addEventListener("paste", (event) => {
  const picture = window.facepaint.picture(event.clipboardData);
  if (picture) open(picture, picture.name || "pasted.png");
});
const example = $(".example");
example.hidden = !props.value?.example;
example.onclick = async () => open(await (await fetch("/studio/example")).blob(), "astronaut.png");

const camera = $(".fp-camera"), video = $("video");
$(".camera").hidden = !navigator.mediaDevices?.getUserMedia;
$(".camera").onclick = async () => {
  try {
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { width: 1920, height: 1080 } });
    camera.showModal();
    await video.play();
  } catch {
    say("The camera cannot be used; the browser or the system forbids it, or there is none.", true);
  }
};
camera.onclose = () => video.srcObject?.getTracks().forEach((track) => track.stop());
$(".close").onclick = () => camera.close();
$(".take").onclick = () => {
  const picture = document.createElement("canvas");
  [picture.width, picture.height] = [video.videoWidth, video.videoHeight];
  picture.getContext("2d").drawImage(video, 0, 0);
  picture.toBlob((blob) => open(blob, "camera.jpg"), "image/jpeg", 0.95);
  camera.close();
};

// --- showing

const address = (what) => `/studio/photos/${state.value.key}/${what}`;
const place = () => {
  const { zoom, x, y, split } = state;
  const { clientWidth: wide, clientHeight: high } = frame;
  state.x = Math.min(0, Math.max(wide * (1 - zoom), x));
  state.y = Math.min(0, Math.max(high * (1 - zoom), y));
  canvas.style.transform = `translate(${state.x}px, ${state.y}px) scale(${zoom})`;
  canvas.style.setProperty("--zoom", zoom);
  const at = (split * wide - state.x) / zoom / wide; // of the canvas
  before.style.clipPath = `inset(0 ${100 - 100 * Math.min(1, Math.max(0, at))}% 0 0)`;
  divider.style.left = `${100 * split}%`;
  divider.style.setProperty("--split", split);
  divider.setAttribute("aria-valuenow", Math.round(100 * split));
  frame.classList.toggle("split", split > 0.02);
  frame.classList.toggle("zoomed", zoom > 1.001);
  const scale = (wide * zoom * devicePixelRatio) / (state.value?.width || wide);
  $(".zoom").textContent = `${Math.round(100 * scale)} %`;
  sharpen();
};
const zoomTo = (zoom, cx = frame.clientWidth / 2, cy = frame.clientHeight / 2) => {
  const next = Math.min(LARGEST, Math.max(1, zoom));
  state.x = cx - ((cx - state.x) / state.zoom) * next;
  state.y = cy - ((cy - state.y) / state.zoom) * next;
  state.zoom = next;
  place();
};
const splitAt = (part) => {
  state.split = Math.min(1, Math.max(0, part));
  place();
};

// The preview has the size of a screen; zoomed in, the photo's own pixels are fetched.
const sharpen = () => {
  const value = state.value;
  if (!value || value.width <= value.shown) return;
  if (frame.clientWidth * state.zoom * devicePixelRatio <= value.shown * 1.05) return;
  clearTimeout(state.timer);
  state.timer = setTimeout(async () => {
    if (state.beforeIs !== `${value.key} whole`) {
      state.beforeIs = `${value.key} whole`;
      before.src = address("before?whole=true");
      if (!value.after) after.src = before.src;
    }
    if (!value.after || state.sharp === value.version) return;
    const picture = new Image();
    picture.src = address(`after?version=${value.version}`);
    await picture.decode().catch(() => {});
    if (state.value !== value || !picture.naturalWidth) return;
    state.sharp = value.version;
    after.src = picture.src;
  }, 350);
};

const outline = (face) => {
  const { width, height, chosen } = state.value;
  const [x, y, wide, high] = face.box;
  const button = document.createElement("button");
  const isChosen = chosen.includes(face.index);
  button.type = "button";
  button.dataset.face = face.index;
  button.setAttribute("aria-pressed", isChosen);
  button.setAttribute("aria-label", `Face ${face.index}, ${face.expression}`);
  button.title = `Face ${face.index}, ${face.expression}. With Shift or Ctrl, several.`;
  const part = (n, whole) => `${(100 * n) / whole}%`;
  Object.assign(button.style, { left: part(x, width), top: part(y, height), width: part(wide, width), height: part(high, height) });
  button.innerHTML = `<b>${face.index}</b>`;
  button.onclick = (event) => {
    if (state.dragged) return;
    const several = event.shiftKey || event.ctrlKey || event.metaKey;
    const rest = chosen.filter((index) => index !== face.index);
    trigger("chose", { faces: several ? (isChosen ? rest : [...rest, face.index]) : [face.index] });
  };
  return button;
};

const outlines = () => {
  const focused = document.activeElement?.closest?.(".fp-faces button")?.dataset.face;
  $(".fp-faces").replaceChildren(...state.value.faces.map(outline));
  if (focused !== undefined) $(`.fp-faces button[data-face="${focused}"]`)?.focus();
};

const show = async (value) => {
  if (!value?.key) return;
  const isOther = state.value?.key !== value.key;
  if (!isOther && value.version < state.value.version) return; // an older answer that came later
  state.value = value;
  if (isOther) {
    Object.assign(state, { zoom: 1, x: 0, y: 0, split: 0, sharp: 0, beforeIs: value.key });
    fp.dataset.state = "open";
    frame.style.setProperty("--shape", value.width / value.height);
    before.src = address("before");
  }
  outlines();
  const picture = value.after ? `data:image/jpeg;base64,${value.after}` : before.src;
  if (value.after) {
    const next = new Image();
    next.src = picture;
    await next.decode().catch(() => {});
    if (state.value !== value) return;
  }
  after.src = picture;
  frame.dataset.version = value.version;
  place();
};
watch("value", () => show(props.value));
new ResizeObserver(() => state.value && place()).observe(frame);

// --- tools, keys, pointers

$(".smaller").onclick = () => zoomTo(state.zoom / 1.5);
$(".larger").onclick = () => zoomTo(state.zoom * 1.5);
$(".fit").onclick = () => zoomTo(1);
$(".pixels").onclick = () => zoomTo(state.value.width / frame.clientWidth / devicePixelRatio);
$(".outlines").onclick = ({ currentTarget: button }) => {
  const shown = frame.classList.toggle("plain");
  button.setAttribute("aria-pressed", !shown);
};
frame.addEventListener("wheel", (event) => {
  if (!event.ctrlKey && !event.metaKey && state.zoom === 1 && event.deltaY > 0) return; // the page scrolls
  event.preventDefault();
  const { left, top } = frame.getBoundingClientRect();
  zoomTo(state.zoom * Math.exp(-event.deltaY / 400), event.clientX - left, event.clientY - top);
}, { passive: false });
frame.addEventListener("keydown", (event) => {
  if (event.target !== frame) return;
  const step = 60;
  const moves = { ArrowLeft: [step, 0], ArrowRight: [-step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
  if (event.key === "+" || event.key === "=") zoomTo(state.zoom * 1.25);
  else if (event.key === "-") zoomTo(state.zoom / 1.25);
  else if (event.key === "0") zoomTo(1);
  else if (moves[event.key] && state.zoom > 1) {
    state.x += moves[event.key][0];
    state.y += moves[event.key][1];
    place();
  } else return;
  event.preventDefault();
});
divider.addEventListener("keydown", (event) => {
  const steps = { ArrowLeft: state.split - 0.02, ArrowRight: state.split + 0.02, Home: 0, End: 1 };
  if (!(event.key in steps)) return;
  splitAt(steps[event.key]);
  event.preventDefault();
});

const pointers = new Map();
const spread = () => {
  const [a, b] = [...pointers.values()];
  return { apart: Math.hypot(a.x - b.x, a.y - b.y), x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 };
};
frame.addEventListener("pointerdown", (event) => {
  pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  state.dragged = false;
  state.onDivider = event.target.closest(".fp-divider") !== null;
  if (state.onDivider) divider.setPointerCapture(event.pointerId);
});
frame.addEventListener("pointermove", (event) => {
  const last = pointers.get(event.pointerId);
  if (!last) return;
  const { left, top, width } = frame.getBoundingClientRect();
  const was = pointers.size === 2 ? spread() : null;
  const [dx, dy] = [event.clientX - last.x, event.clientY - last.y];
  if (!state.dragged && Math.hypot(dx, dy) < 4) return; // a click that trembles
  state.dragged = true;
  pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  if (state.onDivider) splitAt((event.clientX - left) / width);
  else if (was) {
    const now = spread();
    zoomTo((state.zoom * now.apart) / was.apart, now.x - left, now.y - top);
  } else if (state.zoom > 1) {
    state.x += dx;
    state.y += dy;
    place();
  }
});
for (const name of ["pointerup", "pointercancel", "pointerleave"])
  frame.addEventListener(name, (event) => pointers.delete(event.pointerId));
document.addEventListener("keydown", (event) => {
  const writes = event.target.matches?.("input[type=text], input[type=number], textarea");
  if (!(event.ctrlKey || event.metaKey) || event.key !== "z" || writes || !state.value) return;
  event.preventDefault();
  document.querySelector("#undo").click();
});

// --- saving

$(".save").onclick = async () => {
  say("Making the photo…");
  try {
    const response = await window.facepaint.answer(await fetch(address("file")));
    const [, name] = response.headers.get("Content-Disposition").split("UTF-8''");
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await response.blob());
    link.download = decodeURIComponent(name);
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    say(`Saved as ${link.download}`);
  } catch (error) {
    say(error.message, true);
  }
};
