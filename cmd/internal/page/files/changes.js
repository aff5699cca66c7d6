// SPDX-License-Identifier: Apache-2.0
// What has changed, and how long what failed took to work again.

import { h, s, name } from './dom.js';
import { state } from './store.js';
import { sign, clock, span, counted, objectLink, wordOfState } from './words.js';
import { filterTools, matches } from './lists.js';

const kinds = [['service', 'Services'], ['session', 'sessions'], ['node', 'nodes'], ['pool', 'pools'], ['peer', 'routers'], ['controller', 'controllers'], ['configuration', 'configuration']];
const objects = { service: 'Service', node: 'Node', pool: 'pool', peer: 'peer' };

export function changesView(redraw) {
  const all = [...state.changes].reverse();
  const tools = filterTools('changes', redraw, undefined, [
    { id: 'bad', sign: 'broken', word: 'got worse', count: all.filter(c => c.bad).length },
    ...kinds.map(([id, word]) => ({ id, word, count: all.filter(c => c.kind === id).length })),
  ]);
  const rows = all.filter(c => (!tools.chip || c.kind === tools.chip || tools.chip === 'bad' && c.bad) && matches(tools.text, c.subject || '', c.what, c.before || '', c.after || '', c.reason || ''));
  const days = [];
  let day = '';
  for (const c of rows) {
    const its = clock(c.at, true).slice(0, 10);
    if (its !== day) days.push(h('li', { class: 'day' }, day = its));
    days.push(change(c));
  }
  return h('div', { class: 'stack' },
    h('div', { class: 'head' }, h('h1', {}, 'Changes'), h('span', { class: 'more' }, 'the last 256 that were seen while somebody looked at this page')),
    failovers(all),
    h('section', { class: 'sheet' }, tools.element,
      !all.length ? h('p', { class: 'empty' }, 'Nothing has changed since somebody looks.') : !rows.length ? h('p', { class: 'empty' }, 'No change matches.') : h('ol', {}, days)));
}

function change(c) {
  const kind = c.bad ? 'broken' : c.good ? 'ok' : 'none';
  const subject = !c.subject ? h('b', {}, c.kind) : objects[c.kind] && !c.count ? objectLink(objects[c.kind] + '/' + c.subject) : name(c.subject);
  const word = x => h('bdi', {}, c.what === 'state' && wordOfState[x] || x);
  const to = c.before && c.after ? [word(c.before), ' → ', word(c.after)] : c.after ? word(c.after) : c.before ? ['no longer ', word(c.before)] : 'changed';
  return h('li', { class: 'change' }, h('time', { datetime: c.at, title: clock(c.at, true) }, clock(c.at)),
    sign(kind, c.bad ? 'got worse' : c.good ? 'works again' : 'changed'),
    h('div', {}, subject, ' ', h('span', { class: 'faint' }, c.what === c.kind || c.what === 'Service' ? '' : c.what + ' '), to,
      c.tookSeconds ? h('b', {}, ' after ' + span(c.tookSeconds)) : '',
      c.reason && h('div', { class: 'why' }, h('bdi', {}, c.reason))));
}

const buckets = [[1, '< 1 s'], [3, '1–3 s'], [10, '3–10 s'], [60, '10–60 s'], [600, '1–10 min'], [Infinity, '> 10 min']];

// failovers shows how long what did not work took to work again.
function failovers(all) {
  const took = all.filter(c => c.tookSeconds);
  const counts = buckets.map(([most], i) => took.filter(c => c.tookSeconds < most && (i === 0 || c.tookSeconds >= buckets[i - 1][0])).length);
  const top = Math.max(1, ...counts);
  const longest = took.reduce((a, c) => Math.max(a, c.tookSeconds), 0);
  return h('section', { class: 'sheet' },
    h('header', {}, h('h2', {}, 'Failovers'), h('span', { class: 'more' }, took.length ? counted(took.length, 'time') + ' something worked again; the longest took ' + span(longest) : 'how long what failed took to work again')),
    !took.length ? h('p', { class: 'empty' }, 'Nothing has failed and recovered since somebody looks.') :
      h('div', { class: 'pad' }, s('svg', { class: 'bars', viewBox: `0 0 640 ${buckets.length * 20 + 2}`, width: 640, role: 'img', 'aria-label': buckets.map(([, text], i) => text + ': ' + counts[i]).join('; ') },
        buckets.map(([, text], i) => [
          s('text', { x: 72, y: i * 20 + 15, 'text-anchor': 'end' }, text),
          s('rect', { x: 84, y: i * 20 + 4, width: counts[i] / top * 480, height: 14 }),
          s('text', { x: 92 + counts[i] / top * 480, y: i * 20 + 15 }, counts[i] || ''),
        ]), s('line', { x1: 84, x2: 84, y1: 0, y2: buckets.length * 20 + 2 }))));
}
