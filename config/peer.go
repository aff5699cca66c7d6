// SPDX-License-Identifier: Apache-2.0

package config

import (
	"cmp"
	"fmt"
)

// ShownASN returns our AS number as a peer is to see it.
func (p Peer) ShownASN() uint32 { return cmp.Or(p.LocalASN, p.MyASN) }

// Carries reports whether a session with p has routes of a family: an
// unnumbered one has those of both.
func (p Peer) Carries(is4 bool) bool {
	return p.DualStack || p.Interface != "" || p.Address.Is4() == is4
}

// ASNConflict says why p cannot run on a node whose router has an AS number; by
// says where that is from. It is empty if p can: FRR shows another AS than the
// router's to external peers alone.
func (p Peer) ASNConflict(router uint32, by string) string {
	shown := p.ShownASN()
	switch {
	case shown == router:
		return ""
	case p.PeerASN == shown:
		return fmt.Sprintf("internal peer of AS %d, but the node's AS is %d, %s", p.PeerASN, router, by)
	case p.DynamicASN == Internal:
		return fmt.Sprintf("internal peer, which cannot be shown AS %d: the node's AS is %d, %s", shown, router, by)
	case p.PeerASN == router:
		return fmt.Sprintf("the peer is in the node's AS %d, %s, and cannot be shown AS %d", router, by, shown)
	}
	return ""
}
