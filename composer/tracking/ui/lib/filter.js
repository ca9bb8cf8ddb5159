// The filter language: `lr >= 0.1 and state = finished and (tags has base or name ~ resnet)`.
// Bare words are looked for in whatever texts the things filtered have.

const TOKEN = /\s*(?:(>=|<=|!=|==|=|<|>|~|\(|\)|,)|"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|([^\s()=<>!~,"']+))/gy;
const COMPARISONS = new Set(["=", "==", "!=", "<", "<=", ">", ">=", "~", "has", "in"]);

class FilterError extends Error {}

function tokens(text) {
  const found = [];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < text.length && text.slice(TOKEN.lastIndex).trim()) {
    const at = TOKEN.lastIndex;
    const match = TOKEN.exec(text);
    if (!match) throw new FilterError(`I cannot read “${text.slice(at).trim().slice(0, 12)}”.`);
    const [, sign, double, single, word] = match;
    const quoted = double ?? single;
    if (sign) found.push({ kind: "sign", text: sign });
    else if (quoted !== undefined) found.push({ kind: "text", text: quoted.replace(/\\(.)/g, "$1") });
    else found.push({ kind: "word", text: word });
  }
  return found;
}

// A filter as a function of an item. `source` has resolve(name), which gives the column meant or undefined,
// value(item, column), and texts(item).
export function parseFilter(text, source) {
  const rest = tokens(text ?? "");
  if (!rest.length) return () => true;
  const peek = () => rest[0];
  const isWord = (word) => peek()?.kind === "word" && peek().text.toLowerCase() === word;
  const take = (sign) => peek()?.kind === "sign" && peek().text === sign && rest.shift();

  function either() {
    const parts = [both()];
    while (isWord("or")) { rest.shift(); parts.push(both()); }
    return parts.length === 1 ? parts[0] : (item) => parts.some((part) => part(item));
  }
  function both() {
    const parts = [negated()];
    while (peek() && !isWord("or") && peek().text !== ")") {
      if (isWord("and")) rest.shift();
      parts.push(negated());
    }
    return parts.length === 1 ? parts[0] : (item) => parts.every((part) => part(item));
  }
  function negated() {
    if (isWord("not")) { rest.shift(); const inner = negated(); return (item) => !inner(item); }
    if (take("(")) {
      const inner = either();
      if (!take(")")) throw new FilterError("A “)” is missing.");
      return inner;
    }
    return comparison();
  }
  function comparison() {
    const token = rest.shift();
    if (!token || token.kind === "sign") throw new FilterError(token ? `“${token.text}” needs something before it.` : "Something is missing at the end.");
    const operator = peek() && (peek().kind === "sign" || peek().kind === "word") && peek().text.toLowerCase();
    if (token.kind === "text" || !COMPARISONS.has(operator)) return words(source, token.text);
    rest.shift();
    const column = source.resolve(token.text);
    if (!column) throw new FilterError(`There is no “${token.text}”.`);
    return test(source, column, operator, operator === "in" ? list() : [value()]);
  }
  function value() {
    const token = rest.shift();
    if (!token || token.kind === "sign") throw new FilterError("A value is missing.");
    return token.text;
  }
  function list() {
    if (!take("(")) throw new FilterError("“in” takes a list such as (1, 2).");
    const found = [value()];
    while (take(",")) found.push(value());
    if (!take(")")) throw new FilterError("A “)” is missing.");
    return found;
  }

  const keep = either();
  if (rest.length) throw new FilterError(`I cannot read “${rest[0].text}”.`);
  return keep;
}

function words(source, text) {
  const wanted = text.toLowerCase();
  return (item) => source.texts(item).some((each) => String(each ?? "").toLowerCase().includes(wanted));
}

function test(source, column, operator, values) {
  const sides = values.map((text) => ({ text: text.toLowerCase(), number: text.trim() === "" ? NaN : Number(text) }));
  const compare = (found, side) => (typeof found === "number" && !Number.isNaN(side.number) ? found - side.number : String(found).toLowerCase().localeCompare(side.text));
  const equal = (found, side) => (Array.isArray(found) ? found.some((each) => String(each).toLowerCase() === side.text) : compare(found, side) === 0);
  const tests = {
    "=": (found) => equal(found, sides[0]), "==": (found) => equal(found, sides[0]), "!=": (found) => !equal(found, sides[0]),
    "<": (found) => compare(found, sides[0]) < 0, "<=": (found) => compare(found, sides[0]) <= 0,
    ">": (found) => compare(found, sides[0]) > 0, ">=": (found) => compare(found, sides[0]) >= 0,
    "~": (found) => String(found).toLowerCase().includes(sides[0].text),
    has: (found) => (Array.isArray(found) ? found : [found]).some((each) => String(each).toLowerCase().includes(sides[0].text)),
    in: (found) => sides.some((side) => equal(found, side)),
  };
  return (item) => {
    const found = source.value(item, column);
    return found === undefined || found === null ? operator === "!=" : tests[operator](found);
  };
}
