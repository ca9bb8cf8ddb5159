// Means and what they are worth.
export function describe(values) {
  const good = values.filter((value) => typeof value === "number" && Number.isFinite(value));
  const n = good.length;
  if (!n) return { n, mean: NaN, sd: NaN, low: NaN, high: NaN };
  const mean = good.reduce((sum, value) => sum + value, 0) / n;
  const spread = n > 1 ? Math.sqrt(good.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (n - 1)) : NaN;
  const sd = spread < Math.abs(mean) * 1e-13 ? 0 : spread; // equal values differ by rounding only
  return { n, mean, sd, low: Math.min(...good), high: Math.max(...good) };
}

const T95 = [NaN, 12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.16, 2.145, 2.131, 2.12, 2.11, 2.101, 2.093, 2.086];

// Half the width of the 95 % confidence interval of a mean (Student's t).
export function halfWidth({ n, sd }) {
  if (n < 2) return NaN;
  const t = n - 1 < T95.length ? T95[n - 1] : 1.96 + 2.4 / (n - 1);
  return (t * sd) / Math.sqrt(n);
}

// The two-sided p-value of Student's t with some degrees of freedom.
export function studentP(t, df) {
  if (!Number.isFinite(t)) return Number.isNaN(t) ? NaN : 0;
  return incompleteBeta(df / (df + t * t), df / 2, 0.5);
}

// The regularized incomplete beta function, by its continued fraction (Lentz's way).
function incompleteBeta(x, a, b) {
  if (x <= 0 || x >= 1) return Math.min(1, Math.max(0, x));
  if (x > (a + 1) / (a + b + 2)) return 1 - incompleteBeta(1 - x, b, a);
  const safe = (value) => (Math.abs(value) < 1e-30 ? 1e-30 : value);
  let c = 1;
  let d = 1 / safe(1 - ((a + b) * x) / (a + 1));
  let found = d;
  for (let m = 1; m < 300; m += 1) {
    const even = (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m));
    const odd = (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1));
    let change = 1;
    for (const part of [even, odd]) {
      d = 1 / safe(1 + part * d);
      c = safe(1 + part / c);
      change *= c * d;
      found *= c * d;
    }
    if (Math.abs(change - 1) < 1e-14) break;
  }
  const front = Math.exp(a * Math.log(x) + b * Math.log(1 - x) + logGamma(a + b) - logGamma(a) - logGamma(b));
  return (front * found) / a;
}

const LANCZOS = [76.18009172947146, -86.50532032941677, 24.01409824083091, -1.231739572450155, 0.1208650973866179e-2, -0.5395239384953e-5];

function logGamma(x) {
  const sum = LANCZOS.reduce((total, factor, i) => total + factor / (x + 1 + i), 1.000000000190015);
  return (x + 0.5) * Math.log(x + 5.5) - (x + 5.5) + Math.log((2.5066282746310005 * sum) / x);
}

// p-values corrected for how many there are (Holm 1979); NaN stays NaN.
export function holm(ps) {
  const order = ps.map((p, i) => [p, i]).filter(([p]) => !Number.isNaN(p)).sort(([a], [b]) => a - b);
  const found = [...ps];
  let largest = 0;
  order.forEach(([p, i], rank) => {
    largest = Math.max(largest, Math.min(1, p * (order.length - rank)));
    found[i] = largest;
  });
  return found;
}
