// SPDX-License-Identifier: Apache-2.0
// Why something works or not, link by link: what heraldctl why prints.

import { h } from './dom.js';
import { state, explain } from './store.js';
import { sign, signOfLink, problem, command } from './words.js';

const known = new Map(); // by subject: {etag, chain, error}
const most = 50;

// chainOf shows the Chain of a subject, and asks for a newer one if there may be one.
export function chainOf(redraw, subject, line) {
  const had = known.get(subject);
  if ((!had || had.etag !== state.etag) && state.link === 'live') ask(subject, redraw);
  if (!had) return h('section', { class: 'sheet' }, h('p', { class: 'empty' }, 'Asking why…'));
  if (had.error) return h('section', { class: 'sheet' }, h('p', { class: 'empty' }, sign('unknown'), ' ', h('bdi', {}, had.error)));
  const c = had.chain;
  const problems = c.problems || [];
  return h('div', { class: 'stack' },
    problems.length > 0 && h('section', { class: 'sheet' }, h('ul', {}, problems.slice(0, 6).map(p => problem(p))),
      problems.length > 6 && h('p', { class: 'after' }, 'and ' + (problems.length - 6) + ' more')),
    h('section', { class: 'sheet' },
      h('header', {}, h('h2', {}, c.broken ? ['First broken link: ', h('bdi', {}, c.broken)] : c.health === 'fine' ? 'Every link works' : c.health === 'broken' ? 'Link by link' : 'Not all could be told'),
        h('span', { class: 'more' }, h('bdi', {}, c.summary)), h('span', { class: 'right' }, command(line))),
      h('ol', { class: 'chain' }, c.links.map(l => h('li', { class: l.name === c.broken && l.result === 'broken' ? 'here' : '' },
        sign(signOfLink[l.result] || 'unknown'),
        h('div', { class: 'what' }, l.name),
        h('div', { class: 'says' }, h('bdi', {}, l.text), l.details && l.details.length > 0 && h('ul', { class: 'details' }, l.details.map(d => h('li', {}, h('bdi', {}, d))))))))));
}

const asking = new Set();

async function ask(subject, redraw) {
  if (asking.has(subject)) return;
  asking.add(subject);
  const etag = state.etag;
  try {
    known.set(subject, { etag, chain: await explain(subject) });
  } catch (err) {
    known.set(subject, { etag, error: err.message });
  } finally {
    asking.delete(subject);
  }
  if (known.size > most) known.delete(known.keys().next().value);
  redraw();
}
