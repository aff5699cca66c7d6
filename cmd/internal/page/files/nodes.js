// SPDX-License-Identifier: Apache-2.0
// Nodes: the list, and one node.

import { h, link, name, code } from './dom.js';
import { state } from './store.js';
import { nodeSign, sessionSign } from './model.js';
import { sign, counted, since, listed } from './words.js';
import { chainOf } from './chain.js';
import { filterTools, matches, paged } from './lists.js';

const words = { ok: 'fine', part: 'look', broken: 'broken', unknown: 'not known', none: 'not used' };

function sessionsOf(t, node) {
  const out = [];
  for (const p of t.peers) for (const s of p.sessions) if (s.node === node) out.push({ peer: p, session: s });
  return out;
}

export function nodesView(redraw) {
  const t = state.topology;
  const all = t.nodes.map(n => ({ n, kind: nodeSign(t, n), sessions: sessionsOf(t, n.name).filter(x => x.session.wanted) }));
  const tools = filterTools('nodes', redraw, undefined, ['broken', 'part', 'ok'].map(id => ({ id, sign: id, word: words[id], count: all.filter(x => x.kind === id).length })));
  const rows = all.filter(x => (!tools.chip || x.kind === tools.chip) && matches(tools.text, x.n.name, ...(x.n.addresses || [])));
  return h('div', { class: 'stack' },
    h('div', { class: 'head' }, h('h1', {}, 'Nodes'), h('span', { class: 'more' }, counted(t.nodes.length, 'node'))),
    h('section', { class: 'sheet' }, tools.element,
      !t.nodes.length ? h('p', { class: 'empty' }, 'No node is known.') : !rows.length ? h('p', { class: 'empty' }, 'No node matches.') :
        h('div', { class: 'scroll' }, h('table', { class: 'table' },
          h('thead', {}, h('tr', {}, ['State', 'Node', 'Addresses', 'Agent', 'Sessions up', 'Services', 'Remarks'].map((x, i) => h('th', { scope: 'col', class: i === 0 ? 'first' : i === 4 || i === 5 ? 'right' : '' }, x)))),
          h('tbody', {}, paged('nodes', rows, redraw, 7, x => h('tr', {},
            h('td', { class: 'tight first' }, h('span', { class: 'word ' + x.kind }, sign(x.kind, words[x.kind]), words[x.kind])),
            h('td', {}, link(['node', x.n.name], name(x.n.name))),
            h('td', {}, (x.n.addresses || []).map(a => h('div', {}, code(a)))),
            h('td', {}, agentText(x.n)),
            h('td', { class: 'right' }, x.sessions.length ? sessionsUp(x.sessions) : h('span', { class: 'faint' }, '–')),
            h('td', { class: 'right' }, x.n.services.toLocaleString('en')),
            h('td', { class: 'last' }, remarks(x.n).map(r => h('div', {}, h('bdi', {}, r))))))))))); 
}

function sessionsUp(sessions) {
  const up = sessions.filter(x => x.session.up).length, unknown = sessions.filter(x => !x.session.up && x.session.from === 'rules').length;
  return up + ' of ' + sessions.length + (unknown ? ', ' + unknown + ' not known' : '');
}

function agentText(n) {
  if (!n.agent.running) return h('span', { class: 'word broken' }, sign('broken'), 'does not run');
  return [h('bdi', {}, n.agent.pod || 'runs'), n.agent.version && h('span', { class: 'faint' }, ' ' + n.agent.version)];
}

function remarks(n) {
  const out = [];
  if (n.agent.absence) out.push(n.agent.absence);
  if (n.refusal) out.push('announces nothing: ' + n.refusal);
  if (n.drain) out.push('drains since ' + n.drain);
  if (n.frr) out.push('FRR: ' + n.frr);
  if (n.layer2) out.push('layer 2: ' + n.layer2);
  if (n.dataPlane) out.push('data plane: ' + n.dataPlane);
  if (n.lackingInterfaces && n.lackingInterfaces.length) out.push('lacks interfaces ' + listed(n.lackingInterfaces));
  for (const e of n.errors || []) out.push(e);
  return out;
}

export function nodeView(redraw, id) {
  const t = state.topology;
  const n = t.nodes.find(x => x.name === id);
  const sessions = sessionsOf(t, id);
  return h('div', { class: 'stack' },
    h('div', { class: 'head' }, sign(n ? nodeSign(t, n) : 'unknown'), h('h1', {}, name(id)), n && h('span', { class: 'more' }, (n.addresses || []).map(a => [code(a), ' '])),
      n && h('span', { class: 'more' }, 'announces ', counted(n.services, 'Service'))),
    chainOf(redraw, 'node/' + id, 'heraldctl why node/' + id),
    sessions.length > 0 && h('section', { class: 'sheet' }, h('header', {}, h('h2', {}, 'BGP sessions')),
      h('div', { class: 'scroll' }, h('table', { class: 'table' },
        h('thead', {}, h('tr', {}, ['State', 'Router', 'Address', 'AS', 'For', 'Routes sent', 'Remarks'].map((x, i) => h('th', { scope: 'col', class: i === 0 ? 'first' : i === 5 ? 'right' : '' }, x)))),
        h('tbody', {}, sessions.map(({ peer, session }) => h('tr', {},
          h('td', { class: 'tight first' }, sessionWord(session)),
          h('td', {}, link(['peer', peer.name], name(peer.name))), h('td', {}, code(peer.address)), h('td', {}, peer.asn),
          h('td', {}, since(session.since)), h('td', { class: 'right' }, session.from === 'agent' && session.up ? session.sent : ''),
          h('td', { class: 'last' }, h('bdi', {}, sessionRemark(session))))))))),
    n && announced(t, id, redraw));
}

export function sessionWord(s) {
  const kind = sessionSign(s);
  const word = !s.wanted ? 'not wanted' : s.up ? 'up' : s.from === 'rules' ? 'not known' : s.state && s.state !== 'Established' ? s.state : 'down';
  return h('span', { class: 'word ' + kind }, sign(kind, word), word);
}

export function sessionRemark(s) {
  return [s.message || s.reason || '', s.bfd ? 'BFD ' + s.bfd : ''].filter(Boolean).join('; ').replace(/^Configured$/, '');
}

function announced(t, id, redraw) {
  const rows = [];
  for (const svc of t.services) for (const a of svc.announcers || []) if (a.node === id) rows.push({ svc, a });
  return h('section', { class: 'sheet' }, h('header', {}, h('h2', {}, 'Services that it announces')),
    !rows.length ? h('p', { class: 'empty' }, 'None.') : h('div', { class: 'scroll' }, h('table', { class: 'table' },
      h('thead', {}, h('tr', {}, ['Service', 'Addresses', 'Over', 'To'].map((x, i) => h('th', { scope: 'col', class: i ? '' : 'first' }, x)))),
      h('tbody', {}, paged('announced', rows, redraw, 4, ({ svc, a }) => h('tr', {},
        h('td', { class: 'first' }, link(['service', svc.name], name(svc.name))), h('td', {}, svc.addresses.map(x => [code(x.address), ' '])),
        h('td', {}, a.protocol === 'bgp' ? 'BGP' : 'layer 2'), h('td', { class: 'last' }, h('bdi', {}, a.protocol === 'bgp' ? listed(a.peers, 8) : a.interfaces && a.interfaces.length ? listed(a.interfaces, 8) : 'all interfaces'))))))));
}
