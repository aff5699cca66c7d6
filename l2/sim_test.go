// SPDX-License-Identifier: Apache-2.0

package l2_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"github.com/heraldlb/herald/l2"
)

// A sim is a rig without a kernel: eth0 has index 2, and there may be others.
type sim struct {
	mu      sync.Mutex
	links   []l2.Link
	changed chan struct{} // closed when links have changed
	ports   map[*simPort]bool
	groups  map[netip.Addr]int
	broken  map[int]error // what Open says, by link
}

func newSim() *sim {
	s := &sim{
		links:   []l2.Link{{Index: 1, Name: "lo", Up: true, Loopback: true}},
		changed: make(chan struct{}),
		ports:   map[*simPort]bool{},
		groups:  map[netip.Addr]int{},
		broken:  map[int]error{},
	}
	s.add()
	return s
}

// edit changes eth0.
func (s *sim) edit(change func(l *l2.Link)) {
	s.editAll(func(links []l2.Link) []l2.Link {
		for i := range links {
			if links[i].Name == "eth0" {
				change(&links[i])
			}
		}
		return links
	})
}

func (s *sim) editAll(change func(links []l2.Link) []l2.Link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.links = change(slices.Clone(s.links))
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *sim) network() l2.Network { return s }

func (s *sim) peer(_ testing.TB, protocol l2.Protocol) l2.Port {
	return s.plug(&simPort{sim: s, link: 2, protocol: protocol, peer: true})
}

func (s *sim) setUp(up bool)                { s.edit(func(l *l2.Link) { l.Up = up }) }
func (s *sim) setMAC(mac l2.MAC)            { s.edit(func(l *l2.Link) { l.MAC = mac }) }
func (s *sim) setLinkLocal(addr netip.Addr) { s.edit(func(l *l2.Link) { l.LinkLocal = addr }) }
func (s *sim) setEnslaved(enslaved bool)    { s.edit(func(l *l2.Link) { l.Enslaved = enslaved }) }
func (s *sim) joined(group netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.groups[group] > 0
}
func (s *sim) breakLink(link int, err error) { s.mu.Lock(); defer s.mu.Unlock(); s.broken[link] = err }

// cut ends all ports of the node, as a failing card would.
func (s *sim) cut() {
	s.mu.Lock()
	var node []*simPort
	for p := range s.ports {
		if !p.peer {
			node = append(node, p)
		}
	}
	s.mu.Unlock()
	for _, p := range node {
		p.Close()
	}
}

func (s *sim) remove() {
	s.editAll(func(links []l2.Link) []l2.Link {
		return slices.DeleteFunc(links, func(l l2.Link) bool { return l.Name == "eth0" })
	})
}

func (s *sim) add() {
	s.editAll(func(links []l2.Link) []l2.Link {
		return append(links, l2.Link{Index: 2, Name: "eth0", MAC: nodeMAC, LinkLocal: nodeLL, Up: true, Broadcast: true})
	})
}

// Watch implements l2.Network.
func (s *sim) Watch(ctx context.Context, changed func([]l2.Link)) error {
	for {
		s.mu.Lock()
		links, next := s.links, s.changed
		s.mu.Unlock()
		changed(links)
		select {
		case <-ctx.Done():
			return nil
		case <-next:
		}
	}
}

// Open implements l2.Network.
func (s *sim) Open(link l2.Link, protocol l2.Protocol) (l2.Port, error) {
	s.mu.Lock()
	err := s.broken[link.Index]
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return s.plug(&simPort{sim: s, link: link.Index, protocol: protocol}), nil
}

func (s *sim) plug(p *simPort) l2.Port {
	p.in = make(chan []byte, 1<<14)
	p.closed = make(chan struct{})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ports[p] = true
	return p
}

// A simPort is an end of the wire of one link.
type simPort struct {
	sim      *sim
	link     int
	protocol l2.Protocol
	peer     bool
	in       chan []byte
	once     sync.Once
	closed   chan struct{}
}

func (p *simPort) Read(b []byte) (int, error) {
	select {
	case frame := <-p.in:
		return copy(b, frame), nil
	case <-p.closed:
		return 0, net.ErrClosed
	}
}

func (p *simPort) Write(frame []byte) (int, error) {
	select {
	case <-p.closed:
		return 0, net.ErrClosed
	default:
	}
	kind := l2.ARP
	if binary.BigEndian.Uint16(frame[12:14]) == 0x86dd {
		kind = l2.NDP
	}
	p.sim.mu.Lock()
	defer p.sim.mu.Unlock()
	for other := range p.sim.ports {
		if other.link == p.link && other.protocol == kind && other.peer != p.peer {
			select {
			case other.in <- slices.Clone(frame):
			default:
				return 0, errors.New("wire is full")
			}
		}
	}
	return len(frame), nil
}

func (p *simPort) Join(group netip.Addr) error {
	p.sim.mu.Lock()
	defer p.sim.mu.Unlock()
	p.sim.groups[group]++
	return nil
}

func (p *simPort) Leave(group netip.Addr) error {
	p.sim.mu.Lock()
	defer p.sim.mu.Unlock()
	if p.sim.groups[group] == 0 {
		return fmt.Errorf("leave %s: not joined", group)
	}
	p.sim.groups[group]--
	return nil
}

func (p *simPort) Close() error {
	p.once.Do(func() {
		close(p.closed)
		p.sim.mu.Lock()
		defer p.sim.mu.Unlock()
		delete(p.sim.ports, p)
	})
	return nil
}
