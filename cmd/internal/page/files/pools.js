// SPDX-License-Identifier: Apache-2.0
// Pools: how much of each is used, and a map of its addresses.

import { h, s, link, name, code } from './dom.js';
import { state } from './store.js';
import { usage, full } from './model.js';
import { sign, signOfState, wordOfState, counted, listed } from './words.js';
import { parse, format, range, blocks } from './address.js';
import { chainOf } from './chain.js';
import { filterTools, matches, paged } from './lists.js';

const mostBlocks = 16;

function meters(p) {
  const rows = [];
  for (const [family, total, used, reserved, held] of [['IPv4', p.totalIPv4, p.inUseIPv4, p.reservedIPv4, p.retainedIPv4], ['IPv6', p.totalIPv6, p.inUseIPv6, p.reservedIPv6, p.retainedIPv6]]) {
    if (!total || Number(total) === 0) continue;
    const share = Math.min(1, (used + (reserved || 0) + (held || 0)) / Number(total));
    rows.push(h('div', {}, h('div', {}, h('span', { class: 'faint' }, family + ' '), `${used.toLocaleString('en')} of ${usage({ ...p, [family === 'IPv4' ? 'totalIPv6' : 'totalIPv4']: null }).split(' of ')[1].replace(' IPv6', '')} in use`,
      reserved ? `, ${reserved} reserved` : '', held ? `, ${held} held` : ''),
    s('svg', { class: 'meter', viewBox: '0 0 200 8', preserveAspectRatio: 'none', 'aria-hidden': 'true' },
      s('rect', { class: 'all', width: 200, height: 8 }), s('rect', { class: share === 1 ? 'full' : 'some', width: Math.max(share * 200, used ? 1.5 : 0), height: 8 }))));
  }
  return rows;
}

export function poolsView(redraw) {
  const t = state.topology;
  return h('div', { class: 'stack' },
    h('div', { class: 'head' }, h('h1', {}, 'Pools'), h('span', { class: 'more' }, counted(t.pools.length, 'pool'))),
    h('section', { class: 'sheet' }, !t.pools.length ? h('p', { class: 'empty' }, t.config.loaded ? 'The configuration has no pool.' : 'There is no configuration.') :
      h('div', { class: 'scroll' }, h('table', { class: 'table' },
        h('thead', {}, h('tr', {}, ['Pool', 'In use', 'Addresses', 'Advertised by', 'Given', 'Services'].map((x, i) => h('th', { scope: 'col', class: i === 0 ? 'first' : i === 5 ? 'right last' : '' }, x)))),
        h('tbody', {}, t.pools.map(p => h('tr', {},
          h('td', { class: 'first' }, link(['pool', p.name], name(p.name)), full(p) && h('div', { class: 'word part' }, sign('part', 'full'), 'full')),
          h('td', {}, meters(p)),
          h('td', {}, p.addresses.slice(0, 6).map(a => h('div', {}, code(a))), p.addresses.length > 6 && h('div', { class: 'faint' }, 'and ' + (p.addresses.length - 6) + ' more')),
          h('td', {}, p.advertisements.length ? p.advertisements.map(a => h('div', {}, h('bdi', {}, a))) : h('span', { class: 'word broken' }, sign('broken', 'none'), 'nothing')),
          h('td', {}, p.autoAssign ? 'to every Service' : 'on request'),
          h('td', { class: 'right last' }, p.clients.length.toLocaleString('en')))))))));
}

export function poolView(redraw, id) {
  const t = state.topology;
  const p = t.pools.find(x => x.name === id);
  return h('div', { class: 'stack' },
    h('div', { class: 'head' }, sign(!p ? 'unknown' : full(p) || !p.advertisements.length ? 'part' : 'ok'), h('h1', {}, name(id)), p && h('span', { class: 'more' }, usage(p), ' in use')),
    p && map(t, p, redraw),
    chainOf(redraw, 'pool/' + id, 'heraldctl why pool/' + id));
}

// map shows each address of a pool, and who has it.
function map(t, p, redraw) {
  const used = new Map(), reserved = new Map(), marked = [];
  for (const svc of t.services) {
    for (const a of svc.addresses) {
      if (a.pool !== p.name) continue;
      const { n, bits } = parse(a.address);
      const key = bits + ' ' + n;
      if (!used.has(key)) {
        used.set(key, { address: a.address, services: [] });
        marked.push({ n, bits });
      }
      used.get(key).services.push(svc);
    }
  }
  for (const r of p.reservations || []) {
    const { n, bits } = parse(r.address);
    reserved.set(bits + ' ' + n, r.service);
    marked.push({ n, bits });
  }
  marked.sort((a, b) => a.bits - b.bits || (a.n < b.n ? -1 : a.n > b.n ? 1 : 0));
  const ranges = p.addresses.map(range);
  const { shown, left } = blocks(ranges, marked, mostBlocks);
  const tools = filterTools('pool:' + p.name, redraw, undefined, []);
  const rows = marked.map(a => used.get(a.bits + ' ' + a.n)).filter(Boolean).filter(u => matches(tools.text, u.address, ...u.services.map(x => x.name)));
  const kept = [...reserved].filter(([key]) => !used.has(key)).map(([key, service]) => ({ address: format(BigInt(key.split(' ')[1]), Number(key.split(' ')[0])), service })).filter(r => matches(tools.text, r.address, r.service));
  const show = address => {
    const input = document.querySelector('.tools input');
    input.value = address;
    input.dispatchEvent(new Event('input'));
  };
  const held = (p.retainedIPv4 || 0) + (p.retainedIPv6 || 0);
  return h('div', { class: 'stack' },
    h('section', { class: 'sheet' }, h('header', {}, h('h2', {}, 'Addresses'), h('span', { class: 'more' }, 'each square is an address; 16 in a row')),
      h('div', { class: 'pad maps' }, shown.map(b => blockMap(b, ranges, used, reserved, show))),
      left > 0n && h('p', { class: 'pad note' }, `and ${left.toLocaleString('en')} more blocks of 256 addresses, all of them free` + (shown.length >= mostBlocks && marked.length ? ' or not shown' : '')),
      held > 0 && h('p', { class: 'pad note' }, counted(held, 'address is', 'addresses are'), ' held for Services that were deleted'),
      h('div', { class: 'legend' }, [['used', 'used'], ['broken', 'used, not announced'], ['reserved', 'reserved'], ['free', 'free'], ['out', 'not in the pool']].map(([k, text]) =>
        h('span', {}, s('svg', { viewBox: '0 0 36 12', 'aria-hidden': 'true' }, spot(k, 12, 0, 11)), text)))),
    h('section', { class: 'sheet' }, tools.element,
      !used.size && !reserved.size ? h('p', { class: 'empty' }, 'No address is used.') : h('div', { class: 'scroll' }, h('table', { class: 'table' },
        h('thead', {}, h('tr', {}, ['Address', 'By', 'State'].map((x, i) => h('th', { scope: 'col', class: i ? '' : 'first' }, x)))),
        h('tbody', {}, paged('pool:' + p.name, [...rows, ...kept], redraw, 3, u => h('tr', {},
          h('td', { class: 'tight first' }, code(u.address)),
          h('td', {}, u.services ? u.services.map(x => h('div', {}, link(['service', x.name], name(x.name)))) : ['reserved for ', name(u.service)]),
          h('td', { class: 'last' }, u.services ? u.services.map(x => h('div', { class: 'word ' + signOfState[x.state] }, sign(signOfState[x.state], wordOfState[x.state]), wordOfState[x.state])) : h('span', { class: 'faint' }, 'not used')))))))));
}

// spot draws one address.
function spot(kind, x, y, size, title, on) {
  const marks = {
    reserved: () => s('path', { class: 'spot-mark', d: `M${x} ${y + size}L${x + size} ${y}M${x} ${y + size / 2}L${x + size / 2} ${y}M${x + size / 2} ${y + size}L${x + size} ${y + size / 2}` }),
    broken: () => s('path', { class: 'spot-mark light', d: `M${x + 3} ${y + 3}L${x + size - 3} ${y + size - 3}M${x + size - 3} ${y + 3}L${x + 3} ${y + size - 3}` }),
  };
  const square = s('rect', { class: 'spot ' + kind, x: x + 1, y: y + 1, width: size - 2.5, height: size - 2.5, rx: 1.5, on }, title && s('title', {}, title));
  return [square, marks[kind] && marks[kind]()];
}

function blockMap(b, ranges, used, reserved, show) {
  const size = 16, squares = [];
  let count = 0;
  for (let i = 0; i < 256; i++) {
    const n = b.base + BigInt(i), key = b.bits + ' ' + n;
    const x = (i % 16) * size + 1, y = Math.floor(i / 16) * size + 1;
    const u = used.get(key);
    if (u) {
      count++;
      const bad = u.services.some(x => signOfState[x.state] === 'broken');
      squares.push(spot(bad ? 'broken' : 'used', x, y, size, u.address + '\n' + listed(u.services.map(x => x.name), 6), { click: () => show(u.address) }));
    } else if (reserved.has(key)) {
      squares.push(spot('reserved', x, y, size, format(n, b.bits) + '\nreserved for ' + reserved.get(key)));
    } else if (ranges.some(r => r.bits === b.bits && r.lo <= n && n <= r.hi)) {
      squares.push(spot('free', x, y, size, format(n, b.bits) + '\nfree'));
    } else {
      squares.push(spot('out', x, y, size));
    }
  }
  const title = format(b.base, b.bits) + '/' + (b.bits - 8);
  return h('figure', { class: 'map' }, h('h3', {}, title), s('svg', { viewBox: '0 0 258 258', role: 'img', 'aria-label': title + ': ' + count + ' used; the table below lists them' }, squares));
}
