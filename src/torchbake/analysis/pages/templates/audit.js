// Decisions on the images of an audit, and the file of labels that comes of them.

const data = JSON.parse(document.getElementById("data").textContent);
const articles = [...document.querySelectorAll("article")];
const selects = articles.map((article) => article.querySelector("select"));
let current = -1;

// Decisions by image: what to do, its class, and its file and class in the data. Those on images
// that another page of this audit shows stay. A page opened as a file may be refused its storage;
// then decisions last as long as the page. Chromium 156 now and then gives a file's page an empty
// storage for as long as it is open: so each decision has a key of its own, or the next one would
// replace all earlier ones by itself, and the tab's history keeps them as well, for a reload.
const prefix = `${data.key}:`;
let refused = false;
let unsaved = false;
let kept = {};
try {
  const keys = Object.keys(localStorage).filter((key) => key.startsWith(prefix));
  kept = Object.fromEntries(keys.map((key) => [key.slice(prefix.length), JSON.parse(localStorage.getItem(key))]));
} catch { refused = true; }
kept = { ...history.state?.[data.key], ...kept };
const shown = new Set(data.cards.map((card) => String(card.index)));
const elsewhere = Object.keys(kept).filter((index) => !shown.has(index)).length;

function radio(number, value) {
  return articles[number].querySelector(`input[value="${value}"]`);
}

function choice(number) {
  return articles[number].querySelector("input:checked")?.value ?? null;
}

// All classes in a list only where it is wanted: there may be a thousand.
function fill(select) {
  if (select.dataset.full) return;
  const chosen = select.value;
  select.replaceChildren(...data.classes.map((name) => new Option(name, name, false, name === chosen)));
  select.dataset.full = "true";
}

function store() {
  articles.forEach((_, number) => {
    const made = choice(number);
    const card = data.cards[number];
    if (made) kept[card.index] = [made, selects[number].value, card.file, card.in_data];
  });
  unsaved = true;
  // Some browsers refuse many in a short time; the next one brings all.
  try { history.replaceState({ [data.key]: kept }, ""); } catch { /* stored below */ }
  try {
    for (const [index, decision] of Object.entries(kept)) localStorage.setItem(prefix + index, JSON.stringify(decision));
  } catch { refused = true; }
}

function count() {
  const made = articles.map((_, number) => choice(number));
  articles.forEach((article, number) => article.classList.toggle("decided", made[number] !== null));
  const of = (value) => made.filter((one) => one === value).length;
  const decided = made.length - of(null);
  document.getElementById("progress").value = decided;
  document.getElementById("counts").textContent =
    `${decided} of ${made.length} decided: ${of("keep")} kept, ${of("change")} changed, ${of("drop")} dropped` +
    (elsewhere ? `; and ${elsewhere} on images that are not on this page` : "") +
    (refused ? "; this browser cannot keep your decisions: download the file before you close the page" : "");
}

function changed() { store(); count(); }

function mark(number) {
  articles[current]?.classList.remove("current");
  current = number;
  articles[current].classList.add("current");
}

function go(number) {
  const next = Math.min(Math.max(number, 0), articles.length - 1);
  mark(next);
  articles[next].focus({ preventScroll: true });
  articles[next].scrollIntoView({ block: "nearest" });
}

function quoted(field) {
  return /[",\r\n]/.test(field) ? `"${field.replaceAll('"', '""')}"` : field;
}

function labelsFile() {
  const rows = new Map(data.earlier.map((row) => [row[0], row]));
  for (const [index, [made, label, file, given]] of Object.entries(kept)) {
    if (made !== "keep") rows.set(Number(index), [Number(index), file, given, made === "drop" ? "" : label]);
  }
  const sorted = [...rows.values()].sort((one, other) => one[0] - other[0]);
  return [["index", "file", "given", "label"], ...sorted]
    .map((row) => row.map((field) => quoted(String(field))).join(",") + "\n").join("");
}

document.getElementById("download").addEventListener("click", () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([labelsFile()], { type: "text/csv" }));
  link.download = "labels.csv";
  link.click();
  unsaved = false;
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
});

addEventListener("beforeunload", (event) => { if (refused && unsaved) event.preventDefault(); });

articles.forEach((article, number) => {
  let byPointer = false;
  article.addEventListener("pointerdown", () => mark(number));
  article.addEventListener("focusin", () => mark(number));
  selects[number].addEventListener("pointerdown", () => { byPointer = true; fill(selects[number]); });
  selects[number].addEventListener("keydown", () => { byPointer = false; });
  selects[number].addEventListener("focus", () => fill(selects[number]));
  selects[number].addEventListener("change", () => {
    radio(number, "change").checked = true;
    // Or the next key, meant for the page, would choose another class.
    if (byPointer) article.focus({ preventScroll: true });
  });
  article.addEventListener("change", changed);
});

document.addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey || event.target.tagName === "SELECT") return;
  const value = { k: "keep", c: "change", d: "drop" }[event.key];
  if (value) {
    // Not while a button has the focus, and one decision for a key that is held.
    if (event.repeat || !(event.target === document.body || event.target.closest("article"))) return;
    if (current < 0) mark(0);
    radio(current, value).checked = true;
    changed();
    go(current + 1);
  } else if (event.key === "ArrowDown" || event.key === "j") {
    go(current + 1);
  } else if (event.key === "ArrowUp") {
    go(current - 1);
  } else {
    return;
  }
  event.preventDefault();
});

articles.forEach((_, number) => {
  const [made, label] = kept[data.cards[number].index] ?? [];
  if (!made) return;
  if (data.classes.includes(label) && label !== selects[number].value) { fill(selects[number]); selects[number].value = label; }
  const input = ["keep", "change", "drop"].includes(made) && radio(number, made);
  if (input) input.checked = true;
});
count();
