// Pictures to choose from, and what is to be told of the chosen one.

// ---- words and pictures ----

const element = (tag, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
};
const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)}\u00a0%`;
const best = (values, start = 0, count = values.length) => {
  let at = start;
  for (let k = start; k < start + count; k++) if (values[k] > values[at]) at = k;
  return at - start;
};
// A name may be broken after /, _ and -, but not within a file's suffix.
function breakable(name) {
  const [, stem, suffix] = name.match(/^(.+?)(\.\w{1,5})?$/s) ?? [name, name, ""];
  const made = element("span");
  for (const part of stem.split(/(?<=[/_-])/)) made.append(part, document.createElement("wbr"));
  if (suffix) made.append(element("span", { className: "suffix" }, suffix));
  return made;
}
const guesses = Array.from({ length: n }, (_, i) => best(logits, i * c, c));
const wrong = (i) => labels[i] >= 0 && guesses[i] !== labels[i];
const labelOf = (i) => (labels[i] < 0 ? "no label" : classes[labels[i]]);

function picture(i, size) {
  const scale = size / sprite.side;
  const made = element("span", { className: "picture" });
  const x = (i % sprite.columns) * sprite.cell * scale;
  const y = Math.floor(i / sprite.columns) * sprite.cell * scale;
  const width = sprite.columns * sprite.cell * scale;
  const height = sprite.rows * sprite.cell * scale;
  made.style.cssText =
    `width:${size}px;height:${size}px;background-position:-${x}px -${y}px;` +
    `background-size:${width}px ${height}px`;
  if (scale > 1.5) made.classList.add("enlarged");
  return made;
}
{
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(`#inspector .picture { background-image: url("${sprite.uri}") }`);
  document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
}

// ---- the pictures to choose from ----

const grid = find("grid");
const options = [];
function makeOption(i) {
  const told = wrong(i) ? `, predicted as ${classes[guesses[i]]}` : "";
  const option = element("div", { id: `picture-${i}`, role: "option" }, picture(i, 44));
  option.className = wrong(i) ? "option wrong" : "option";
  option.ariaLabel = `${names[i]}: ${labelOf(i)}${told}`;
  option.title = option.ariaLabel;
  option.ariaSelected = "false";
  option.addEventListener("click", () => choose(i));
  return option;
}
for (let i = 0, row; i < n; i++) {
  if (i === 0 || groups[i] !== groups[i - 1]) {
    const name = classes[groups[i]];
    const caption = element("span", { className: "caption", title: name }, name);
    caption.setAttribute("aria-hidden", "true");
    row = element("div", { className: "members" });
    grid.append(element("div", { className: "group", role: "group", ariaLabel: name }, caption, row));
  }
  options.push(makeOption(i));
  row.append(options[i]);
}

function nearestInRow(i, direction) {
  const here = options[i].getBoundingClientRect();
  let found = i;
  let least = Infinity;
  options.forEach((option, k) => {
    const there = option.getBoundingClientRect();
    const down = direction * (there.top - here.top);
    if (down < 4) return;
    const distance = 1000 * down + Math.abs(there.left - here.left);
    if (distance < least) [least, found] = [distance, k];
  });
  return found;
}

grid.addEventListener("keydown", (event) => {
  const to = {
    ArrowLeft: () => chosen - 1,
    ArrowRight: () => chosen + 1,
    ArrowUp: () => nearestInRow(chosen, -1),
    ArrowDown: () => nearestInRow(chosen, 1),
    Home: () => 0,
    End: () => n - 1,
  }[event.key];
  if (!to || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  choose(Math.min(Math.max(to(), 0), n - 1), true);
});

// ---- the chosen picture ----

let chosen = 0;

function choose(i, scroll = false) {
  options[chosen].ariaSelected = "false";
  chosen = i;
  options[i].ariaSelected = "true";
  grid.setAttribute("aria-activedescendant", options[i].id);
  if (scroll) options[i].scrollIntoView({ block: "nearest" });
  find("large").replaceChildren(picture(i, 128));
  show();
}

function show() {
  const i = chosen;
  const taught = weights(i);
  const q = target(i, taught);
  const p = predictions.subarray(i * c, (i + 1) * c);
  const sharp = new Float64Array(c);
  softmax(logits.slice(i * c, (i + 1) * c), 0, c, 1, sharp);
  find("name").replaceChildren(breakable(names[i]));
  find("label").replaceChildren(breakable(labelOf(i)));
  find("guess").replaceChildren(breakable(classes[guesses[i]]), `, ${percent(sharp[guesses[i]])} sure`);
  const first = best(q);
  find("says").replaceChildren(breakable(classes[first]), `, ${percent(q[first])}`);
  showTeachers(i, taught);
  showAlike(i);
  showClasses(i, p, q);
  drawMarks();
}

function showTeachers(i, taught) {
  const others = [...taught.keys()].filter((j) => j !== i);
  others.sort((a, b) => taught[b] - taught[a]);
  const shown = others.slice(0, 8);
  const most = Math.max(...shown.map((j) => taught[j]), 1e-12);
  find("teachers").replaceChildren(
    ...shown.map((j) => {
      const bar = element("span", { className: "bar" });
      bar.style.width = `${(100 * taught[j]) / most}%`;
      const words = element("span", { className: "words" }, labelOf(j) === "no label" ? names[j] : labelOf(j));
      const weight = element("span", { className: "weight" }, percent(taught[j], 2));
      const button = element("button", { type: "button", title: names[j] }, picture(j, 32), words, weight);
      button.addEventListener("click", () => {
        choose(j, true);
        grid.focus({ preventScroll: true }); // the button is gone
      });
      return element("li", {}, button, bar);
    }),
  );
  const same = others.filter((j) => labels[j] >= 0 && labels[j] === labels[i]);
  const sum = (rows) => rows.reduce((total, j) => total + taught[j], 0);
  const rest = sum(others.slice(8));
  find("shares").textContent =
    `Of its target, ${percent(taught[i])} is its own prediction` +
    (labels[i] >= 0 ? ` and ${percent(sum(same))} comes from the ${same.length} other(s) of its class` : "") +
    (others.length > 8 ? `; ${percent(rest)} comes from the ${others.length - 8} pictures not listed.` : ".");
}

// Where a picture listens to all others nearly alike, equal shares read as a fault: why they are so.
const NEARLY_ALIKE = 2;
function showAlike(i) {
  let [least, most] = [Infinity, -Infinity];
  let [nearest, farthest] = [-Infinity, Infinity];
  for (let j = 0; j < n; j++) {
    if (j === i) continue;
    least = Math.min(least, affinities[i * n + j]);
    most = Math.max(most, affinities[i * n + j]);
    nearest = Math.max(nearest, similarities[i * n + j]);
    farthest = Math.min(farthest, similarities[i * n + j]);
  }
  const note = find("alike");
  note.hidden = n < 3 || most * (n - 1) > NEARLY_ALIKE;
  if (note.hidden) return;
  const t = Number(settings.affinity_temperature.toPrecision(3));
  note.textContent =
    `It listens to all ${n - 1} others nearly alike, with ${percent(least, 2)} to ${percent(most, 2)} each. ` +
    `This follows from the affinity temperature: cosine similarities from ${farthest.toFixed(2)} to ` +
    `${nearest.toFixed(2)}, divided by Tₐ = ${t}, give shares that differ by a factor of ` +
    `${(most / least).toPrecision(2)} at most. Lower Tₐ under “What if” to see whom it would prefer.`;
}

function showClasses(i, p, q) {
  const ranked = (values) => [...values.keys()].sort((a, b) => values[b] - values[a]);
  const wanted = new Set([...ranked(q).slice(0, 5), ...ranked(p).slice(0, 3)]);
  if (labels[i] >= 0) wanted.add(labels[i]);
  const rows = [...wanted].sort((a, b) => q[b] - q[a]);
  const most = Math.max(...rows.map((k) => Math.max(p[k], q[k])), 1e-12);
  const cell = (share, kind) => {
    const bar = element("span", { className: `bar ${kind}` });
    bar.style.width = `${(100 * share) / most}%`;
    return element("td", {}, element("span", { className: "number" }, percent(share, 2)), bar);
  };
  find("classes").replaceChildren(
    ...rows.map((k) => {
      const name = element("th", { scope: "row" }, breakable(classes[k]));
      if (k === labels[i]) name.append(element("span", { className: "tag" }, "label"));
      return element("tr", {}, name, cell(p[k], "own"), cell(q[k], "target"));
    }),
  );
}
