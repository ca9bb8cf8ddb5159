// How a frame in which a chart is drawn speaks with the page that holds it. The frame is of no origin, so
// that this is all it can do: it is given a chart, and gives back that it is drawn, or why not.
const tell = (message) => parent.postMessage(message, "*");

// `draw(element, chart, theme)` resolves to {height, notes, picture}; `picture()` resolves to a PNG's address.
export function open(draw) {
  let drawn = null;
  const answers = {
    draw: async ({ chart, theme }) => {
      document.documentElement.style.colorScheme = theme.isDark ? "dark" : "light";
      document.body.style.background = theme.paper;
      drawn = await draw(document.getElementById("chart"), chart, theme);
      tell({ kind: "drawn", height: drawn.height, notes: drawn.notes });
    },
    picture: async () => tell({ kind: "picture", address: await drawn.picture() }),
    ask: () => tell({ kind: "alive" }),
  };
  addEventListener("message", async ({ source, data }) => {
    if (source !== parent || !Object.hasOwn(answers, data?.kind)) return;
    try { await answers[data.kind](data); } catch (error) { tell({ kind: "failed", text: String(error?.message ?? error).slice(0, 500) }); }
  });
  tell({ kind: "ready" });
}
