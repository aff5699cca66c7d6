// SPDX-License-Identifier: Apache-2.0
// Routers: which node has a session with which.

import { h, link, name, code } from './dom.js';
import { state } from './store.js';
import { sessionSign } from './model.js';
import { sign, counted, since } from './words.js';
import { chainOf } from './chain.js';
import { sessionWord, sessionRemark } from './nodes.js';

let open = ''; // NODE PEER whose session is shown in full
const mostNodes = 300;

export function peersView(redraw) {
  const t = state.topology;
  const by = new Map();
  for (const p of t.peers) for (const s of p.sessions) by.set(s.node + ' ' + p.name, s);
  const wanted = t.peers.reduce((n, p) => n + p.wanted, 0), up = t.peers.reduce((n, p) => n + p.up, 0);
  const bad = n => t.peers.some(p => { const s = by.get(n.name + ' ' + p.name); return s && sessionSign(s) === 'broken'; });
  const nodes = [...t.nodes].sort((a, b) => bad(b) - bad(a)).slice(0, mostNodes);
  const cell = (n, p) => {
    const s = by.get(n.name + ' ' + p.name), key = n.name + ' ' + p.name;
    if (!s) return h('td', {}, h('span', { class: 'cell faint' }, '–'));
    const kind = sessionSign(s);
    return h('td', { class: kind === 'broken' ? 'down' : '' }, h('button', {
      type: 'button', class: 'cell', 'data-key': 'cell:' + key, 'aria-expanded': open === key ? 'true' : 'false',
      'aria-label': `${n.name} with ${p.name}`,
      on: { click: () => {
        open = open === key ? '' : key;
        redraw();
      } },
    }, sessionWord(s), h('span', { class: 'small' }, s.wanted ? s.since ? ['for ', since(s.since)] : '\u00a0' : s.reason || '\u00a0')));
  };
  const shown = by.get(open);
  const [node, ...peer] = open.split(' ');
  return h('div', { class: 'stack' },
    h('div', { class: 'head' }, h('h1', {}, 'Routers'), h('span', { class: 'more' }, counted(t.peers.length, 'peer'), ', ', up + ' of ' + counted(wanted, 'session'), ' up')),
    !t.peers.length ? h('section', { class: 'sheet' }, h('p', { class: 'empty' }, 'No BGP peer is configured. Services are announced on layer 2 alone.')) :
      h('section', { class: 'sheet' },
        h('div', { class: 'scroll' }, h('table', { class: 'table matrix' },
          h('thead', {}, h('tr', {}, h('th', { scope: 'col', class: 'first' }, 'Node'), t.peers.map(p => h('th', { scope: 'col' }, link(['peer', p.name], name(p.name)), h('div', { class: 'faint' }, code(p.address), ' AS ', p.asn), h('div', { class: 'faint' }, p.up + ' of ' + p.wanted + ' up'))))),
          h('tbody', {}, nodes.map(n => h('tr', {}, h('th', { scope: 'row', class: 'first' }, link(['node', n.name], name(n.name))), t.peers.map(p => cell(n, p))))))),
        t.nodes.length > mostNodes && h('p', { class: 'after' }, 'The first ' + mostNodes + ' of ' + counted(t.nodes.length, 'node'))),
    shown && h('section', { class: 'sheet' }, h('header', {}, h('h2', {}, name(node), ' and ', name(peer.join(' ')))),
      h('dl', { class: 'facts pad' }, sessionFacts(shown).map(([k, v]) => [h('dt', {}, k), h('dd', {}, v)]))));
}

// sessionFacts are all that is known of a session.
function sessionFacts(s) {
  const from = { agent: 'the agent', objects: 'what the agent wrote into its ConfigurationState', rules: 'nobody: it follows from the configuration' };
  const rows = [['State', sessionWord(s)], ['Since', since(s.since)], ['Reason', s.reason], ['Message', s.message && h('bdi', {}, s.message)],
    ['Last error', s.lastError && h('bdi', {}, s.lastError)], ['BFD', s.bfd], ['Routes sent', s.from === 'agent' && s.up ? s.sent : ''], ['Known from', from[s.from]]];
  const done = new Set(['node', 'from', 'wanted', 'up', 'state', 'since', 'sent', 'bfd', 'reason', 'message', 'lastError']);
  for (const [k, v] of Object.entries(s)) if (!done.has(k) && v !== null && typeof v !== 'object') rows.push([k, String(v)]);
  return rows.filter(([, v]) => v !== undefined && v !== null && v !== '');
}

export function peerView(redraw, id) {
  const t = state.topology;
  const p = t.peers.find(x => x.name === id);
  const kind = !p ? 'unknown' : p.wanted && p.up === p.wanted ? 'ok' : p.up ? 'part' : p.sessions.some(s => sessionSign(s) === 'broken') ? 'broken' : 'unknown';
  return h('div', { class: 'stack' },
    h('div', { class: 'head' }, sign(kind), h('h1', {}, name(id)), p && h('span', { class: 'more' }, code(p.address), ' AS ', p.asn, p.bfdProfile ? ', BFD profile ' + p.bfdProfile : '')),
    chainOf(redraw, 'peer/' + id, 'heraldctl why peer/' + id),
    p && p.sessions.length > 0 && h('section', { class: 'sheet' }, h('header', {}, h('h2', {}, 'Sessions')),
      h('div', { class: 'scroll' }, h('table', { class: 'table' },
        h('thead', {}, h('tr', {}, ['State', 'Node', 'For', 'Routes sent', 'Remarks'].map((x, i) => h('th', { scope: 'col', class: i === 0 ? 'first' : i === 3 ? 'right' : '' }, x)))),
        h('tbody', {}, p.sessions.map(s => h('tr', {}, h('td', { class: 'tight first' }, sessionWord(s)), h('td', {}, link(['node', s.node], name(s.node))), h('td', {}, since(s.since)),
          h('td', { class: 'right' }, s.from === 'agent' && s.up ? s.sent : ''), h('td', { class: 'last' }, h('bdi', {}, sessionRemark(s))))))))));
}
