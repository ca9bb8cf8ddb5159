// Shows what the address names: the projects, a project's runs, or a run.
import { get, prefix } from "./api.js";
import { projectsPage } from "./pages/projects.js";
import { projectPage } from "./pages/project.js";
import { loginPage } from "./pages/login.js";
import { element, link } from "./lib/dom.js";

let leave = () => {};

function parts() {
  const path = location.pathname.slice(prefix.length);
  return path.split("/").filter(Boolean).map(decodeURIComponent);
}

function crumbs(names) {
  const nav = document.getElementById("crumbs");
  nav.replaceChildren();
  names.slice(0, 2).forEach((name, index) => {
    const path = index === 0 ? "/" : `/${names.slice(0, 2).map(encodeURIComponent).join("/")}`;
    nav.append(" / ", link(prefix + path, name));
  });
}

async function show() {
  leave();
  leave = () => {};
  const main = document.getElementById("main");
  const names = parts();
  crumbs(names);
  try {
    if (names[0] === "authorize") {
      leave = loginPage(main, () => history.replaceState(null, "", `${prefix}/`) ?? show());
      return;
    }
    await get("/api/session");
    if (names.length < 2) {
      leave = await projectsPage(main, names[0]);
    } else {
      const run = names[2] === "runs" ? names[3] : undefined;
      leave = await projectPage(main, names[0], names[1], run);
    }
  } catch (error) {
    if (error.status === 401) leave = loginPage(main, show);
    else main.replaceChildren(element("p", { class: "error" }, error.message));
  }
}

document.addEventListener("click", (event) => {
  const anchor = event.target.closest("a[href]");
  if (!anchor || anchor.origin !== location.origin || anchor.hasAttribute("download")) return;
  if (event.ctrlKey || event.metaKey || event.shiftKey || anchor.dataset.outside) return;
  event.preventDefault();
  history.pushState(null, "", anchor.href);
  show();
});
addEventListener("popstate", show);
show();

