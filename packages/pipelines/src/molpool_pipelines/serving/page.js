"use strict";
const at = (id) => document.getElementById(id);
const token = new URLSearchParams(location.search).get("token");
const headers = token ? { Authorization: "Bearer " + token } : {};
let csv = "";

function say(text, bad = false) {
  at("said").textContent = text;
  at("said").className = bad ? "bad" : "";
}

// Of what the server says nothing is ever read as markup.
function cell(row, kind, text, className = "") {
  const made = document.createElement(kind);
  made.textContent = text;
  made.className = className;
  row.append(made);
  return made;
}

function small(into, text, className = "") {
  const made = document.createElement("small");
  made.textContent = text;
  made.className = className;
  into.append(made);
}

const number = (value) => (value == null ? "" : Number(value.toPrecision(4)).toString());

function table(found) {
  const made = document.createElement("table");
  const head = made.createTHead().insertRow();
  for (const title of ["Molecule", "SMILES"]) cell(head, "th", title).scope = "col";
  for (const [name, task] of Object.entries(found.tasks)) {
    const title = cell(head, "th", name);
    title.scope = "col";
    small(title, task.type === "classification" ? "probability" : task.unit || "");
  }
  cell(head, "th", "Nearest in training").scope = "col";
  const body = made.createTBody();
  for (const row of found.rows) {
    const line = body.insertRow();
    const picture = cell(line, "td", "");
    if (row.structure) {
      const image = document.createElement("img");
      image.src = "data:image/svg+xml;charset=utf-8," + encodeURIComponent(row.structure);
      image.alt = "Structure of " + row.SMILES;
      picture.append(image);
    }
    const text = cell(line, "td", row.SMILES || "", "text");
    if (row.error) small(text, row.error, "far");
    for (const task of Object.values(found.tasks)) {
      const names = task.columns;
      const own = cell(line, "td", number(row[names.predicted]));
      const [low, high] = [row[names.lower], row[names.upper]];
      if (low != null || high != null) small(own, number(low) + " to " + number(high));
    }
    const near = cell(line, "td", row.similarity == null ? "" : row.similarity.toFixed(2));
    if (row.nearest != null) small(near, row.nearest);
    if (row.outside_domain) small(near, "outside the domain", "far");
  }
  at("found").replaceChildren(made);
  at("found").hidden = false;
}

function asCsv(rows) {
  const names = Object.keys(rows[0] || {}).filter((name) => name !== "structure");
  const quoted = (value) => {
    const text = value == null ? "" : String(value);
    return /[",\r\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
  };
  const lines = [names, ...rows.map((row) => names.map((name) => row[name]))];
  return lines.map((cells) => cells.map(quoted).join(",")).join("\n") + "\n";
}

async function ask(path, body, more) {
  at("go").disabled = true;
  say("Predicting ...");
  try {
    const answer = await fetch(path, { method: "POST", body, headers: { ...headers, ...more } });
    if (answer.ok) return answer;
    const said = (await answer.json()).detail;
    say(typeof said === "string" ? said : "The request is not understood.", true);
  } catch {
    say("The server does not answer; was it stopped?", true);
  } finally {
    at("go").disabled = false;
  }
  return null;
}

function ready(text, what) {
  csv = text;
  at("save").hidden = false;
  say(what);
}

at("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const smiles = at("smiles").value.split("\n").map((line) => line.trim()).filter(Boolean);
  if (!smiles.length) return say("Write a SMILES first.", true);
  // More pictures than anyone looks at would take the longest of all.
  const structures = smiles.length <= 500;
  const asked = JSON.stringify({ smiles, level: Number(at("level").value), structures });
  const answer = await ask("predict", asked, { "Content-Type": "application/json" });
  if (!answer) return;
  const found = await answer.json();
  table(found);
  const bad = found.rows.filter((row) => row.error).length;
  ready(asCsv(found.rows), `${found.rows.length - bad} predicted` + (bad ? `, ${bad} not read` : "") + ".");
});

async function send(file) {
  const query = new URLSearchParams({ name: file.name, level: at("level").value });
  const column = at("column").value.trim();
  if (column) query.set("smiles_column", column);
  const answer = await ask("table?" + query, file, { "Content-Type": "application/octet-stream" });
  if (!answer) return;
  const text = await answer.text();
  at("found").hidden = true;
  ready(text, `${file.name} is predicted: download it with the predictions beside its columns.`);
}

at("file").addEventListener("change", () => at("file").files[0] && send(at("file").files[0]));
for (const name of ["dragover", "dragleave", "drop"])
  at("smiles").addEventListener(name, (event) => {
    event.preventDefault();
    at("smiles").classList.toggle("over", name === "dragover");
    if (name === "drop" && event.dataTransfer.files[0]) send(event.dataTransfer.files[0]);
  });

at("save").addEventListener("click", () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([csv], { type: "text/csv" }));
  link.download = "predictions.csv";
  link.click();
  URL.revokeObjectURL(link.href);
});
