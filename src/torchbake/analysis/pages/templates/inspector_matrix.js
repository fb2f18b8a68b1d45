// The affinities as a picture, and the sliders.

// ---- the matrix ----

const canvas = find("matrix");
const marks = find("marks");
canvas.width = canvas.height = n;
let hovered = [0, n > 1 ? 1 : 0];

const color = (name) => {
  const probe = element("span");
  probe.style.color = `var(${name})`;
  root.append(probe);
  const found = getComputedStyle(probe).color.match(/[\d.]+/g).slice(0, 3).map(Number);
  probe.remove();
  return found;
};

function drawMatrix() {
  let low = Infinity;
  let high = 0;
  for (let at = 0; at < n * n; at++) {
    if (at % (n + 1) === 0) continue;
    low = Math.min(low, affinities[at]);
    high = Math.max(high, affinities[at]);
  }
  const [from, to] = [color("--ground"), color("--accent")];
  const context = canvas.getContext("2d");
  const image = context.createImageData(n, n);
  for (let at = 0; at < n * n; at++) {
    const t = at % (n + 1) === 0 ? 0 : Math.sqrt((affinities[at] - low) / (high - low || 1));
    for (let k = 0; k < 3; k++) image.data[4 * at + k] = from[k] + (to[k] - from[k]) * t;
    image.data[4 * at + 3] = 255;
  }
  context.putImageData(image, 0, 0);
  const digits = high < 0.1 ? 2 : 1;
  find("low").textContent = n > 1 ? percent(low, digits) : "";
  find("high").textContent = n > 1 ? percent(high, digits) : "";
}

function drawMarks() {
  const ratio = window.devicePixelRatio || 1;
  const size = Math.round(canvas.clientWidth * ratio);
  if (!size) return;
  marks.width = marks.height = size;
  const cell = size / n;
  const context = marks.getContext("2d");
  context.clearRect(0, 0, size, size);
  const line = (name, alpha) => `rgb(${color(name).join(" ")} / ${alpha})`;
  context.strokeStyle = line("--text", 0.25);
  context.lineWidth = 1;
  for (let i = 1; i < n; i++) {
    if (groups[i] === groups[i - 1]) continue;
    const at = Math.round(i * cell) + 0.5;
    context.beginPath();
    context.moveTo(at, 0);
    context.lineTo(at, size);
    context.moveTo(0, at);
    context.lineTo(size, at);
    context.stroke();
  }
  context.strokeStyle = line("--text", 1);
  context.lineWidth = Math.max(1, ratio);
  context.strokeRect(0, chosen * cell, size, Math.max(cell, 2));
  const [i, j] = hovered;
  context.strokeRect(j * cell - 1, i * cell - 1, Math.max(cell, 2) + 2, Math.max(cell, 2) + 2);
}

function tell() {
  const [i, j] = hovered;
  find("pair").replaceChildren(
    picture(i, 32),
    element(
      "span",
      {},
      breakable(names[i]),
      ...(i === j
        ? [` (${labelOf(i)}) does not listen to itself`]
        : [
            ` (${labelOf(i)}) listens to `,
            breakable(names[j]),
            ` (${labelOf(j)}) with ${percent(affinities[i * n + j], 2)}; ` +
              `an equal share would be ${percent(1 / (n - 1), 2)}`,
          ]),
    ),
    picture(j, 32),
  );
  drawMarks();
}

function cellAt(event) {
  const box = canvas.getBoundingClientRect();
  const place = (at, size) => Math.min(n - 1, Math.max(0, Math.floor((at / size) * n)));
  return [place(event.clientY - box.top, box.height), place(event.clientX - box.left, box.width)];
}
marks.addEventListener("pointermove", (event) => {
  hovered = cellAt(event);
  tell();
});
marks.addEventListener("click", (event) => {
  hovered = cellAt(event);
  choose(hovered[0], false);
  tell();
});
marks.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
  if (step) {
    hovered = hovered.map((at, k) => Math.min(n - 1, Math.max(0, at + step[k])));
    tell();
  } else if (event.key === "Enter" || event.key === " ") {
    choose(hovered[0], false);
  } else return;
  event.preventDefault();
});

// ---- the sliders ----

const scales = {
  temperature: { to: (value) => value, from: (at) => at, then: predict },
  omega: { to: (value) => value, from: (at) => at, then: () => {} },
  affinity_temperature: { to: Math.log10, from: (at) => 10 ** at, then: relate },
};
function write(name) {
  const text = String(Number(settings[name].toPrecision(3)));
  find(`${name}-value`).textContent = text;
  find(name).setAttribute("aria-valuetext", text);
}
function changed(name) {
  write(name);
  scales[name].then();
  if (name === "affinity_temperature") {
    drawMatrix();
    tell();
  }
  show();
}
for (const [name, scale] of Object.entries(scales)) {
  const slider = find(name);
  const reset = () => {
    settings[name] = data.settings[name];
    slider.value = scale.to(settings[name]);
  };
  const own = scale.to(data.settings[name]); // which may lie beyond the usual range
  slider.min = Math.min(slider.min, own);
  slider.max = Math.max(slider.max, own);
  reset();
  write(name);
  slider.addEventListener("input", () => {
    settings[name] = scale.from(Number(slider.value));
    changed(name);
  });
  find("reset").addEventListener("click", () => {
    reset();
    changed(name);
  });
}

predict();
relate();
drawMatrix();
choose(0);
tell();
new ResizeObserver(drawMarks).observe(canvas);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  drawMatrix();
  drawMarks();
});
window.torchbake = { settings, weights, target };
