// SPDX-License-Identifier: Apache-2.0

package alloc

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/excerpt"
	"github.com/heraldlb/herald/port"
)

// users are the Services that hold an address, sorted by key, so that a Refusal names the
// same one each time.
type users map[netip.Addr][]*holding

func (u users) add(addr netip.Addr, h *holding) {
	i, _ := slices.BinarySearchFunc(u[addr], h, byService)
	u[addr] = slices.Insert(u[addr], i, h)
}

func (u users) remove(addr netip.Addr, h *holding) {
	i, found := slices.BinarySearchFunc(u[addr], h, byService)
	switch {
	case !found:
	case len(u[addr]) == 1:
		delete(u, addr)
	default:
		u[addr] = slices.Delete(u[addr], i, i+1)
	}
}

// byService sorts by key, outsiders last: a Service may for a moment be both.
func byService(x, y *holding) int {
	return cmp.Or(x.service.compare(y.service), cmp.Compare(x.outside, y.outside))
}

// ofNamespace returns how many Services of a namespace use addr.
func (u users) ofNamespace(addr netip.Addr, namespace string) int {
	n := 0
	for _, h := range u[addr] {
		if h.service.Namespace == namespace && h.outside == "" {
			n++
		}
	}
	return n
}

// named reports whether a user of addr names the namespaces that it shares addr with.
func (u users) named(addr netip.Addr) bool {
	return slices.ContainsFunc(u[addr], func(h *holding) bool { return h.shareWith != nil })
}

// clash returns the first of ports that another user of addr than self has.
func (u users) clash(addr netip.Addr, self Key, ports port.Set) (port.Port, *holding) {
	for _, other := range u[addr] {
		if other.service == self {
			continue
		}
		if p, ok := ports.Common(other.ports); ok {
			return p, other
		}
	}
	return port.Port{}, nil
}

// conflict returns why the Service of req cannot share addr with the Services that hold
// it; nil if it can.
func (u users) conflict(req *Request, addr netip.Addr) *Refusal {
	for _, other := range u[addr] {
		switch {
		case other.service == req.Service, other.outside != "":
			continue
		case req.SharingKey == "" || other.sharingKey == "":
			return refuse(AddressInUse, "%s is in use by %s", addr, other.service)
		case req.SharingKey != other.sharingKey:
			return refuse(SharingConflict, "%s is in use by %s with %s, not %s",
				addr, other.service, other.keyFor(req.Service.Namespace), excerpt.Quote(req.SharingKey))
		case req.Backend.Local && other.backend.Local && req.Backend.Namespace != other.backend.Namespace:
			return refuse(SharingConflict, "%s is in use by %s, whose externalTrafficPolicy is Local and whose pods are of another namespace",
				addr, other.service)
		case req.Backend != other.backend:
			return refuse(SharingConflict, "%s is in use by %s, whose externalTrafficPolicy or selector differs",
				addr, other.service)
		}
	}
	if p, other := u.clash(addr, req.Service, req.Ports); other != nil {
		return refuse(PortInUse, "port %s is already in use on %s by %s", p, addr, other.service)
	}
	return nil
}

// keyFor names the sharing key of h in a message to a namespace. A key is what other
// namespaces must know to share the address: they are not told.
func (h *holding) keyFor(namespace string) string {
	if h.service.Namespace != namespace {
		return "another sharing key"
	}
	return "sharing key " + excerpt.Quote(h.sharingKey)
}

// shares reports whether h shares its addresses with whom the Service of req does.
func (h *holding) shares(req *Request) bool {
	return h.sharingKey == req.SharingKey && h.backend == req.Backend && h.ports == req.Ports &&
		(h.shareWith == nil) == (req.ShareWith == nil) && slices.Equal(h.shareWith, req.ShareWith)
}

// agree reports whether a Service that names namespaces, or none (nil), shares its
// addresses with a namespace.
func (p *pool) agree(named []string, namespace string) bool {
	return named == nil && !p.separate || slices.Contains(named, namespace)
}

// stranger returns the first user of addr of another namespace than the Service of req
// that does not share addr with it, or that it does not share with; nil if there is none.
// It says nothing about their keys. Services for which addr is reserved share it.
func (s *space) stranger(req *Request, addr netip.Addr) *holding {
	if req.ShareWith == nil && !s.pool.separate && !s.users.named(addr) {
		return nil
	}
	for _, other := range s.users[addr] {
		switch {
		case other.outside != "", other.service.Namespace == req.Service.Namespace:
		case s.pool.agree(req.ShareWith, other.service.Namespace) && s.pool.agree(other.shareWith, req.Service.Namespace):
		case slices.Contains(s.kept.reserved[addr], req.Service) && slices.Contains(s.kept.reserved[addr], other.service):
		default:
			return other
		}
	}
	return nil
}

// estranged returns the Refusal of an address that a stranger uses; nil if none does.
func (s *space) estranged(req *Request, addr netip.Addr) *Refusal {
	other := s.stranger(req, addr)
	if other == nil {
		return nil
	}
	return refuse(SharingConflict, "%s is in use by %s, and namespaces %s and %s do not share addresses of pool %s: both Services must name the other's namespace in annotation %s",
		addr, other.service, other.service.Namespace, req.Service.Namespace, s.pool.name, config.AnnotationShareWith)
}

// withholds reports whether the Service of req cannot get addr, although its users would
// share it: it is kept for another Service, its users are of namespaces that do not share,
// or the namespace is at its quota.
func (s *space) withholds(req *Request, addr netip.Addr) bool {
	return s.kept.forOther(req.Service, addr) || s.stranger(req, addr) != nil || s.overQuota(req, addr)
}

// withheld returns why s withholds addr from the Service of req; nil if it does not.
func (s *space) withheld(req *Request, addr netip.Addr) *Refusal {
	if s.kept.forOther(req.Service, addr) {
		return s.kept.refusal(addr)
	}
	if r := s.estranged(req, addr); r != nil {
		return r
	}
	if s.overQuota(req, addr) {
		return &Refusal{QuotaExceeded, s.spentNote(req.Service.Namespace)}
	}
	return nil
}
