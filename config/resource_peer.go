// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"regexp"
	"strings"
	"time"
)

func (d *decoder) peer(o Object) *decodedPeer {
	var raw rawPeer
	if !d.read(o, &raw) {
		return nil
	}
	p := &decodedPeer{secret: raw.PasswordSecret.Name, Peer: Peer{
		Name:            o.Name,
		MyASN:           raw.MyASN,
		PeerASN:         raw.PeerASN,
		DynamicASN:      DynamicASN(raw.DynamicASN),
		LocalASN:        raw.LocalASN,
		Interface:       raw.Interface,
		Port:            raw.Port,
		VRF:             raw.VRF,
		NodeSelectors:   d.selectors("spec.nodeSelectors", raw.NodeSelectors),
		BFDProfile:      raw.BFDProfile,
		EBGPMultiHop:    raw.EBGPMultiHop,
		GracefulRestart: raw.GracefulRestart,
		DualStack:       raw.DualStack,
	}}
	if p.VRF == defaultVRF {
		p.VRF = ""
	}
	d.asns(p)
	d.endpoint(p, raw)
	d.timers(p, raw)
	d.ttlSecurity(p, raw)
	password, cut := cutLineBreak(raw.Password)
	switch err := checkPassword(password); {
	case raw.Password != "" && raw.PasswordSecret.Name != "":
		d.fail("spec.passwordSecret", "can not have both password and secret ref set in peer config %q/%q, remove one of them", raw.PasswordSecret.Namespace, o.Name)
	case err != nil:
		d.fail("spec.password", "%v", err)
	}
	p.Password, p.PasswordCut = NewSecret(password), cut
	return p
}

// asns checks the AS numbers of a session.
func (d *decoder) asns(p *decodedPeer) {
	if p.MyASN == 0 {
		d.fail("spec.myASN", "missing local ASN")
	}
	switch {
	case p.PeerASN == 0 && p.DynamicASN == "":
		d.fail("spec.peerASN", "missing peer ASN and dynamicASN")
	case p.PeerASN != 0 && p.DynamicASN != "":
		d.fail("spec.dynamicASN", "both peer ASN and dynamicASN specified")
	case p.DynamicASN != "" && p.DynamicASN != Internal && p.DynamicASN != External:
		d.fail("spec.dynamicASN", "invalid dynamicASN %s", quote(string(p.DynamicASN)))
	}
	ibgp := p.DynamicASN == Internal || p.PeerASN != 0 && p.PeerASN == p.MyASN
	if p.EBGPMultiHop && ibgp {
		d.fail("spec.ebgpMultiHop", "invalid ebgp-multihop parameter set for an ibgp peer")
	}
	switch {
	case p.LocalASN == p.MyASN:
		p.LocalASN = 0
	case p.LocalASN != 0 && ibgp:
		d.fail("spec.localASN", "invalid localASN parameter set for an ibgp peer")
	}
}

// endpoint checks where the session goes.
func (d *decoder) endpoint(p *decodedPeer, raw rawPeer) {
	switch {
	case raw.Address == "" && raw.Interface == "":
		d.fail("spec.peerAddress", "peer has no Address or Interface specified")
	case raw.Address != "" && raw.Interface != "":
		d.fail("spec.interface", "peer has both Address and Interface specified")
	}
	if err := checkLinkName(raw.Interface); err != nil {
		d.fail("spec.interface", "%s is no name of an interface: %v", quote(raw.Interface), err)
	}
	if raw.VRF != "" && !linkName.MatchString(raw.VRF) {
		d.fail("spec.vrf", "%s is no name of an interface", quote(raw.VRF))
	}
	address := func(field, what, s string) netip.Addr {
		if s == "" {
			return netip.Addr{}
		}
		a, err := parseAddr(s)
		if err != nil {
			d.fail("spec."+field, "invalid %s %s: %v", what, quote(s), err)
		}
		return a
	}
	p.Address = address("peerAddress", "BGPPeer address", raw.Address)
	if a := p.Address; a.IsValid() && (a.IsUnspecified() || a.IsMulticast()) {
		d.fail("spec.peerAddress", "invalid BGPPeer address %q: not the address of a host", a)
	}
	p.SourceAddress = address("sourceAddress", "source IP", raw.SourceAddress)
	p.RouterID = address("routerID", "router ID", raw.RouterID)
	switch id := p.RouterID; {
	case id.Is6():
		d.fail("spec.routerID", "invalid router ID %q: must be an IPv4 address, also where peers are IPv6", id)
	case id.IsValid() && id.IsUnspecified():
		d.fail("spec.routerID", "invalid router ID %q: must not be zero", id)
	}
}

// ttlSecurity checks the distance that GTSM allows.
func (d *decoder) ttlSecurity(p *decodedPeer, raw rawPeer) {
	if raw.TTLSecurity == nil {
		return
	}
	const field = "spec.ttlSecurity"
	switch hops := *raw.TTLSecurity; {
	case hops < 1 || hops > maxHops:
		d.fail(field, "invalid ttlSecurity %d, must be a number of hops from 1 to %d; leave it out to accept any TTL", hops, maxHops)
	case p.EBGPMultiHop:
		d.fail(field, "invalid ttlSecurity together with ebgpMultiHop; leave out ebgpMultiHop, and set ttlSecurity to the number of hops")
	case p.DynamicASN == Internal || p.PeerASN != 0 && p.PeerASN == p.MyASN:
		d.fail(field, "invalid ttlSecurity for an iBGP peer; leave it out")
	case p.Interface != "" && hops > 1:
		d.fail(field, "invalid ttlSecurity %d for a peer with an interface, which is 1 hop away", hops)
	default:
		p.TTLSecurity = uint8(hops)
	}
}

// linkName is what Linux takes for the name of an interface, as one word of
// FRR's configuration.
var linkName = regexp.MustCompile(`^[!-.0-~]{1,15}$`)

// checkLinkName says why a session cannot go over an interface of that name; none is
// fine.
func checkLinkName(name string) error {
	if name == "" {
		return nil
	}
	if before, _, cut := strings.Cut(name, "@"); cut {
		return fmt.Errorf("what ip link shows after @ is not part of it, it may be %s", quote(before))
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return errors.New("FRR takes it for an address")
	}
	if !linkName.MatchString(name) {
		return errors.New("it has to be 1 to 15 characters, without spaces and slashes")
	}
	return nil
}

// defaultVRF is what FRR calls the VRF of interfaces that are in none.
const defaultVRF = "default"

// timers checks the timers, and fills in what MetalLB derives one from another.
func (d *decoder) timers(p *decodedPeer, raw rawPeer) {
	duration := func(field, what string, s *string) *time.Duration {
		if s == nil {
			return nil
		}
		v, err := time.ParseDuration(*s)
		if err != nil {
			d.fail("spec."+field, "invalid BGPPeer timers: invalid %s %s: %v", what, quote(*s), durationReason(*s))
			return nil
		}
		return &v
	}
	hold := duration("holdTime", "hold time", raw.HoldTime)
	keepalive := duration("keepaliveTime", "keepalive time", raw.KeepaliveTime)
	connect := duration("connectTime", "connect time", raw.ConnectTime)
	if hold == nil && raw.HoldTime == nil && keepalive != nil {
		three := 3 * *keepalive
		hold = &three
	}
	if hold != nil && *hold != 0 && (*hold < minHoldTime || *hold > maxHoldTime) {
		d.fail("spec.holdTime", "invalid BGPPeer timers: invalid hold time %s: must be 0 or >=3s, and at most %ds", asWritten(raw.HoldTime, *hold), int(maxHoldTime.Seconds()))
	}
	switch {
	case keepalive == nil:
	case *keepalive < 0 || *keepalive != 0 && *keepalive < time.Second:
		d.fail("spec.keepaliveTime", "invalid BGPPeer timers: invalid keepaliveTime %s, must be 0 or >=1s", quote(*raw.KeepaliveTime))
	case hold != nil && *keepalive > *hold:
		d.fail("spec.keepaliveTime", "invalid BGPPeer timers: invalid keepaliveTime %s, must be lower than holdTime %s", quote(*raw.KeepaliveTime), asWritten(raw.HoldTime, *hold))
	}
	if connect != nil && (*connect < time.Second || *connect > math.MaxUint16*time.Second || *connect%time.Second != 0) {
		d.fail("spec.connectTime", "invalid connect time %s, must be whole seconds from 1s to %ds", quote(*raw.ConnectTime), math.MaxUint16)
	}
	p.HoldTime, p.KeepaliveTime, p.ConnectTime = truncate(hold), truncate(keepalive), connect
}

// asWritten returns a time as it was written, in quotes; one that was derived
// as Go prints it.
func asWritten(text *string, d time.Duration) string {
	if text == nil {
		return quote(d.String())
	}
	return quote(*text)
}

// password returns the password of a peer from a Secret, without the line break
// that it may end with.
func (s PasswordSecret) password() (password Secret, cut bool, err error) {
	switch {
	case s.Unread != "":
		return Secret{}, false, fmt.Errorf("the secret %q/%q was not read: %s", s.Namespace, s.Name, s.Unread)
	case s.Type != PasswordSecretType:
		return Secret{}, false, fmt.Errorf("secret type mismatch on %q/%q, type %q is expected, not %s; create it again with that type",
			s.Namespace, s.Name, PasswordSecretType, quote(s.Type))
	case s.NotBase64:
		return Secret{}, false, fmt.Errorf("data.%s of the secret %q/%q is not base64; write the password below stringData, where it is not encoded",
			PasswordSecretKey, s.Namespace, s.Name)
	case !s.HasKey:
		return Secret{}, false, fmt.Errorf("password not specified in the secret %q/%q, which has no key %s", s.Namespace, s.Name, PasswordSecretKey)
	}
	text, cut := cutLineBreak(s.Password.Reveal())
	if err := checkPassword(text); err != nil {
		return Secret{}, false, fmt.Errorf("password in the secret %q/%q: %w", s.Namespace, s.Name, err)
	}
	return NewSecret(text), cut, nil
}

// cutLineBreak returns a password without the one line break that it may end
// with, as echo writes it, and whether there was one. MetalLB wrote it into
// frr.conf, where it ended the line, so that such passwords worked.
func cutLineBreak(s string) (string, bool) {
	text, cut := strings.CutSuffix(s, "\n")
	if cut {
		text = strings.TrimSuffix(text, "\r")
	}
	return text, cut
}

// checkPassword says why FRR could not take a password, without showing it.
func checkPassword(s string) error {
	switch {
	case len(s) > maxPassword:
		return fmt.Errorf("longer than the %d bytes of a TCP MD5 key", maxPassword)
	case strings.ContainsAny(s, "\r\n"):
		return errors.New("contains a line break, and a password is one line; printf %s or echo -n writes none")
	case strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return errors.New("contains a control character")
	case strings.Contains(s, " "):
		return errors.New("contains a space, which FRR takes for the password's end")
	}
	return nil
}
