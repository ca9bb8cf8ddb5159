// One colour per run, the same in every chart: spread over the wheel by a hash of its id.
export function colourOf(name) {
  let hash = 2166136261;
  for (let i = 0; i < name.length; i += 1) {
    hash = Math.imul(hash ^ name.charCodeAt(i), 16777619) >>> 0;
  }
  return `hsl(${(hash * 137.508) % 360} 65% 45%)`;
}
