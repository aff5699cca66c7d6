// SPDX-License-Identifier: Apache-2.0
// The list of Services, and one Service link by link.

import { h, link, name, code } from './dom.js';
import { state } from './store.js';
import { nodesOf } from './model.js';
import { sign, signOfState, wordOfState, counted, since, listed, docsOf } from './words.js';
import { chainOf } from './chain.js';
import { filterTools, matches, paged } from './lists.js';

const states = ['NotAnnounced', 'NoAddress', 'Degraded', 'Unknown', 'Announced', 'Other'];
const order = new Map(states.map((x, i) => [x, i]));

export function servicesView(redraw, start) {
  const t = state.topology;
  const tools = filterTools('services', redraw, start, states.map(x => ({
    id: x, sign: signOfState[x], word: wordOfState[x], count: t.services.filter(svc => svc.state === x).length,
  })));
  const rows = t.services.filter(svc => (!tools.chip || svc.state === tools.chip) &&
    matches(tools.text, svc.name, ...svc.addresses.flatMap(a => [a.address, a.pool || '']), svc.class || ''));
  rows.sort((a, b) => order.get(a.state) - order.get(b.state));
  return h('div', { class: 'stack' },
    h('div', { class: 'head' }, h('h1', {}, 'Services'), h('span', { class: 'more' }, counted(t.services.length, 'Service'), ' of type LoadBalancer')),
    h('section', { class: 'sheet' },
      tools.element,
      !t.services.length ? h('p', { class: 'empty' }, 'No Service of type LoadBalancer exists.') :
        !rows.length ? h('p', { class: 'empty' }, 'No Service matches.') :
          h('div', { class: 'scroll' }, h('table', { class: 'table' },
            h('thead', {}, h('tr', {}, ['State', 'Service', 'Addresses', 'Pool', 'Announced from', 'Why not'].map((text, i) => h('th', { scope: 'col', class: i === 0 ? 'first' : '' }, text)))),
            h('tbody', {}, paged('services', rows, redraw, 6, row)))))); 
}

function row(svc) {
  const kind = signOfState[svc.state];
  return h('tr', {},
    h('td', { class: 'tight first' }, h('span', { class: 'word ' + kind }, sign(kind, wordOfState[svc.state]), wordOfState[svc.state])),
    h('td', {}, link(['service', svc.name], name(svc.name))),
    h('td', {}, svc.addresses.map(a => h('div', {}, code(a.address)))),
    h('td', {}, [...new Set(svc.addresses.map(a => a.pool).filter(Boolean))].map(p => h('div', {}, link(['pool', p], name(p))))),
    h('td', {}, announcers(svc)),
    h('td', { class: 'last' }, kind === 'ok' || kind === 'none' ? '' : h('bdi', {}, why(svc))));
}

// announcers says in short which nodes announce a Service, and to whom.
function announcers(svc) {
  const by = new Map();
  for (const a of svc.announcers || []) by.set(a.protocol, [...(by.get(a.protocol) || []), a.node]);
  return [...by].map(([protocol, nodes]) => h('div', {}, h('span', { class: 'faint' }, protocol === 'bgp' ? 'BGP ' : 'layer 2 '), h('bdi', {}, listed(nodes))));
}

export function why(svc) {
  if (svc.state === 'NoAddress') return svc.assigned.message || svc.assigned.reason || 'it has no address yet';
  if (svc.state === 'Degraded') return listed(svc.lacks, 2);
  return svc.announced.message || svc.announced.reason || '';
}

export function serviceView(redraw, id) {
  const t = state.topology;
  const svc = t.services.find(x => x.name === id);
  const head = h('div', { class: 'head' }, svc ? sign(signOfState[svc.state], wordOfState[svc.state]) : sign('unknown'),
    h('h1', {}, name(id)),
    svc && h('span', { class: 'word ' + signOfState[svc.state] }, wordOfState[svc.state]),
    svc && h('span', { class: 'more' }, svc.addresses.map(a => [code(a.address), ' '])),
    svc && svc.created && h('span', { class: 'more' }, 'created ', since(svc.created), ' ago'));
  return h('div', { class: 'stack' }, head, chainOf(redraw, id, 'heraldctl why ' + id), svc && decisions(svc));
}

// decisions is what each node decides about a Service.
function decisions(svc) {
  const verdicts = svc.verdicts || [];
  const known = new Set(verdicts.flatMap(v => v.nodes));
  const rest = [...nodesOf(svc).keys()].filter(n => !known.has(n));
  if (!verdicts.length && !rest.length) return null;
  const rows = verdicts.map(v => {
    const kind = v.announce ? v.confirmed ? 'ok' : 'part' : svc.state === 'NotAnnounced' && v.reason !== 'NotOwner' ? 'broken' : 'none';
    const word = v.announce ? v.confirmed ? 'announces' : 'is to announce' : 'does not announce';
    const missing = (v.peers || []).filter(p => !(v.sent || []).includes(p));
    return h('tr', {},
      h('td', { class: 'tight first' }, h('span', { class: 'word ' + kind }, sign(kind, word), word)),
      h('td', {}, v.nodes.map((n, i) => [i ? ', ' : '', link(['node', n], name(n))])),
      h('td', { class: 'tight' }, code(v.address || ''), ' ', h('span', { class: 'faint' }, v.protocol === 'bgp' ? 'BGP' : 'layer 2')),
      h('td', {}, v.reason !== 'Announced' && docsOf(v.reason), v.detail && h('div', {}, h('bdi', {}, v.detail)),
        v.sent && v.sent.length > 0 && h('div', {}, 'sent to ', v.sent.map((p, i) => [i ? ', ' : '', link(['peer', p], name(p))])),
        v.announce && missing.length > 0 && h('div', { class: 'word part' }, sign('part'), 'not sent to ', h('bdi', {}, listed(missing)))),
      h('td', { class: 'faint last tight' }, { agent: 'by its agent', objects: 'by an object', rules: 'by the rules' }[v.from]));
  });
  return h('section', { class: 'sheet' },
    h('header', {}, h('h2', {}, 'What each node decides'), h('span', { class: 'more' }, verdicts.some(v => v.from === 'rules') ? 'where the agent was not asked, it follows from the configuration, and from what the agent wrote into objects' : '')),
    h('div', { class: 'scroll' }, h('table', { class: 'table' },
      h('thead', {}, h('tr', {}, ['Decision', 'Nodes', 'Address', 'Why, and to whom', 'Known'].map((x, i) => h('th', { scope: 'col', class: i ? '' : 'first' }, x)))),
      h('tbody', {}, rows, rest.length ? h('tr', {}, h('td', { class: 'tight first' }, h('span', { class: 'word ok' }, sign('ok'), 'announces')), h('td', { colspan: 4 }, listed(rest, 20))) : null))));
}
