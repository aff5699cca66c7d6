// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/heraldlb/herald/cluster"
)

// A Readiness is what a node was seen to serve: its data plane, such as kube-proxy, and the
// addresses that are probed. Waits delay the beginning of an announcement, and never end
// one: a node goes on with what it announces. A probe that fails may end one.
type Readiness struct {
	Settled bool                   // it is known, or was waited for long enough: an agent that starts may decide
	Waits   map[ServiceAddr]string // addresses that the data plane does not serve yet, or whose probe has no answer yet, and why they wait
	Waived  map[ServiceAddr]string // addresses that waited long enough, and what was not seen
	Failing map[ProbeID]string     // probes that fail, and why
}

// With returns what both say.
func (r Readiness) With(o Readiness) Readiness {
	return Readiness{
		Settled: r.Settled && o.Settled, Waits: union(r.Waits, o.Waits),
		Waived: union(r.Waived, o.Waived), Failing: union(r.Failing, o.Failing),
	}
}

// union returns the entries of both maps. Of a key in both the first counts.
func union[K comparable](a, b map[K]string) map[K]string {
	switch {
	case len(b) == 0:
		return a
	case len(a) == 0:
		return b
	}
	out := maps.Clone(b)
	maps.Copy(out, a)
	return out
}

// waits reports whether the data plane has to be waited for before an address is
// announced for a Service, and why.
func (o Options) waits(id ServiceAddr) (string, bool) {
	why, waits := o.Readiness.Waits[id]
	if !waits || o.Announces != nil && o.Announces(id.Addr) {
		return "", false
	}
	return why, true
}

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

// maxPorts is how many ports of a Service are listed in a Question.
const maxPorts = 2

// Questions returns what a node asks its data plane about, in the order of the Services:
// those whose traffic has to stay local, and with AskAll all. Those of other classes, and
// addresses of no pool, are left out.
func Questions(s cluster.Snapshot, node string, opts Options) []Question {
	if s.Config == nil {
		return nil
	}
	index := opts.Index.Of(s.Config)
	var out []Question
	for _, svc := range s.Services {
		if !svc.Local && !opts.AskAll || !svc.LoadBalancer || svc.Class != opts.Class || len(svc.Ingress) == 0 {
			continue
		}
		r := newReach(s.Endpoints[svc.Key], node)
		for _, text := range svc.Ingress {
			addr, err := netip.ParseAddr(text)
			if err != nil || addr.Zone() != "" || index.Pool(addr.Unmap()) == nil {
				continue
			}
			addr = addr.Unmap()
			f := r.of(addr.Is4())
			out = append(out, Question{
				ServiceAddr: ServiceAddr{svc.String(), addr}, HealthPort: svc.HealthPort, TCP: tcpPorts(svc),
				Here: f.readyHere || !svc.Local && f.ready > 0,
			})
		}
	}
	return out
}

// tcpPorts returns the first TCP ports of a Service that every host may connect to, and
// that lead connections of one host to any endpoint.
func tcpPorts(svc *cluster.Service) (out []uint16) {
	if svc.Restricted || svc.Affinity {
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
