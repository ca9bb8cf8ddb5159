// Changes to runs, each with its way back.
import { post } from "./api.js";
import { failed, toast } from "./parts/toast.js";
import { plural } from "./lib/format.js";

export async function editRuns(data, names, changes, text) {
  const before = names.map((name) => [name, data.byName.get(name)]);
  data.change(names, changes);
  try {
    await post("/api/runs/edit", { ...data.where, runs: names, ...changes });
    toast(text, async () => {
      for (const [name, run] of before) {
        const old = Object.fromEntries(Object.keys(changes).map((key) => [key, run[key] ?? ""]));
        await post("/api/runs/edit", { ...data.where, runs: [name], ...old });
      }
      await data.load();
    });
  } catch (error) { await data.load(); failed(error); }
}

export async function trashRuns(data, names) {
  try {
    await post("/api/runs/trash", { ...data.where, runs: names });
    await data.load();
    toast(`${plural(names.length, "run")} moved to the trash.`, async () => {
      await post("/api/runs/restore", { ...data.where, runs: names });
      await data.load();
    });
  } catch (error) { failed(error); }
}

// Each run keeps the tags it has.
export async function addTags(data, names, tags) {
  const before = names.map((name) => [name, data.byName.get(name).tags]);
  const put = async (pairs) => {
    for (const [name, each] of pairs) {
      data.change([name], { tags: each });
      await post("/api/runs/edit", { ...data.where, runs: [name], tags: each });
    }
  };
  try {
    await put(before.map(([name, old]) => [name, [...new Set([...old, ...tags])].sort()]));
    toast(`Tagged ${plural(names.length, "run")}.`, () => put(before));
  } catch (error) { await data.load(); failed(error); }
}

export async function stopRuns(data, names) {
  try {
    await post("/api/runs/stop", { ...data.where, runs: names });
    toast(`Asked ${plural(names.length, "run")} to stop.`);
  } catch (error) { failed(error); }
}

// Gives a version of an artifact an alias or takes one away; one that was elsewhere goes back there on undo.
export async function changeAlias(version, alias, isAdded, reload) {
  const put = async (change, body = version) => { const { before } = await post("/api/artifact/aliases", { ...body, ...change }); reload(); return before; };
  try {
    const before = await put(isAdded ? { add: [alias] } : { remove: [alias] });
    const old = before[alias];
    const undo = () => (isAdded ? (old ? put({ add: [alias] }, { ...version, version: old }) : put({ remove: [alias] })) : put({ add: [alias] }));
    toast(isAdded ? `${version.version} is “${alias}” now${old && old !== version.version ? `, and ${old} no longer` : ""}.` : `${version.version} is no longer “${alias}”.`, undo);
  } catch (error) { failed(error); }
}
