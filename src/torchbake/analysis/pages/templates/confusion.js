// The confusion matrix: a picture with a cell a pair of classes, and words for the cell pointed at.

const root = document.getElementById("confusion");
const find = (name) => root.querySelector(`[data-part="${name}"]`);
const { classes, cells } = JSON.parse(document.getElementById("confusion-data").textContent);
const n = classes.length;
const counts = new Map(cells.map(([label, guess, images]) => [label * n + guess, images]));
const sizes = new Float64Array(n);
for (const [label, , images] of cells) sizes[label] += images;

const picture = find("cells");
const cursor = find("cursor");
picture.width = picture.height = n;
// Where most images are wrong: what one looks for first.
let [row, column] = cells
  .filter(([label, guess]) => label !== guess)
  .reduce((worst, cell) => (cell[2] > worst[2] ? cell : worst), [0, 0, 0]);

const color = (name) => {
  const probe = document.createElement("span");
  probe.style.color = `var(${name})`;
  root.append(probe);
  const found = getComputedStyle(probe).color.match(/[\d.]+/g).slice(0, 3).map(Number);
  probe.remove();
  return found;
};

function draw() {
  const [ground, right, wrong] = ["--ground", "--second", "--accent"].map(color);
  const context = picture.getContext("2d");
  const image = context.createImageData(n, n);
  for (let at = 0; at < n * n; at++) {
    const share = (counts.get(at) || 0) / (sizes[Math.floor(at / n)] || 1);
    const to = at % (n + 1) === 0 ? right : wrong;
    for (let k = 0; k < 3; k++) image.data[4 * at + k] = ground[k] + (to[k] - ground[k]) * Math.sqrt(share);
    image.data[4 * at + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}

function mark() {
  const ratio = window.devicePixelRatio || 1;
  const size = Math.round(picture.clientWidth * ratio);
  if (!size) return;
  cursor.width = cursor.height = size;
  const cell = size / n;
  const context = cursor.getContext("2d");
  context.strokeStyle = `rgb(${color("--text").join(" ")})`;
  context.lineWidth = Math.max(1.5, ratio);
  context.strokeRect(column * cell - 1, row * cell - 1, Math.max(cell, 3) + 2, Math.max(cell, 3) + 2);
}

function tell() {
  const images = counts.get(row * n + column) || 0;
  const share = sizes[row] ? ` (${((100 * images) / sizes[row]).toFixed(1)} %)` : "";
  find("cell").textContent =
    `${images.toLocaleString("en")} of ${sizes[row].toLocaleString("en")} images of ` +
    `“${classes[row]}” are predicted as “${classes[column]}”${share}`;
  mark();
}

cursor.addEventListener("pointermove", (event) => {
  const box = picture.getBoundingClientRect();
  const place = (at, size) => Math.min(n - 1, Math.max(0, Math.floor((at / size) * n)));
  [row, column] = [place(event.clientY - box.top, box.height), place(event.clientX - box.left, box.width)];
  tell();
});
cursor.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
  if (!step) return;
  [row, column] = [row + step[0], column + step[1]].map((at) => Math.min(n - 1, Math.max(0, at)));
  tell();
  event.preventDefault();
});

draw();
tell();
new ResizeObserver(mark).observe(picture);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  draw();
  mark();
});
