// SPDX-License-Identifier: Apache-2.0

package l2

import (
	"net"
	"net/netip"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestLinkTable(t *testing.T) {
	const flags = unix.IFF_UP | unix.IFF_RUNNING | unix.IFF_BROADCAST
	attrs := func(index int, name string, flags uint32, master int) netlink.LinkAttrs {
		return netlink.LinkAttrs{Index: index, Name: name, RawFlags: flags, MasterIndex: master, EncapType: "ether", HardwareAddr: own[:]}
	}
	link := func(l netlink.Link) func(*linkTable) {
		return func(t *linkTable) { t.link(netlink.LinkUpdate{Link: l}) }
	}
	message := func(kind uint16, family uint8, l netlink.Link) func(*linkTable) {
		return func(t *linkTable) {
			u := netlink.LinkUpdate{Link: l, Header: unix.NlMsghdr{Type: kind}}
			u.IfInfomsg.Family = family
			t.link(u)
		}
	}
	addr := func(ip string, flags int, added bool) func(*linkTable) {
		return func(t *linkTable) {
			t.addr(netlink.AddrUpdate{LinkAddress: net.IPNet{IP: net.ParseIP(ip)}, LinkIndex: 2, Flags: flags, NewAddr: added})
		}
	}
	eth0 := &netlink.Device{LinkAttrs: attrs(2, "eth0", flags, 0)}
	want := Link{Index: 2, Name: "eth0", MAC: own, Up: true, Broadcast: true}
	with := func(edit func(l *Link)) []Link {
		l := want
		edit(&l)
		return []Link{l}
	}
	rows := []struct {
		name string
		say  []func(*linkTable)
		want []Link
	}{
		{"a link", []func(*linkTable){link(eth0)}, []Link{want}},
		{"without a carrier", []func(*linkTable){link(&netlink.Device{LinkAttrs: attrs(2, "eth0", unix.IFF_UP|unix.IFF_BROADCAST, 0)})}, with(func(l *Link) { l.Up = false })},
		{"gone", []func(*linkTable){link(eth0), message(unix.RTM_DELLINK, unix.AF_UNSPEC, eth0)}, []Link{}},
		{"gone from a bridge alone", []func(*linkTable){link(eth0), message(unix.RTM_DELLINK, unix.AF_BRIDGE, eth0)}, []Link{want}},
		{"usable address", []func(*linkTable){link(eth0), addr("fe80::1", 0, true)}, with(func(l *Link) { l.LinkLocal = ownLL })},
		{"address before its link", []func(*linkTable){addr("fe80::1", 0, true), link(eth0)}, with(func(l *Link) { l.LinkLocal = ownLL })},
		{"global address", []func(*linkTable){link(eth0), addr("2001:db8::1", 0, true)}, []Link{want}},
		{"IPv4 link-local address", []func(*linkTable){link(eth0), addr("169.254.0.1", 0, true)}, []Link{want}},
		{"tentative address", []func(*linkTable){link(eth0), addr("fe80::1", unix.IFA_F_TENTATIVE, true)}, []Link{want}},
		{"tentative and then usable", []func(*linkTable){link(eth0), addr("fe80::1", unix.IFA_F_TENTATIVE, true), addr("fe80::1", 0, true)}, with(func(l *Link) { l.LinkLocal = ownLL })},
		{"optimistic address", []func(*linkTable){link(eth0), addr("fe80::1", unix.IFA_F_TENTATIVE|unix.IFA_F_OPTIMISTIC, true)}, with(func(l *Link) { l.LinkLocal = ownLL })},
		{"duplicate address", []func(*linkTable){link(eth0), addr("fe80::1", unix.IFA_F_DADFAILED|unix.IFA_F_TENTATIVE, true)}, []Link{want}},
		{"address removed", []func(*linkTable){link(eth0), addr("fe80::1", 0, true), addr("fe80::1", 0, false)}, []Link{want}},
		{"the lowest of two", []func(*linkTable){link(eth0), addr("fe80::2", 0, true), addr("fe80::1", 0, true)}, with(func(l *Link) { l.LinkLocal = ownLL })},
		{
			"in a bond",
			[]func(*linkTable){link(&netlink.Device{LinkAttrs: attrs(2, "eth0", flags, 3)}), link(&netlink.Bond{LinkAttrs: attrs(3, "bond0", flags, 0)})},
			[]Link{{Index: 2, Name: "eth0", MAC: own, Up: true, Broadcast: true, Enslaved: true}, {Index: 3, Name: "bond0", MAC: own, Up: true, Broadcast: true}},
		},
		{
			"in a VRF, which resolves nothing itself",
			[]func(*linkTable){link(&netlink.Device{LinkAttrs: attrs(2, "eth0", flags, 3)}), link(&netlink.Vrf{LinkAttrs: attrs(3, "red", flags|unix.IFF_NOARP, 0)})},
			[]Link{want, {Index: 3, Name: "red", MAC: own, Up: true, Broadcast: true, NoARP: true}},
		},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			table := newLinkTable()
			for _, say := range row.say {
				say(table)
			}
			if diff := cmp.Diff(row.want, table.list(), outcomes); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestSkip(t *testing.T) {
	good := Link{Index: 2, Name: "eth0", MAC: own, LinkLocal: ownLL, Up: true, Broadcast: true}
	rows := []struct {
		name     string
		edit     func(l *Link)
		arp, ndp Skip
	}{
		{"good", func(*Link) {}, Suitable, Suitable},
		{"loopback", func(l *Link) { l.Loopback = true }, IsLoopback, IsLoopback},
		{"enslaved", func(l *Link) { l.Enslaved = true }, IsEnslaved, IsEnslaved},
		{"excluded", func(l *Link) { l.Name = "veth12" }, Excluded, Excluded},
		{"down", func(l *Link) { l.Up = false }, IsDown, IsDown},
		{"without ARP", func(l *Link) { l.NoARP = true }, HasNoARP, HasNoARP},
		{"not Ethernet", func(l *Link) { l.MAC = MAC{} }, NotEthernet, NotEthernet},
		{"point to point", func(l *Link) { l.Broadcast = false }, NoBroadcast, Suitable},
		{"without link-local address", func(l *Link) { l.LinkLocal = netip.Addr{} }, Suitable, NoLinkLocal},
	}
	exclude := []*regexp.Regexp{regexp.MustCompile("^docker.*"), regexp.MustCompile("^veth.*")}
	for _, row := range rows {
		l := good
		row.edit(&l)
		if got := l.skip(ARP, exclude); got != row.arp {
			t.Errorf("%s: %s for ARP, want %s", row.name, got, row.arp)
		}
		if got := l.skip(NDP, exclude); got != row.ndp {
			t.Errorf("%s: %s for NDP, want %s", row.name, got, row.ndp)
		}
	}
}

func TestByAddress(t *testing.T) {
	rows := []struct {
		name string
		list []Announcement
		want Announcement // with an address; without one, nothing is wanted
	}{
		{"plain", []Announcement{{Addr: ours4}}, Announcement{Addr: ours4}},
		{"IPv4 in IPv6", []Announcement{{Addr: netip.AddrFrom16(ours4.As16())}}, Announcement{Addr: ours4}},
		{"no address", []Announcement{{}}, Announcement{}},
		{"group", []Announcement{{Addr: allNodes}}, Announcement{}},
		{"names in any order", []Announcement{{Addr: ours4, Interfaces: []string{"b", "a", "b"}}}, Announcement{Addr: ours4, Interfaces: []string{"a", "b"}}},
		{"twice, on some and on all", []Announcement{{Addr: ours4, Interfaces: []string{"a"}}, {Addr: ours4}}, Announcement{Addr: ours4}},
		{
			"twice, on some", []Announcement{{Addr: ours4, Interfaces: []string{"b"}}, {Addr: ours4, Interfaces: []string{"a"}}},
			Announcement{Addr: ours4, Interfaces: []string{"a", "b"}},
		},
		{"twice, one quiet and fresh", []Announcement{{Addr: ours4, Quiet: true, Fresh: true}, {Addr: ours4}}, Announcement{Addr: ours4}},
		{"twice quiet and fresh", []Announcement{{Addr: ours4, Quiet: true, Fresh: true}, {Addr: ours4, Quiet: true, Fresh: true}}, Announcement{Addr: ours4, Quiet: true, Fresh: true}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			want := map[netip.Addr]Announcement{}
			if row.want.Addr.IsValid() {
				want[row.want.Addr] = row.want
			}
			if diff := cmp.Diff(want, byAddress(row.list), outcomes); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
