// What Vega's interpreter asks of a package of Vega's that is inside Vega itself.
import "../vendor/vega.js";

export const { ascending, DisallowedObjectProperties, isString } = globalThis.vega;
