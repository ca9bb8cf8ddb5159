// Smoothing. The raw values are always drawn too.

// Exponential moving average that is not pulled towards zero at the start, and steps over gaps.
export function smooth(values, weight) {
  if (!(weight > 0)) return values;
  const found = new Float64Array(values.length);
  let sum = 0;
  let share = 0;
  for (let i = 0; i < values.length; i += 1) {
    if (Number.isFinite(values[i])) {
      sum = sum * weight + (1 - weight) * values[i];
      share = share * weight + (1 - weight);
      found[i] = sum / share;
    } else found[i] = NaN;
  }
  return found;
}
