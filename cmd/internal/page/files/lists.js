// SPDX-License-Identifier: Apache-2.0
// What lists have in common: a filter, chips of states, and pages.

import { h } from './dom.js';
import { sign } from './words.js';

const page = 200;
const kept = new Map(); // by list: {text, chip, shown}

function of(list) {
  if (!kept.has(list)) kept.set(list, { text: '', chip: '', shown: page, start: undefined });
  return kept.get(list);
}

// filterTools returns the text and the chip by which a list is filtered, and their element.
export function filterTools(list, redraw, start, chips, extra) {
  const its = of(list);
  if (start !== undefined && start !== its.start) {
    its.text = start;
    its.start = start;
    its.shown = page;
  }
  const input = h('input', {
    type: 'search', value: its.text, placeholder: 'Filter', 'aria-label': 'Filter the list', 'data-key': 'filter:' + list, spellcheck: 'false', autocomplete: 'off',
    on: { input: () => {
      its.text = input.value;
      its.shown = page;
      redraw();
    } },
  });
  const buttons = chips.filter(c => c.count).map(c => h('button', {
    type: 'button', class: 'chip', 'aria-pressed': its.chip === c.id ? 'true' : 'false', 'data-key': 'chip:' + list + ':' + c.id,
    on: { click: () => {
      its.chip = its.chip === c.id ? '' : c.id;
      its.shown = page;
      redraw();
    } },
  }, c.sign && sign(c.sign, ''), c.word, h('span', { class: 'faint' }, c.count.toLocaleString('en'))));
  if (its.chip && !chips.some(c => c.id === its.chip && c.count)) its.chip = '';
  return { text: its.text.toLowerCase(), chip: its.chip, element: h('div', { class: 'tools' }, input, h('div', { class: 'chips' }, buttons), extra) };
}

// matches reports whether one of some texts contains another one, which is in lower case.
export function matches(text, ...among) {
  return !text || among.some(x => x.toLowerCase().includes(text));
}

// paged returns the rows of the first page, and a row that shows more.
export function paged(list, all, redraw, columns, row) {
  const its = of(list);
  const out = all.slice(0, its.shown).map(row);
  if (all.length > its.shown) {
    out.push(h('tr', {}, h('td', { colspan: columns, class: 'after' },
      'The first ' + its.shown + ' of ' + all.length.toLocaleString('en') + '. ',
      h('button', { type: 'button', class: 'button', 'data-key': 'more:' + list, on: { click: () => {
        its.shown += page;
        redraw();
      } } }, 'Show more'))));
  }
  return out;
}
