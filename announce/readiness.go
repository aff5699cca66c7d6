// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"net/netip"
	"slices"

	"github.com/heraldlb/herald/cluster"
)

// A Readiness is what the data plane of a node, such as kube-proxy, was seen to serve. It
// delays the beginning of an announcement, and never ends one: a node goes on with what
// it announces.
type Readiness struct {
	Settled bool                   // it is known, or was waited for long enough: an agent that starts may decide
	Waits   map[ServiceAddr]string // addresses that the data plane does not serve yet, and why they wait
	Waived  map[ServiceAddr]string // addresses that waited long enough, and what was not seen
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

// A Local is an address of a Service whose traffic has to stay on the node that it comes
// to.
type Local struct {
	ServiceAddr
	HealthPort uint16   // where the node's data plane answers whether it serves the Service; 0: nowhere
	TCP        []uint16 // the Service's first TCP ports that every host may connect to
	Here       bool     // the Service has ready endpoints on this node
}

// Equal reports whether both are the same.
func (l Local) Equal(o Local) bool {
	return l.ServiceAddr == o.ServiceAddr && l.HealthPort == o.HealthPort && l.Here == o.Here && slices.Equal(l.TCP, o.TCP)
}

// maxPorts is how many ports of a Service are listed in a Local.
const maxPorts = 2

// Locals returns the Locals of a node, in the order of the Services. Those of other
// classes, and addresses of no pool, are left out.
func Locals(s cluster.Snapshot, node string, opts Options) []Local {
	if s.Config == nil {
		return nil
	}
	index := opts.Index.Of(s.Config)
	var out []Local
	for _, svc := range s.Services {
		if !svc.Local || !svc.LoadBalancer || svc.Class != opts.Class || len(svc.Ingress) == 0 {
			continue
		}
		r := newReach(s.Endpoints[svc.Key], node)
		for _, text := range svc.Ingress {
			addr, err := netip.ParseAddr(text)
			if err != nil || addr.Zone() != "" || index.Pool(addr.Unmap()) == nil {
				continue
			}
			addr = addr.Unmap()
			out = append(out, Local{
				ServiceAddr: ServiceAddr{svc.String(), addr}, HealthPort: svc.HealthPort, TCP: tcpPorts(svc), Here: r.of(addr.Is4()).readyHere,
			})
		}
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
