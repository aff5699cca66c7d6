// SPDX-License-Identifier: Apache-2.0

package config

import "slices"

// A Scope says which pools, nodes and Services an advertisement applies to. The zero
// Scope applies to all of them.
type Scope struct {
	Pools            []string   // names, with PoolSelectors; both empty: every pool
	PoolSelectors    []Selector // on labels of pools
	NodeSelectors    []Selector // empty: every node
	ServiceSelectors []Selector // empty: every Service
	MinReady         int        // how many ready endpoints of an address's family a Service must have; 0: any number
	Probe            Probe      // a node announces an address while this answers; zero: whether it does or not
}

// maxMinReady is the highest MinReady.
const maxMinReady = 10_000

// AppliesToPool reports whether the pool is named or selected.
func (s Scope) AppliesToPool(p *Pool) bool {
	if len(s.Pools) == 0 && len(s.PoolSelectors) == 0 {
		return true
	}
	return slices.Contains(s.Pools, p.Name) || len(s.PoolSelectors) > 0 && AnyMatches(s.PoolSelectors, p.Labels)
}

// AppliesToNode reports whether a Node with these labels is selected.
func (s Scope) AppliesToNode(labels map[string]string) bool {
	return AnyMatches(s.NodeSelectors, labels)
}

// AppliesToService reports whether a Service with these labels is selected.
func (s Scope) AppliesToService(labels map[string]string) bool {
	return AnyMatches(s.ServiceSelectors, labels)
}

// AppliesToNode reports whether a Node with these labels is to have a session with the
// peer.
func (p Peer) AppliesToNode(labels map[string]string) bool {
	return AnyMatches(p.NodeSelectors, labels)
}
