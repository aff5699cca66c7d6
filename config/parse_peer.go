// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Limits of timers.
const (
	defaultHoldTime = 90 * time.Second             // MetalLB's
	minHoldTime     = 3 * time.Second              // RFC 4271, Section 4.2
	maxHoldTime     = math.MaxUint16 * time.Second // it has 16 bits on the wire
)

// maxHops is the greatest distance that GTSM can verify: FRR takes no more.
const maxHops = 254

// maxPassword is TCP_MD5SIG_MAXKEYLEN of Linux.
const maxPassword = 80

// readPeers reads peers.
func (p *parser) readPeers(v value) {
	byAddress := map[netip.Addr][]int{} // indexes in cfg.Peers
	for i, item := range v.list() {
		peer, ok := p.peer(item)
		peer.Name = fmt.Sprintf("peer%d", i+1)
		if ok {
			for _, j := range byAddress[peer.Address] {
				checkSameAddress(item, peer, p.cfg.Peers[j])
			}
			byAddress[peer.Address] = append(byAddress[peer.Address], len(p.cfg.Peers))
		}
		p.cfg.Peers = append(p.cfg.Peers, peer)
	}
}

// carryFamilies makes a peer carry the routes of each family that pools have
// addresses of, as MetalLB v0.12 does in its FRR mode, whichever family the
// session runs over. Pools of layer 2 count too: a family that comes or goes
// resets the session, and a pool may be switched to BGP and back.
func (p *parser) carryFamilies() {
	for i := range p.cfg.Peers {
		peer := &p.cfg.Peers[i]
		peer.DualStack = peer.Address.IsValid() && slices.ContainsFunc(p.ranges, func(w writtenRange) bool {
			return w.First.Is4() != peer.Address.Is4()
		})
	}
}

// peer reads one of peers; ok is false if there is a mistake in it.
func (p *parser) peer(v value) (peer Peer, ok bool) {
	before := len(v.doc.errs)
	m := v.mapping("my-asn", "peer-asn", "peer-address", "source-address", "peer-port", "hold-time",
		"keepalive-time", "router-id", "node-selectors", "password", "bfd-profile", "ebgp-multihop", "ttl-security")
	port, _ := m.get("peer-port").number(0, math.MaxUint16)
	peer = Peer{
		MyASN:         m.get("my-asn").asn("local"),
		PeerASN:       m.get("peer-asn").asn("peer"),
		Address:       m.get("peer-address").peerAddress(),
		SourceAddress: m.get("source-address").address("source IP"),
		Port:          uint16(port),
		RouterID:      m.get("router-id").routerID(),
		NodeSelectors: m.get("node-selectors").selectors(),
		BFDProfile:    m.get("bfd-profile").text(),
		EBGPMultiHop:  m.get("ebgp-multihop").boolean(false),
	}
	peer.Password, peer.PasswordCut = m.get("password").password()
	peer.HoldTime, peer.KeepaliveTime = timers(m.get("hold-time"), m.get("keepalive-time"))
	if _, exists := p.profiles[peer.BFDProfile]; peer.BFDProfile != "" && !exists {
		m.get("bfd-profile").fail("non existing bfd profile %s", quote(peer.BFDProfile))
	}
	if peer.EBGPMultiHop && peer.MyASN == peer.PeerASN && peer.MyASN != 0 {
		m.get("ebgp-multihop").fail("invalid ebgp-multihop: peer-asn is my-asn, so that this is an iBGP peer")
	}
	if security := m.get("ttl-security"); !security.missing() {
		hops, _ := security.number(1, maxHops)
		peer.TTLSecurity = uint8(hops)
		if peer.MyASN == peer.PeerASN && peer.MyASN != 0 {
			security.fail("invalid ttl-security: peer-asn is my-asn, so that this is an iBGP peer")
		}
		if peer.EBGPMultiHop {
			security.fail("invalid ttl-security together with ebgp-multihop; leave out ebgp-multihop, and set ttl-security to the number of hops")
		}
	}
	return peer, len(v.doc.errs) == before
}

// checkSameAddress reports that a peer repeats an earlier one, or that FRR,
// which has one session to an address, cannot serve both on any node. Which of
// two peers with selectors a node uses is decided where the node is known.
func checkSameAddress(v value, peer, earlier Peer) {
	name := earlier.Name
	earlier.Name = peer.Name
	switch {
	case samePeer(peer, earlier):
		v.fail("peer already exists, it equals %s", name)
	case everyNode(peer) && everyNode(earlier):
		v.fail("%s has the same peer-address %s and other settings, and both are for every node; "+
			"FRR cannot hold two sessions to one address", name, peer.Address)
	}
}

// samePeer reports whether two peers are alike.
func samePeer(a, b Peer) bool {
	if a.MyASN != b.MyASN || a.PeerASN != b.PeerASN || a.Port != b.Port || a.RouterID != b.RouterID {
		return false // soon seen; selectors take longer
	}
	if !slices.EqualFunc(a.NodeSelectors, b.NodeSelectors, Selector.Equal) {
		return false
	}
	a.NodeSelectors, b.NodeSelectors = nil, nil
	return reflect.DeepEqual(a, b)
}

// everyNode reports whether a peer has no node selectors, or one that chooses
// everything.
func everyNode(p Peer) bool {
	return len(p.NodeSelectors) == 0 || slices.ContainsFunc(p.NodeSelectors, Selector.everything)
}

// asn reads an AS number, which must be there. RFC 6793 has 32 bits for it,
// RFC 7607 forbids 0.
func (v value) asn(which string) uint32 {
	if v.null() {
		v.fail("missing %s ASN", which)
	}
	n, _ := v.number(1, math.MaxUint32)
	return uint32(n)
}

// address reads an address; the zero Addr stands for none.
func (v value) address(what string) netip.Addr {
	s := v.text()
	if s == "" {
		return netip.Addr{}
	}
	a, err := parseAddr(s)
	if err != nil {
		v.fail("invalid %s %s: %v", what, quote(s), err)
	}
	return a
}

// peerAddress reads an address that a session can go to.
func (v value) peerAddress() netip.Addr {
	if v.missing() {
		v.fail("missing peer IP")
		return netip.Addr{}
	}
	a := v.address("peer IP")
	if a.IsValid() && (a.IsUnspecified() || a.IsMulticast()) {
		v.fail("invalid peer IP %q: not the address of a host", a)
	}
	return a
}

// routerID reads a BGP identifier, which RFC 4271 makes an IPv4 address.
func (v value) routerID() netip.Addr {
	a := v.address("router ID")
	switch {
	case a.Is6():
		v.fail("invalid router ID %q: must be an IPv4 address, also where peers are IPv6", a)
	case a.IsValid() && a.IsUnspecified():
		v.fail("invalid router ID %q: must not be zero", a)
	}
	return a
}

// password reads a password, without the line break that it may end with. What
// it says about one never shows it.
func (v value) password() (password Secret, cut bool) {
	s, cut := cutLineBreak(v.text())
	if err := checkPassword(s); err != nil {
		v.fail("%v", err)
	}
	return NewSecret(s), cut
}

// timers reads hold-time and keepalive-time, in whole seconds.
func timers(hold, keepalive value) (h, k *time.Duration) {
	h = hold.duration("hold time")
	if hold.missing() {
		d := defaultHoldTime
		h = &d
	}
	if h != nil && *h != 0 && (*h < minHoldTime || *h > maxHoldTime) {
		hold.fail("invalid hold time %s: must be 0 or >=3s, and at most %ds", quote(hold.node.Value), int(maxHoldTime.Seconds()))
	}
	k = keepalive.duration("keepalive time")
	switch {
	case k == nil:
	case *k < 0 || *k != 0 && *k < time.Second:
		keepalive.fail("invalid keepalive time %s: must be 0 or >=1s", quote(keepalive.node.Value))
	case h != nil && *k > *h:
		keepalive.fail("invalid keepalive time %s: must not be longer than the hold time %v", quote(keepalive.node.Value), *h)
	}
	return truncate(h), truncate(k)
}

// truncate cuts off parts of seconds, which BGP does not know.
func truncate(d *time.Duration) *time.Duration {
	if d == nil {
		return nil
	}
	whole := d.Truncate(time.Second)
	return &whole
}

// duration reads a duration in Go's notation, nil if there is none. A number
// without a unit is read as text, as in MetalLB, and but for 0 is a mistake.
func (v value) duration(what string) *time.Duration {
	s := v.text()
	if s == "" {
		return nil
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		v.fail("invalid %s %s: %v", what, quote(s), durationReason(s))
		return nil
	}
	return &d
}

// durationReason says what time.ParseDuration, whose messages repeat the text,
// found wrong with s.
func durationReason(s string) error {
	if strings.Trim(s, "0123456789.") == "" {
		return fmt.Errorf("missing unit, as in %ss", s)
	}
	return errors.New("want a duration, as in 90s or 1m30s")
}
