// SPDX-License-Identifier: Apache-2.0

package l2

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/arp"
	"github.com/mdlayher/ndp"
)

var (
	own     = MAC{2, 0, 0, 0, 0, 1}
	other   = MAC{2, 0, 0, 0, 0, 2}
	third   = MAC{2, 0, 0, 0, 0, 3}
	ownLL   = netip.MustParseAddr("fe80::1")
	ours4   = netip.MustParseAddr("192.0.2.10")
	silent4 = netip.MustParseAddr("192.0.2.11")
	else4   = netip.MustParseAddr("192.0.2.12")
	ours6   = netip.MustParseAddr("2001:db8::10")
	silent6 = netip.MustParseAddr("2001:db8::11")
	else6   = netip.MustParseAddr("2001:db8::12")
	asker4  = netip.MustParseAddr("192.0.2.2")
	asker6  = netip.MustParseAddr("fe80::2")
	none4   = netip.IPv4Unspecified()
	none6   = netip.IPv6Unspecified()
)

// testView announces ours and probes for silent.
func testView() *view {
	v := &view{mac: own, linkLocal: ownLL, roles: map[netip.Addr]*role{}}
	for _, a := range []netip.Addr{ours4, ours6, silent4, silent6} {
		v.roles[a] = &role{count: &counters{}}
	}
	v.roles[silent4].silent.Store(true)
	v.roles[silent6].silent.Store(true)
	return v
}

// An outcome is a verdict that compares.
type outcome struct {
	Drop    Drop
	Replies bool
	Claim   claim
}

func outcomeOf(v verdict) outcome { return outcome{v.drop, v.reply != nil, v.claim} }

var outcomes = cmp.Options{
	cmp.AllowUnexported(claim{}),
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
}

func TestAnswerARP(t *testing.T) {
	request := arpFrame(broadcast, arp.OperationRequest, other, asker4, MAC{}, ours4)
	edit := func(offset int, b byte) []byte {
		f := bytes.Clone(request)
		f[offset] = b
		return f
	}
	rows := []struct {
		name  string
		frame []byte
		want  outcome
	}{
		{"nothing", nil, outcome{Drop: Malformed}},
		{"another Ethernet type", edit(13, 0), outcome{Drop: Malformed}},
		{"cut short", request[:40], outcome{Drop: Malformed}},
		{"padded, as Ethernet wants it", append(bytes.Clone(request), make([]byte, 18)...), outcome{Drop: Answered, Replies: true}},
		{"not Ethernet addresses", edit(15, 6), outcome{Drop: Malformed}},
		{"not IPv4 addresses", edit(16, 0x86), outcome{Drop: Malformed}},
		{"hardware addresses of 255 bytes", edit(18, 255), outcome{Drop: Malformed}},
		{"protocol addresses of 16 bytes", edit(19, 16), outcome{Drop: Malformed}},
		{"broadcast request", request, outcome{Drop: Answered, Replies: true}},
		{"unicast request", arpFrame(own, arp.OperationRequest, other, asker4, MAC{}, ours4), outcome{Drop: Answered, Replies: true}},
		{"request to another host", arpFrame(third, arp.OperationRequest, other, asker4, MAC{}, ours4), outcome{Drop: NotForUs}},
		{"own request", arpFrame(broadcast, arp.OperationRequest, own, asker4, MAC{}, ours4), outcome{Drop: FromSelf}},
		{"relayed by another station", edit(11, 9), outcome{Drop: Answered, Replies: true}},
		{"probe", arpFrame(broadcast, arp.OperationRequest, other, none4, MAC{}, ours4), outcome{Drop: Answered, Replies: true}},
		{"not announced", arpFrame(broadcast, arp.OperationRequest, other, asker4, MAC{}, else4), outcome{Drop: NotAnnounced}},
		{"reply", arpFrame(own, arp.OperationReply, other, asker4, own, ours4), outcome{Drop: NotRequest}},
		{"gratuitous request of a stranger for his own", arpFrame(broadcast, arp.OperationRequest, other, else4, MAC{}, else4), outcome{Drop: Gratuitous}},
		{
			"gratuitous request for ours", arpFrame(broadcast, arp.OperationRequest, other, ours4, MAC{}, ours4),
			outcome{Drop: Gratuitous, Claim: claim{addr: ours4, mac: other}},
		},
		{
			"gratuitous reply for ours", arpFrame(broadcast, arp.OperationReply, other, ours4, other, ours4),
			outcome{Drop: NotRequest, Claim: claim{addr: ours4, mac: other}},
		},
		{
			"reply to our probe", arpFrame(own, arp.OperationReply, other, silent4, own, none4),
			outcome{Drop: NotRequest, Claim: claim{addr: silent4, mac: other, answers: true}},
		},
		{
			"request from ours for another", arpFrame(broadcast, arp.OperationRequest, other, ours4, MAC{}, else4),
			outcome{Drop: NotAnnounced, Claim: claim{addr: ours4, mac: other}},
		},
		{"request for what is probed", arpFrame(broadcast, arp.OperationRequest, other, asker4, MAC{}, silent4), outcome{Drop: Unclaimed}},
		{
			"probe for what is probed", arpFrame(broadcast, arp.OperationRequest, other, none4, MAC{}, silent4),
			outcome{Drop: Unclaimed, Claim: claim{addr: silent4, mac: other, asks: true}},
		},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if diff := cmp.Diff(row.want, outcomeOf(testView().answerARP(row.frame)), outcomes); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestAnswerNDP(t *testing.T) {
	solicit := func(dstMAC, srcMAC MAC, src, dst, target netip.Addr, options ...ndp.Option) []byte {
		return ndpFrame(dstMAC, srcMAC, neighborPacket{src, dst, &ndp.NeighborSolicitation{TargetAddress: target, Options: options}})
	}
	advertise := func(dst netip.Addr, solicited bool, target netip.Addr, options ...ndp.Option) []byte {
		return ndpFrame(multicastMAC(allNodes), other, neighborPacket{asker6, dst, &ndp.NeighborAdvertisement{
			Solicited: solicited, TargetAddress: target, Options: options,
		}})
	}
	group := solicitedNode(ours6)
	groupMAC := multicastMAC(group)
	slla := &ndp.LinkLayerAddress{Direction: ndp.Source, Addr: third[:]}
	tlla := &ndp.LinkLayerAddress{Direction: ndp.Target, Addr: third[:]}
	plain := solicit(groupMAC, other, asker6, group, ours6)
	edit := func(offset int, b byte) []byte {
		f := bytes.Clone(plain)
		f[offset] = b
		return f
	}
	rows := []struct {
		name  string
		frame []byte
		want  outcome
	}{
		{"nothing", nil, outcome{Drop: Malformed}},
		{"another Ethernet type", edit(13, 0), outcome{Drop: Malformed}},
		{"cut short", plain[:len(plain)-1], outcome{Drop: Malformed}},
		{"padded", append(bytes.Clone(plain), 0, 0, 0), outcome{Drop: Answered, Replies: true}},
		{"IPv4", edit(14, 0x45), outcome{Drop: Malformed}},
		{"UDP", edit(20, 17), outcome{Drop: Malformed}},
		{"from beyond a router", edit(21, 254), outcome{Drop: Malformed}},
		{"length of nothing", edit(19, 8), outcome{Drop: Malformed}},
		{"code 1", edit(55, 1), outcome{Drop: Malformed}},
		{"wrong checksum", edit(57, plain[57]^1), outcome{Drop: Malformed}},
		{"multicast solicitation", plain, outcome{Drop: Answered, Replies: true}},
		{"with its hardware address", solicit(groupMAC, other, asker6, group, ours6, slla), outcome{Drop: Answered, Replies: true}},
		{"unicast solicitation", solicit(own, other, asker6, ours6, ours6), outcome{Drop: Answered, Replies: true}},
		{"to another host", solicit(third, other, asker6, ours6, ours6), outcome{Drop: NotForUs}},
		{"from ourselves", solicit(groupMAC, own, asker6, group, ours6), outcome{Drop: FromSelf}},
		{"not announced", solicit(own, other, asker6, else6, else6), outcome{Drop: NotAnnounced}},
		{"for a group", solicit(own, other, asker6, group, allNodes), outcome{Drop: Malformed}},
		{"duplicate address detection", solicit(groupMAC, other, none6, group, ours6), outcome{Drop: Answered, Replies: true}},
		{"from nowhere by unicast", solicit(own, other, none6, ours6, ours6), outcome{Drop: Malformed}},
		{"from nowhere with an address", solicit(groupMAC, other, none6, group, ours6, slla), outcome{Drop: Malformed}},
		{"advertisement of another's", advertise(allNodes, false, else6, tlla), outcome{Drop: NotRequest}},
		{
			"advertisement of ours", advertise(allNodes, false, ours6, tlla),
			outcome{Drop: NotRequest, Claim: claim{addr: ours6, mac: third, forged: true}},
		},
		{
			"advertisement of ours without an option", advertise(ownLL, true, ours6),
			outcome{Drop: NotRequest, Claim: claim{addr: ours6, mac: other}},
		},
		{"solicited advertisement to a group", advertise(allNodes, true, ours6, tlla), outcome{Drop: Malformed}},
		{"advertisement of a group", advertise(allNodes, false, group, tlla), outcome{Drop: Malformed}},
		{"router solicitation", ndpFrame(own, other, neighborPacket{asker6, ownLL, &ndp.RouterSolicitation{Options: []ndp.Option{slla, slla}}}), outcome{Drop: Malformed}},
		{"for what is probed", solicit(own, other, asker6, silent6, silent6), outcome{Drop: Unclaimed}},
		{
			"detection of what is probed", solicit(multicastMAC(solicitedNode(silent6)), other, none6, solicitedNode(silent6), silent6),
			outcome{Drop: Unclaimed, Claim: claim{addr: silent6, mac: other, asks: true}},
		},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if diff := cmp.Diff(row.want, outcomeOf(testView().answerNDP(row.frame)), outcomes); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}

	// The answer goes to the address that the option gives, not to who relayed.
	v := testView().answerNDP(solicit(groupMAC, other, asker6, group, ours6, slla))
	if eth, _, _ := parseEthernet(v.reply); eth.dst != third {
		t.Errorf("answer goes to %s, want %s", eth.dst, third)
	}
}

// What is sent must be what would be accepted.
func TestFramesAreWellFormed(t *testing.T) {
	for _, f := range append(arpAnnouncements(own, ours4), arpProbe(own, ours4)) {
		_, payload, _ := parseEthernet(f)
		if _, err := parseARP(payload); err != nil {
			t.Error(err)
		}
	}
	for _, f := range [][]byte{ndpAnnouncement(own, ownLL, ours6), ndpProbe(own, ours6)} {
		_, payload, _ := parseEthernet(f)
		if _, err := parseNDP(payload); err != nil {
			t.Error(err)
		}
	}
}

func TestDropsHaveNames(t *testing.T) {
	for d := range drops {
		if d.String() == "" {
			t.Errorf("Drop %d has no name", d)
		}
	}
	for s := range skips {
		if s.String() == "" {
			t.Errorf("Skip %d has no name", s)
		}
	}
	for p := range phases {
		if p.String() == "" {
			t.Errorf("Phase %d has no name", p)
		}
	}
}
