// SPDX-License-Identifier: Apache-2.0
// Addresses as numbers, and the blocks of 256 that pools consist of.

// parse returns {n, bits} of an address.
export function parse(text) {
  if (!text.includes(':')) {
    const parts = text.split('.').map(Number);
    return { n: BigInt(((parts[0] * 256 + parts[1]) * 256 + parts[2]) * 256 + parts[3]), bits: 32 };
  }
  let tail = [];
  const dot = text.lastIndexOf(':');
  if (text.includes('.')) {
    const four = text.slice(dot + 1).split('.').map(Number);
    tail = [four[0] * 256 + four[1], four[2] * 256 + four[3]];
    text = text.slice(0, dot + 1) + tail.map(x => x.toString(16)).join(':');
  }
  const [left, right] = text.split('::');
  const words = x => (x ? x.split(':').map(y => parseInt(y, 16)) : []);
  const a = words(left), b = right === undefined ? [] : words(right);
  const all = right === undefined ? a : [...a, ...Array(8 - a.length - b.length).fill(0), ...b];
  return { n: all.reduce((n, w) => n * 65536n + BigInt(w), 0n), bits: 128 };
}

// format is the reverse of parse. RFC 5952.
export function format(n, bits) {
  if (bits === 32) return [24n, 16n, 8n, 0n].map(s => String((n >> s) & 255n)).join('.');
  const words = Array.from({ length: 8 }, (_, i) => Number((n >> BigInt(16 * (7 - i))) & 65535n));
  let best = [-1, 1];
  for (let i = 0; i < 8; i++) {
    let k = i;
    while (k < 8 && words[k] === 0) k++;
    if (k - i > best[1]) best = [i, k - i];
  }
  const hex = words.map(w => w.toString(16));
  if (best[0] < 0) return hex.join(':');
  return hex.slice(0, best[0]).join(':') + '::' + hex.slice(best[0] + best[1]).join(':');
}

// range returns {lo, hi, bits} of "A-B", "A/LENGTH" or "A".
export function range(text) {
  const [a, b] = text.split('-').map(x => x.trim());
  if (b) return { lo: parse(a).n, hi: parse(b).n, bits: parse(a).bits };
  const [addr, length] = a.split('/');
  const { n, bits } = parse(addr);
  const size = 1n << BigInt(bits - (length === undefined ? bits : Number(length)));
  const lo = n / size * size;
  return { lo, hi: lo + size - 1n, bits };
}

// blocks returns the blocks of 256 addresses that ranges touch: all if there are few, else
// those with marked addresses. Left is how many are left out.
export function blocks(ranges, marked, most) {
  const key = (block, bits) => bits + ' ' + block;
  let count = 0n;
  for (const r of ranges) count += (r.hi >> 8n) - (r.lo >> 8n) + 1n;
  const out = new Map();
  const add = (block, bits) => out.set(key(block, bits), { base: block << 8n, bits });
  if (count <= BigInt(most)) {
    for (const r of ranges) for (let b = r.lo >> 8n; b <= r.hi >> 8n; b++) add(b, r.bits);
    return { shown: sorted(out), left: 0n };
  }
  for (const a of marked) {
    if (out.size < most || out.has(key(a.n >> 8n, a.bits))) add(a.n >> 8n, a.bits);
  }
  if (!out.size) for (const r of ranges.slice(0, most)) add(r.lo >> 8n, r.bits);
  return { shown: sorted(out), left: count - BigInt(out.size) };
}

function sorted(blocks) {
  return [...blocks.values()].sort((a, b) => a.bits - b.bits || (a.base < b.base ? -1 : a.base > b.base ? 1 : 0));
}
