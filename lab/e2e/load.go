// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"net/netip"
	"time"

	"github.com/heraldlb/herald/lab"
)

// Load sends 100 requests a second to the address, from behind r1, until the
// test calls the function that it returns; that fails the test if one was lost.
func (e *Test) Load(a netip.Addr) (stop func()) {
	e.T.Helper()
	return e.LoadOf(100, a)
}

// LoadOf is load of so many requests a second, on a Service that exactly these nodes
// answer for, no nodes meaning all.
func (e *Test) LoadOf(perSecond int, a netip.Addr, nodes ...*lab.Node) (stop func()) {
	e.T.Helper()
	e.served(a)
	e.Reached(a, nodes...) // the path works, and neighbour entries are there
	l := e.Client.StartLoad(lab.LoadOptions{URL: "http://" + netip.AddrPortFrom(a, 80).String() + "/", PerSecond: perSecond})
	return func() {
		e.T.Helper()
		r := l.Stop()
		e.T.Log("load:", r)
		if r.Lost > 0 || r.OK == 0 {
			e.T.Errorf("%d of %d requests to %s were lost, sent from %s to %s, the last because of: %v",
				r.Lost, r.Sent, a, r.FirstLoss.Format(time.StampMilli), r.LastLoss.Format(time.StampMilli), r.LastError)
		}
	}
}

// LoadFrom is load from another machine, of a Service with backends on these
// nodes, no nodes meaning all.
func (e *Test) LoadFrom(m *lab.Machine, a netip.Addr, nodes ...*lab.Node) (stop func()) {
	e.T.Helper()
	e.served(a)
	e.ReachedFrom(m, a, nodes...)
	l := m.StartLoad(lab.LoadOptions{URL: "http://" + netip.AddrPortFrom(a, 80).String() + "/", PerSecond: 100})
	return func() {
		e.T.Helper()
		r := l.Stop()
		e.T.Log("load:", r)
		if r.Lost > 0 || r.OK == 0 {
			e.T.Errorf("%d of %d requests were lost, sent from %s to %s, the last because of: %v",
				r.Lost, r.Sent, r.FirstLoss.Format(time.StampMilli), r.LastLoss.Format(time.StampMilli), r.LastError)
		}
		// One packet that is lost, anywhere, costs a second: TCP sends it again then.
		if r.Slowest > 1500*time.Millisecond {
			e.T.Errorf("the request sent at %s took %v", r.SlowAt.Format(time.StampMilli), r.Slowest)
		}
	}
}
