// Recomputes soft targets in the page: P = softmax(Z / T), Â = softmax of the others' cosine
// similarities / T_a, Q = (1 − ω) (I − ω Â)⁻¹ P (arXiv 2104.13298, section 3). Of the chosen image
// only its row of (1 − ω) (I − ω Â)⁻¹ is found: the weights with which all images teach it.

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
