// Asks for a key.
import { post } from "../api.js";
import { element } from "../lib/dom.js";

export function loginPage(main, onDone) {
  const field = element("input", { type: "password", name: "key", autocomplete: "current-password", required: "" });
  const message = element("p", { class: "error", role: "alert" });
  const form = element("form", { submit: async (event) => {
    event.preventDefault();
    try {
      await post("/api/login", { key: field.value });
      onDone();
    } catch (error) {
      message.textContent = error.message;
    }
  } }, element("label", {}, "API key ", field), " ", element("button", {}, "Log in"), message);
  main.replaceChildren(element("h1", {}, "Log in"), form);
  return () => {};
}
