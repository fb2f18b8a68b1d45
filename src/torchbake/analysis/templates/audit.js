// Decisions on the images of an audit, and the file of labels that comes of them.

const data = JSON.parse(document.getElementById("data").textContent);
const articles = [...document.querySelectorAll("article")];
const selects = articles.map((article) => article.querySelector("select"));
let current = -1;

// A page opened as a file may be refused its storage; then decisions last as long as the page.
let kept = {};
try { kept = JSON.parse(localStorage.getItem(data.key)) ?? {}; } catch { /* none are kept */ }

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
  const decisions = {};
  articles.forEach((_, number) => {
    const made = choice(number);
    if (made) decisions[data.cards[number].index] = [made, selects[number].value];
  });
  try { localStorage.setItem(data.key, JSON.stringify(decisions)); } catch { /* see above */ }
}

function count() {
  const made = articles.map((_, number) => choice(number));
  articles.forEach((article, number) => article.classList.toggle("decided", made[number] !== null));
  const of = (value) => made.filter((one) => one === value).length;
  const decided = made.length - of(null);
  document.getElementById("progress").value = decided;
  document.getElementById("counts").textContent =
    `${decided} of ${made.length} decided: ${of("keep")} kept, ${of("change")} changed, ${of("drop")} dropped`;
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
  data.cards.forEach((card, number) => {
    const made = choice(number);
    if (made === "change") rows.set(card.index, [card.index, card.file, card.in_data, selects[number].value]);
    if (made === "drop") rows.set(card.index, [card.index, card.file, card.in_data, ""]);
  });
  const sorted = [...rows.values()].sort((one, other) => one[0] - other[0]);
  return [["index", "file", "given", "label"], ...sorted]
    .map((row) => row.map((field) => quoted(String(field))).join(",") + "\n").join("");
}

document.getElementById("download").addEventListener("click", () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([labelsFile()], { type: "text/csv" }));
  link.download = "labels.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
});

articles.forEach((article, number) => {
  article.addEventListener("pointerdown", () => mark(number));
  article.addEventListener("focusin", () => mark(number));
  selects[number].addEventListener("pointerdown", () => fill(selects[number]));
  selects[number].addEventListener("focus", () => fill(selects[number]));
  selects[number].addEventListener("change", () => { radio(number, "change").checked = true; });
  article.addEventListener("change", changed);
});

document.addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey || event.target.tagName === "SELECT") return;
  const value = { k: "keep", c: "change", d: "drop" }[event.key];
  if (value) {
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
