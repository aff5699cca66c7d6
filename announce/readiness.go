// SPDX-License-Identifier: Apache-2.0

package announce

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
