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
