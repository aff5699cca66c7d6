// SPDX-License-Identifier: Apache-2.0
// The view of the topology: one picture, and what is to be known beside it.

import { h, s, link, name, code, fit, widthOf, isolated } from './dom.js';
import { state } from './store.js';
import { build, kindOf, path, nodesOf } from './model.js';
import { sign, signAt, problem, counted, since, wordOfState, signOfState, listed } from './words.js';

let chosen = '';      // ID of the box whose path is shown
const headings = ['Pools', 'Services', 'Nodes', 'Routers and LAN'];
const shownProblems = 12;

// choose shows the path of a box alone; empty: all.
export function choose(id) { chosen = id; }
export function chosenBox() { return chosen; }

export function topologyView(redraw, width) {
  const t = state.topology;
  const m = build(t);
  if (chosen && !m.boxes.has(chosen)) chosen = '';
  const pick = id => {
    chosen = chosen === id ? '' : id;
    redraw();
  };
  const wide = width > 1100;
  return h('div', { class: 'two' },
    h('section', { class: 'sheet', 'aria-label': 'Topology' },
      m.boxes.size ? draw(t, m, Math.max(760, wide ? width - 390 : width), pick) : h('p', { class: 'empty' }, 'There is nothing to draw: no pool, no Service and no node is known.'),
      !t.services.length && m.boxes.size > 0 && h('p', { class: 'empty' }, 'No Service of type LoadBalancer exists.'),
      legend(), asOf(t)),
    h('aside', { class: 'sheet side', 'aria-label': chosen ? 'The chosen part' : 'Problems' }, chosen ? about(t, m, pick) : problems(t)));
}

function draw(t, m, width, pick) {
  const dense = m.columns.some(c => c.length > 12);
  const height = dense ? 25 : 46, gap = dense ? 4 : 14, top = 34, edgeRoom = 16, spread = 120;
  const columns = [.17, .25, .15, .215].map(share => Math.round(share * (width - 32)));
  const between = (width - 32 - columns.reduce((a, b) => a + b, 0)) / 3;
  const tall = Math.max(...m.columns.map(c => c.length), 4) * (height + gap) + top + edgeRoom;
  const at = new Map();
  m.columns.forEach((column, i) => {
    const x = 16 + columns.slice(0, i).reduce((a, b) => a + b, 0) + between * i;
    const space = tall - top - edgeRoom, room = Math.min(space / Math.max(column.length, 1), spread);
    const begin = top + (space - room * column.length) / 2;
    column.forEach((box, k) => at.set(box.id, {
      x, y: begin + room * k + (room - height) / 2, w: columns[i], h: height, column: i, row: k,
    }));
  });
  const on = chosen ? path(t, m, chosen) : null;
  const picture = s('svg', {
    class: 'picture' + (on ? ' lit' : '') + (m.edges.size > 80 ? ' many' : ''), viewBox: `0 0 ${width} ${tall}`, role: 'group',
    'aria-label': 'Pools, Services, nodes and routers. The arrow keys move, Enter shows one path alone, Escape shows all.',
  });
  headings.forEach((text, i) => {
    const x = 16 + columns.slice(0, i).reduce((a, b) => a + b, 0) + between * i;
    picture.append(s('text', { class: 'column', x, y: 20 }, text + (m.columns[i].length ? '' : ': none')));
  });
  const edges = s('g', { 'aria-hidden': 'true' }), crosses = s('g', { 'aria-hidden': 'true' });
  const drawOrder = ['gives', 'unknown', 'confirmed', 'wanted', 'refused'];
  for (const e of [...m.edges.values()].sort((a, b) => drawOrder.indexOf(kindOf(a)) - drawOrder.indexOf(kindOf(b)))) {
    const a = at.get(e.from), b = at.get(e.to), kind = kindOf(e);
    const lit = on && on.has(e.from) && on.has(e.to) ? ' on' : '';
    const x1 = a.x + a.w, y1 = a.y + a.h / 2, x2 = b.x, y2 = b.y + b.h / 2, bend = (x2 - x1) / 2;
    edges.append(s('path', { class: 'edge ' + kind + lit, d: `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}` }));
    if (kind === 'refused') {
      // Crosses of edges that meet stand apart.
      const u = .5 + ((a.row * 7 + b.row * 3) % 5 - 2) * .05;
      const [x, y] = bezier([x1, y1], [x1 + bend, y1], [x2 - bend, y2], [x2, y2], u);
      crosses.append(s('g', { class: 'cross' + lit }, s('circle', { cx: x, cy: y, r: 7 }), s('path', { d: `M${x - 3} ${y - 3}l6 6m0 -6l-6 6` })));
    }
  }
  picture.append(edges, crosses);
  for (const column of m.columns) for (const box of column) picture.append(drawBox(box, at.get(box.id), on, dense, pick));
  picture.addEventListener('keydown', event => move(event, picture, m, at, pick));
  return picture;
}

function drawBox(box, p, on, dense, pick) {
  const activate = () => {
    if (box.kind === 'more') location.hash = ['#/pools', '#/services', '#/nodes', '#/peers'][box.column];
    else pick(box.id);
  };
  const g = s('g', {
    class: 'box ' + box.kind + (chosen === box.id ? ' chosen' : '') + (on && on.has(box.id) ? ' on' : ''),
    transform: `translate(${p.x} ${p.y})`, tabindex: 0, role: 'button', 'data-key': 'box:' + box.id, 'data-box': box.id,
    'aria-pressed': chosen === box.id ? 'true' : 'false',
    'aria-label': `${box.kind} ${box.title}, ${box.sub}${box.extra ? ', ' + box.extra : ''}`,
    on: { click: activate },
  },
  s('title', {}, box.title + '\n' + box.sub + (box.extra ? '\n' + box.extra : '')),
  s('rect', { width: p.w, height: p.h, rx: 5 }),
  signAt(box.sign, 10, p.h / 2 - 7, 14));
  const inner = p.w - 42, bold = '600 13px', plain = '12px';
  if (dense) {
    const title = fit(box.title, inner, bold);
    const left = inner - widthOf(title, bold) - 10;
    g.append(s('text', { class: 'title', x: 30, y: p.h / 2 + 4.5 }, isolated(title)));
    if (left > 40) g.append(s('text', { class: 'sub', x: p.w - 10, y: p.h / 2 + 4.5, 'text-anchor': 'end' }, isolated(fit(box.sub, left, plain))));
  } else {
    const extra = box.extra ? fit(box.extra, inner / 2, plain) : '';
    g.append(s('text', { class: 'title', x: 32, y: 19 }, isolated(fit(box.title, inner - (extra ? widthOf(extra, plain) + 8 : 0), bold))),
      s('text', { class: 'sub', x: 32, y: 36 }, isolated(fit(box.sub, inner, plain))));
    if (extra) g.append(s('text', { class: 'sub', x: p.w - 10, y: 19, 'text-anchor': 'end' }, isolated(extra)));
  }
  return g;
}

function bezier(a, b, c, d, u) {
  const v = 1 - u;
  return [0, 1].map(i => v ** 3 * a[i] + 3 * v * v * u * b[i] + 3 * v * u * u * c[i] + u ** 3 * d[i]);
}

// move moves the focus by the arrow keys, and chooses by Enter or the space bar.
function move(event, picture, m, at, pick) {
  const id = event.target.dataset.box;
  if (!id) return;
  const p = at.get(id);
  let to = null;
  const near = column => m.columns[column] && [...m.columns[column]].sort((a, b) => Math.abs(at.get(a.id).y - p.y) - Math.abs(at.get(b.id).y - p.y))[0];
  switch (event.key) {
    case 'ArrowDown': to = m.columns[p.column][p.row + 1]; break;
    case 'ArrowUp': to = m.columns[p.column][p.row - 1]; break;
    case 'ArrowRight': for (let c = p.column + 1; c < 4 && !to; c++) to = near(c); break;
    case 'ArrowLeft': for (let c = p.column - 1; c >= 0 && !to; c--) to = near(c); break;
    case 'Home': to = m.columns[p.column][0]; break;
    case 'End': to = m.columns[p.column].at(-1); break;
    case 'Enter': case ' ': event.target.dispatchEvent(new MouseEvent('click', { bubbles: true })); event.preventDefault(); return;
    default: return;
  }
  event.preventDefault();
  if (to) for (const g of picture.querySelectorAll('.box')) if (g.dataset.box === to.id) g.focus();
}

function legend() {
  const line = (kind, text) => h('span', {}, s('svg', { viewBox: '0 0 36 12', 'aria-hidden': 'true' },
    s('path', { class: 'edge ' + kind, d: 'M1 6H35' }),
    kind === 'refused' && s('g', { class: 'cross' }, s('circle', { cx: 18, cy: 6, r: 5 }), s('path', { d: 'M16 4l4 4m0 -4l-4 4' }))), text);
  return h('div', { class: 'legend' }, line('confirmed', 'confirmed'), line('wanted', 'wanted, not confirmed'), line('refused', 'refused or down'), line('unknown', 'not known'), line('gives', 'gives an address'),
    h('span', {}, h('kbd', {}, 'Enter'), 'one path', h('kbd', {}, 'Esc'), 'all'));
}

// asOf says what the picture does not know.
function asOf(t) {
  if (!(t.unasked || []).length) return null;
  return h('p', { class: 'note pad asof' }, 'As of the resources. Not asked: ', h('bdi', {}, listed([...new Set(t.unasked.map(u => u.what))], 5)), ' (', link(['problems'], 'why'), ').');
}

function problems(t) {
  if (!t.problems.length) {
    return [h('header', {}, h('h2', {}, 'Problems')), h('p', { class: 'empty' }, sign('ok'), ' None was found' + (t.health === 'unknown' ? ' in what is known.' : '.'))];
  }
  return [
    h('header', {}, h('h2', {}, counted(t.problems.length, 'problem')), h('span', { class: 'more' }, 'the worst first')),
    h('ul', {}, t.problems.slice(0, shownProblems).map(p => problem(p, 4))),
    t.problems.length > shownProblems && h('p', { class: 'after' }, link(['problems'], 'All ' + t.problems.length + ' problems')),
  ];
}

// about says what is to be known of the chosen box.
function about(t, m, pick) {
  const box = m.boxes.get(chosen);
  const close = h('button', { type: 'button', class: 'button', 'data-key': 'close', on: { click: () => pick(chosen) } }, 'Show all');
  const facts = rows => h('dl', { class: 'facts pad' }, rows.filter(r => r && r[1] !== null && r[1] !== '').map(([k, v]) => [h('dt', {}, k), h('dd', {}, v)]));
  const head = (kind, to) => h('header', {}, h('h2', {}, sign(box.sign), ' ', to ? link(to, name(box.title)) : name(box.title)), h('span', { class: 'more' }, kind), h('span', { class: 'right' }, close));
  const its = objects => {
    const found = t.problems.filter(p => p.objects.some(o => objects.includes(o)));
    return found.length ? h('ul', {}, found.slice(0, 5).map(p => problem(p, 3))) : null;
  };
  switch (box.kind) {
    case 'service': {
      const svc = t.services.find(x => x.name === box.name);
      return [head('Service', ['service', svc.name]), serviceFacts(svc, facts), its(['Service/' + svc.name]), h('p', { class: 'after' }, link(['service', svc.name], 'Why it works or not, link by link'))];
    }
    case 'group': {
      const members = new Set(box.members);
      const all = t.services.filter(x => members.has(x.name));
      all.sort((a, b) => (signOfState[b.state] === 'broken') - (signOfState[a.state] === 'broken'));
      return [head('namespace, ' + (box.pool.startsWith('no ') ? box.pool : 'pool ' + box.pool)),
        h('ul', { class: 'pad' }, all.slice(0, 20).map(svc => h('li', {}, sign(signOfState[svc.state], wordOfState[svc.state]), ' ', link(['service', svc.name], name(svc.name)), ' ', svc.addresses.map(a => code(a.address, { class: 'faint' }))))),
        h('p', { class: 'after' }, link(['services', box.name + '/'], 'All ' + counted(box.count, 'Service') + ' of the namespace'))];
    }
    case 'node': {
      const n = t.nodes.find(x => x.name === box.name);
      return [head('node', ['node', n.name]), facts([
        ['Addresses', (n.addresses || []).map(a => [code(a), ' '])], ['Agent', n.agent.running ? n.agent.pod || 'runs' : n.agent.absence],
        ['Announces', counted(n.services, 'Service')], ['Refuses', n.refusal || null], ['FRR', n.frr || null], ['Layer 2', n.layer2 || null],
      ]), its(['Node/' + n.name]), h('p', { class: 'after' }, link(['node', n.name], 'The node in full'))];
    }
    case 'peer': {
      const p = t.peers.find(x => x.name === box.name);
      return [head('router', ['peer', p.name]), facts([['Address', code(p.address)], ['AS', p.asn], ['Sessions', p.up + ' of ' + p.wanted + ' up'], ['BFD', p.bfdProfile || null]]),
        h('ul', { class: 'pad' }, p.sessions.filter(ses => ses.wanted).slice(0, 30).map(ses => h('li', {}, sign(ses.up ? 'ok' : ses.from === 'rules' ? 'unknown' : 'broken'), ' ', link(['node', ses.node], name(ses.node)), ' ',
          ses.up ? 'up' : ses.state || (ses.from === 'rules' ? 'not known' : 'down'), ' ', since(ses.since)))),
        its(['BGPPeer/' + p.name, 'peer/' + p.name]), h('p', { class: 'after' }, link(['peer', p.name], 'The router in full'))];
    }
    case 'pool': {
      const p = t.pools.find(x => x.name === box.name);
      return [head('pool', ['pool', p.name]), facts([['Addresses', p.addresses.map(a => h('div', {}, code(a)))], ['In use', box.sub], ['Advertised by', listed(p.advertisements)], ['Services', counted(p.clients.length, 'Service')]]),
        its(['IPAddressPool/' + p.name, 'pool/' + p.name]), h('p', { class: 'after' }, link(['pool', p.name], 'The map of its addresses'))];
    }
  }
  return [head('layer 2'), h('p', { class: 'pad' }, 'Nodes answer ARP and neighbor discovery for the addresses of these Services.')];
}

function serviceFacts(svc, facts) {
  const nodes = kind => [...nodesOf(svc)].filter(([, k]) => k === kind).map(([n]) => n);
  return facts([
    ['State', h('span', { class: 'word ' + signOfState[svc.state] }, wordOfState[svc.state])],
    ['Addresses', svc.addresses.map(a => h('div', {}, code(a.address), a.pool && [' from ', link(['pool', a.pool], name(a.pool))]))],
    ['Announced', h('bdi', {}, svc.announced.message || '')], ['Wanted from', listed(nodes('wanted')).replace('none', '')],
    ['Refused by', listed(nodes('refused')).replace('none', '')],
  ]);
}
