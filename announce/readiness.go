// SPDX-License-Identifier: Apache-2.0

package announce

import "maps"

// A Readiness is what a node was seen to serve: its data plane, such as kube-proxy, and the
// addresses that are probed. Waits delay the beginning of an announcement, and never end
// one: a node goes on with what it announces. A probe that fails may end one.
type Readiness struct {
	Settled bool                   // it is known, or was waited for long enough: an agent that starts may decide
	Waits   map[ServiceAddr]string // addresses that the data plane does not serve yet, or whose probe has no answer yet, and why they wait
	Waived  map[ServiceAddr]string // addresses that waited long enough, and what was not seen
	Failing map[ProbeID]string     // probes that fail, and why
	Unknown map[ProbeID]string     // probes without a verdict yet, and why
}

// With returns what both say.
func (r Readiness) With(o Readiness) Readiness {
	return Readiness{
		Settled: r.Settled && o.Settled, Waits: union(r.Waits, o.Waits),
		Waived: union(r.Waived, o.Waived), Failing: union(r.Failing, o.Failing), Unknown: union(r.Unknown, o.Unknown),
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
