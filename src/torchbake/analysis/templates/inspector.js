// Recomputes soft targets in the page: P = softmax(Z / T), Â = softmax of the others' cosine
// similarities / T_a, Q = (1 − ω) (I − ω Â)⁻¹ P (arXiv 2104.13298, section 3). Of the chosen image
// only its row of (1 − ω) (I − ω Â)⁻¹ is found: the weights with which all images teach it.
"use strict";
(() => {
  const root = document.getElementById("inspector");
  const find = (name) => root.querySelector(`[data-part="${name}"]`);
  const data = JSON.parse(document.getElementById("inspector-data").textContent);
  const { labels, groups, names, classes, sprite } = data;
  const n = labels.length;
  const c = classes.length;
  const floats = (text) => {
    const characters = atob(text);
    const bytes = new Uint8Array(characters.length);
    for (let at = 0; at < bytes.length; at++) bytes[at] = characters.charCodeAt(at);
    return new Float32Array(bytes.buffer);
  };
  const logits = floats(data.logits);
  const similarities = new Float64Array(n * n);
  {
    const above = floats(data.similarities);
    let at = 0;
    for (let i = 0; i < n; i++) {
      for (let j = i + 1; j < n; j++) similarities[i * n + j] = similarities[j * n + i] = above[at++];
    }
  }
  const settings = { ...data.settings };

  // ---- the formula ----

  function softmax(values, start, count, temperature, out, skip = -1) {
    let largest = -Infinity;
    for (let k = 0; k < count; k++) {
      if (k !== skip) largest = Math.max(largest, values[start + k]);
    }
    let sum = 0;
    for (let k = 0; k < count; k++) {
      const e = k === skip ? 0 : Math.exp((values[start + k] - largest) / temperature);
      out[start + k] = e;
      sum += e;
    }
    for (let k = 0; k < count && sum > 0; k++) out[start + k] /= sum;
    return largest / temperature + Math.log(sum);
  }

  const predictions = new Float64Array(n * c);
  const affinities = new Float64Array(n * n);
  const stationary = new Float64Array(n);
  function predict() {
    for (let i = 0; i < n; i++) softmax(logits, i * c, c, settings.temperature, predictions);
  }
  function relate() {
    // Similarities are symmetric, so that Â's stationary distribution is that of its rows' sums.
    for (let i = 0; i < n; i++) {
      stationary[i] = softmax(similarities, i * n, n, settings.affinity_temperature, affinities, i);
    }
    softmax(stationary, 0, n, 1, stationary);
  }

  // Row i of (1 − ω) (I − ω Â)⁻¹: the stationary distribution and a series of what is not in it.
  function weights(i) {
    const omega = settings.omega;
    const sum = new Float64Array(n);
    sum[i] = 1;
    if (n === 1 || omega === 0) return sum;
    let part = sum.map((own, k) => own - stationary[k]);
    sum.set(stationary);
    let most = 1;
    for (let factor = 1 - omega; factor * most > 1e-9; factor *= omega) {
      const next = new Float64Array(n);
      most = 0;
      for (let j = 0; j < n; j++) {
        const share = part[j];
        sum[j] += factor * share;
        most = Math.max(most, Math.abs(share));
        if (share === 0) continue;
        for (let k = 0, at = j * n; k < n; k++, at++) next[k] += share * affinities[at];
      }
      part = next;
    }
    return sum;
  }

  function target(i, taught = weights(i)) {
    const q = new Float64Array(c);
    for (let j = 0; j < n; j++) {
      for (let k = 0, at = j * c; k < c; k++, at++) q[k] += taught[j] * predictions[at];
    }
    return q;
  }

  // ---- words and pictures ----

  const element = (tag, properties = {}, ...children) => {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  };
  const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)} %`;
  const best = (values, start = 0, count = values.length) => {
    let at = start;
    for (let k = start; k < start + count; k++) if (values[k] > values[at]) at = k;
    return at - start;
  };
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
    const told = wrong(i) ? `, taken for ${classes[guesses[i]]}` : "";
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
    find("name").textContent = names[i];
    find("label").textContent = labelOf(i);
    find("guess").textContent = `${classes[guesses[i]]}, ${percent(sharp[guesses[i]])} sure`;
    const first = best(q);
    find("says").textContent = `${classes[first]}, ${percent(q[first])}`;
    showTeachers(i, taught);
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
        button.addEventListener("click", () => choose(j, true));
        return element("li", {}, button, bar);
      }),
    );
    const same = others.filter((j) => labels[j] >= 0 && labels[j] === labels[i]);
    const sum = (rows) => rows.reduce((total, j) => total + taught[j], 0);
    const rest = sum(others.slice(8));
    find("shares").textContent =
      `Of its target ${percent(taught[i])} is its own prediction` +
      (labels[i] >= 0 ? `, ${percent(sum(same))} that of the ${same.length} other(s) of its class` : "") +
      (others.length > 8 ? `; the ${others.length - 8} pictures not listed have ${percent(rest)}.` : ".");
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
        const name = element("th", { scope: "row" }, classes[k]);
        if (k === labels[i]) name.append(element("span", { className: "tag" }, "label"));
        return element("tr", {}, name, cell(p[k], "own"), cell(q[k], "target"));
      }),
    );
  }

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
      const t = at % (n + 1) === 0 ? 0 : (affinities[at] - low) / (high - low || 1);
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
        i === j
          ? `${names[i]} (${labelOf(i)}) does not listen to itself`
          : `${names[i]} (${labelOf(i)}) listens to ${names[j]} (${labelOf(j)}) with ` +
              `${percent(affinities[i * n + j], 2)}; if all were alike, ${percent(1 / (n - 1), 2)}`,
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
  function changed(name) {
    find(`${name}-value`).textContent = String(Number(settings[name].toPrecision(3)));
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
    reset();
    find(`${name}-value`).textContent = String(Number(settings[name].toPrecision(3)));
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
})();
