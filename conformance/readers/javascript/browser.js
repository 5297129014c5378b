// The page: files that the user chooses, or the vectors of the manifest; `?vectors` starts with
// these.

import { answer, judge } from "./judge.js";

const CONFORMANCE = new URL("../../", import.meta.url);
const element = (id) => document.getElementById(id);
const counts = new Map();

function showCell(row, status, detail) {
  const cell = row.insertCell();
  cell.className = status.startsWith("fail") || status === "crash" ? "fail" : status;
  cell.textContent = detail ? `${status} (${detail})` : status;
}

function guarded(body) {
  try {
    return body();
  } catch (error) {
    return ["crash", String(error)];
  }
}

function alone(bytes, access) {
  const { ok, model, error } = answer(bytes, access);
  if (!ok) return ["invalid", `${error.class}: ${error.detail}`];
  return ["valid", model.tensors.map((t) => `${t.name}: ${t.dtype} [${t.shape}]`).join("; ")];
}

/** One line for a file; only lines that a person has to see stay when there are many. */
function show(name, bytes, sidecar, quiet = false) {
  const verdicts = ["random", "sequential"].map((access) =>
    guarded(() => (sidecar ? judge(sidecar, bytes, access) : alone(bytes, access))),
  );
  for (const [status] of verdicts) counts.set(status, (counts.get(status) ?? 0) + 1);
  element("summary").textContent = [...counts].map(([status, n]) => `${status}: ${n}`).join(", ");
  if (quiet && verdicts.every(([status]) => status === "pass" || status === "declined")) return;
  const row = element("rows").insertRow();
  row.insertCell().textContent = name;
  for (const [status, detail] of verdicts) showCell(row, status, detail);
}

async function readFiles(files) {
  const sidecars = new Map(
    files.filter((f) => f.name.endsWith(".json")).map((f) => [f.name.slice(0, -5), f]),
  );
  for (const file of files.filter((f) => f.name.endsWith(".nnpk"))) {
    const sidecar = sidecars.get(file.name.slice(0, -5));
    const bytes = new Uint8Array(await file.arrayBuffer());
    show(file.name, bytes, sidecar && JSON.parse(await sidecar.text()));
  }
}

async function get(path) {
  const response = await fetch(new URL(path, CONFORMANCE));
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response;
}

async function readVectors() {
  const manifest = await (await get("manifest.json")).json();
  const ids = manifest.vectors.map((vector) => vector.id).filter((id) => !id.includes("encode/"));
  for (const [i, id] of ids.entries()) {
    const [file, sidecar] = await Promise.all([
      get(`vectors/${id}.nnpk`),
      get(`vectors/${id}.json`),
    ]);
    show(id, new Uint8Array(await file.arrayBuffer()), await sidecar.json(), true);
    element("progress").textContent = `${i + 1} of ${ids.length}`;
  }
  document.title = "done";
}

const report = (error) => (element("progress").textContent = String(error));
element("files").addEventListener("change", (event) =>
  readFiles([...event.target.files]).catch(report),
);
element("vectors").addEventListener("click", () => readVectors().catch(report));
if (new URLSearchParams(location.search).has("vectors")) readVectors().catch(report);
