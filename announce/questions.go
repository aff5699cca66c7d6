// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"net/netip"
	"slices"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/table"
)

// A Question is about an address of a Service: whether the node's data plane serves it.
type Question struct {
	ServiceAddr
	HealthPort uint16   // where the data plane answers whether it has endpoints of the Service on this node; 0: nowhere
	TCP        []uint16 // the Service's first TCP ports that every host may connect to
	Here       bool     // the Service has ready endpoints that this node may use
}

// Equal reports whether both are the same.
func (q Question) Equal(o Question) bool {
	return q.ServiceAddr == o.ServiceAddr && q.HealthPort == o.HealthPort && q.Here == o.Here && slices.Equal(q.TCP, o.TCP)
}

// SameQuestions reports whether two lists are equal; it is for table.Diff.
func SameQuestions(a, b []Question) bool { return slices.EqualFunc(a, b, Question.Equal) }

// maxPorts is how many ports of a Service are listed in a Question.
const maxPorts = 2

// Questions returns what a node asks its data plane about, in the order of the Services:
// those whose traffic has to stay local, and with AskAll all. Those of other classes, and
// addresses of no pool, are left out.
func Questions(s cluster.Snapshot, node string, opts Options) []Question {
	if s.Config == nil {
		return nil
	}
	opts.Index = opts.Index.Of(s.Config)
	var out []Question
	for _, svc := range s.Services {
		out = append(out, questions(svc, s.Endpoints[svc.Key], node, opts)...)
	}
	return out
}

// questions returns what a node asks about a Service.
func questions(svc *cluster.Service, endpoints []cluster.Endpoint, node string, opts Options) (out []Question) {
	if !svc.Local && !opts.AskAll || !svc.LoadBalancer || svc.Class != opts.Class || len(svc.Ingress) == 0 {
		return nil
	}
	r := newReach(endpoints, node)
	for _, text := range svc.Ingress {
		addr, err := netip.ParseAddr(text)
		if err != nil || addr.Zone() != "" || opts.Index.Pool(addr.Unmap()) == nil {
			continue
		}
		addr = addr.Unmap()
		f := r.of(addr.Is4())
		out = append(out, Question{
			ServiceAddr: ServiceAddr{svc.String(), addr}, HealthPort: svc.HealthPort, TCP: tcpPorts(svc),
			Here: f.readyHere || !svc.Local && f.ready > 0,
		})
	}
	return out
}

// tcpPorts returns the first TCP ports of a Service that every host may connect to.
func tcpPorts(svc *cluster.Service) (out []uint16) {
	if svc.Restricted {
		return nil
	}
	for p := range svc.Ports.All() {
		if p.Protocol != "TCP" || len(out) == maxPorts {
			break
		}
		out = append(out, p.Number)
	}
	return out
}

// QuestionTable has Questions by Service. It is read-only; while the list of a Service stays
// equal, it stays the same.
type QuestionTable = table.Table[cluster.Key, []Question]

// A QuestionMemory knows the same Questions as Questions returns, and looks only at Services
// whose input has changed. The zero value is ready. It is not safe for concurrent use: the
// loop owns it.
type QuestionMemory struct {
	config *config.Config
	node   string
	class  string
	all    bool // Options.AskAll

	services  table.Table[cluster.Key, *cluster.Service]
	endpoints table.Table[cluster.Key, []cluster.Endpoint]
	questions table.Editor[cluster.Key, []Question]
}

// Next returns what a node asks its data plane about, see Questions.
func (m *QuestionMemory) Next(s cluster.Tables, node string, opts Options) QuestionTable {
	if s.Config == nil {
		*m = QuestionMemory{}
		return QuestionTable{}
	}
	opts.Index = opts.Index.Of(s.Config)
	if m.config != s.Config || m.node != node || m.class != opts.Class || m.all != opts.AskAll {
		for key := range m.questions.Table().All() {
			if _, there := s.Services.Get(key); !there {
				m.questions.Delete(key)
			}
		}
		*m = QuestionMemory{config: s.Config, node: node, class: opts.Class, all: opts.AskAll, questions: m.questions}
	}
	for c := range table.Diff(m.services, s.Services, table.Same) {
		m.ask(c.Key, s, opts)
	}
	for c := range table.Diff(m.endpoints, s.Endpoints, slices.Equal) {
		m.ask(c.Key, s, opts)
	}
	m.services, m.endpoints = s.Services, s.Endpoints
	return m.questions.Table()
}

// ask puts what is asked about a Service in the place of what was.
func (m *QuestionMemory) ask(key cluster.Key, s cluster.Tables, opts Options) {
	svc, there := s.Services.Get(key)
	var now []Question
	if there {
		endpoints, _ := s.Endpoints.Get(key)
		now = questions(svc, endpoints, m.node, opts)
	}
	was, had := m.questions.Get(key)
	switch {
	case len(now) == 0 && had:
		m.questions.Delete(key)
	case len(now) > 0 && !(had && SameQuestions(was, now)):
		m.questions.Set(key, now)
	}
}
