// SPDX-License-Identifier: Apache-2.0

package l2_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/arp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/heraldlb/herald/l2"
)

// The kernel of the peer looks for duplicates before it uses an address.
func TestKernelFindsDuplicate(t *testing.T) {
	v := newVeth(t, "ip", "arping")
	a := start(t, l2.Options{Network: v.network()})
	a.Set(both)
	announced(t, a)

	v.must(v.far.sysctl("net/ipv6/conf/eth0/accept_dad", "1"))
	out, err := v.far.run("ip", "-6", "address", "add", addr6.String()+"/64", "dev", "eth0")
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	until(t, func() string {
		out, err := v.far.run("ip", "-6", "address", "show", "dev", "eth0")
		if err != nil || !strings.Contains(out, "dadfailed") {
			return fmt.Sprintf("duplicate address detection did not fail: %v\n%s", err, out)
		}
		return ""
	})

	out, err = v.far.run("arping", "-D", "-c", "2", "-w", "2", "-I", "eth0", addr4.String())
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(out, nodeMAC.String()) && !strings.Contains(out, strings.ToUpper(nodeMAC.String())) {
		t.Errorf("arping -D found no duplicate: %v\n%s", err, out)
	}
	for _, d := range a.State().Addresses {
		if d.Conflict != (l2.Claim{}) {
			t.Errorf("who only asks makes a conflict: %+v", d)
		}
	}
}

// The kernel of the peer resolves the addresses, and then checks by unicast that
// the neighbor is still there.
func TestKernelResolvesAndProbes(t *testing.T) {
	v := newVeth(t, "ip")
	a := start(t, l2.Options{Network: v.network()})
	a.Set(both)
	announced(t, a)
	v.must(v.far.do(func() error {
		link, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		addr, err := netlink.ParseAddr("2001:db8::2/64")
		if err != nil {
			return err
		}
		return netlink.AddrAdd(link, addr)
	}))
	for _, addr := range []netip.Addr{addr4, addr6} {
		until(t, func() string {
			err := v.far.do(func() error {
				c, err := net.Dial("udp", netip.AddrPortFrom(addr, 9).String())
				if err != nil {
					return err
				}
				defer c.Close()
				_, err = c.Write([]byte("x"))
				return err
			})
			return text(err, v.neighbor(addr, unix.NUD_REACHABLE))
		})
		before := counts(a, addr)
		v.must(v.far.do(func() error {
			return netlink.NeighSet(&netlink.Neigh{
				LinkIndex: v.farIndex, IP: addr.AsSlice(), HardwareAddr: hw(nodeMAC), State: unix.NUD_PROBE,
			})
		}))
		until(t, func() string { return text(v.neighbor(addr, unix.NUD_REACHABLE)) })
		if after := counts(a, addr); after.Replies <= before.Replies {
			t.Errorf("%s: the check that the neighbor is there was not answered", addr)
		}
	}
}

// neighbor checks what the peer's kernel knows of an address.
func (v *veth) neighbor(addr netip.Addr, state int) error {
	return v.far.do(func() error {
		list, err := netlink.NeighList(v.farIndex, netlink.FAMILY_ALL)
		if err != nil {
			return err
		}
		for _, n := range list {
			if ip, _ := netip.AddrFromSlice(n.IP); ip.Unmap() == addr {
				if n.State == state && n.HardwareAddr.String() == nodeMAC.String() {
					return nil
				}
				return fmt.Errorf("neighbor %s has state %#x at %s, want %#x", addr, n.State, n.HardwareAddr, state)
			}
		}
		return fmt.Errorf("no neighbor %s", addr)
	})
}

func text(errs ...error) string {
	if err := errors.Join(errs...); err != nil {
		return err.Error()
	}
	return ""
}

// counts returns what State says about one address.
func counts(a *l2.Announcer, addr netip.Addr) l2.Address {
	for _, d := range a.State().Addresses {
		if d.Addr == addr {
			return d
		}
	}
	return l2.Address{}
}

// The peer's kernel has the addresses: it answers our probes.
func TestKernelHasTheAddress(t *testing.T) {
	for policy, phase := range map[l2.Policy]l2.Phase{l2.Warn: l2.Announced, l2.Refuse: l2.Refused} {
		t.Run(phase.String(), func(t *testing.T) {
			v := newVeth(t, "ip")
			for _, args := range []string{"address add 192.0.2.10/24 dev eth0", "address add 2001:db8::10/64 dev eth0 nodad"} {
				if out, err := v.far.run("ip", strings.Fields(args)...); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
			}
			a := start(t, l2.Options{Network: v.network(), Conflict: policy})
			a.Set([]l2.Announcement{{Addr: addr4, Fresh: true}, {Addr: addr6, Fresh: true}})
			until(t, func() string {
				for _, addr := range []netip.Addr{addr4, addr6} {
					d := counts(a, addr)
					if d.Conflict.MAC != peerMAC || len(d.Presences) != 1 || d.Presences[0].Phase != phase {
						return fmt.Sprintf("%+v", d)
					}
				}
				return ""
			})
		})
	}
}

// A request in a VLAN that the node has no interface in must not be answered
// outside of it.
func TestVLANIsAnotherNetwork(t *testing.T) {
	v := newVeth(t, "ip")
	p := listen(t, v, l2.ARP)
	a := start(t, l2.Options{Network: v.network()})
	a.Set(both)
	announced(t, a)
	ask := func(sender netip.Addr, tag ...byte) []byte {
		request := arpFrame(t, everybody, peerMAC, arp.OperationRequest, sender, addr4)
		return slices.Concat(request[:12], []byte{0x81, 0x00}, tag, request[12:])
	}
	p.send(t, ask(netip.MustParseAddr("192.0.2.3"), 0x00, 0x05)) // VLAN 5
	p.send(t, ask(peer4, 0xe0, 0x00))                            // no VLAN, priority 7
	p.expect(t, fmt.Sprintf("%s > %s arp reply %s %s to %s %s", nodeMAC, peerMAC, nodeMAC, addr4, peerMAC, peer4))
	if n := counts(a, addr4).Requests; n != 1 {
		t.Errorf("%d requests answered, want 1", n)
	}
}

// A switch that snoops forwards solicitations to those who have reported the group.
func TestSnoopingSwitchLearnsGroups(t *testing.T) {
	v := newVeth(t, "ip", "bridge")
	for _, args := range []string{"link add br0 type bridge mcast_snooping 1", "link set br0 up", "link set eth0 master br0"} {
		if out, err := v.far.run("ip", strings.Fields(args)...); err != nil {
			t.Fatalf("ip %s: %v: %s", args, err, out)
		}
	}
	a := start(t, l2.Options{Network: v.network()})
	a.Set(both)
	until(t, func() string {
		out, err := v.far.run("bridge", "mdb", "show")
		if err != nil || !strings.Contains(out, "port eth0 grp "+group6.String()) {
			return fmt.Sprintf("the bridge does not know of %s: %v\n%s", group6, err, out)
		}
		return ""
	})
}

// More groups than one socket may join.
func TestThousandGroups(t *testing.T) {
	v := newVeth(t, "ip")
	a := start(t, l2.Options{Network: v.network()})
	var want []l2.Announcement
	for addr := addr6; len(want) < 1000; addr = addr.Next() {
		want = append(want, l2.Announcement{Addr: addr})
	}
	begin := time.Now()
	a.Set(want)
	until(t, func() string {
		n := 0
		for _, d := range a.State().Addresses {
			if d.Confirmed {
				n++
			}
		}
		if n != len(want) {
			return fmt.Sprintf("%d of %d confirmed", n, len(want))
		}
		return ""
	})
	t.Log("confirmed after", time.Since(begin))
	for _, i := range a.State().Interfaces {
		if i.Err != nil {
			t.Error(i.Err)
		}
	}
	if n := v.groups(); n < len(want) {
		t.Errorf("%d groups joined, want %d", n, len(want))
	}
	a.Set(nil)
	until(t, func() string {
		if n := v.groups(); n > 8 {
			return fmt.Sprintf("%d groups joined after all addresses were withdrawn", n)
		}
		return ""
	})
}

// groups counts the solicited-node groups that the node's kernel is in.
func (v *veth) groups() int {
	out, err := v.node.run("cat", "/proc/net/igmp6")
	v.must(err)
	return strings.Count(out, " ff0200000000000000000001ff")
}

// Two agents on one network: the address moves from the node to the peer without a gap in
// the answers.
func TestHandover(t *testing.T) {
	v := newVeth(t, "ip")
	old := start(t, l2.Options{Network: v.network()})
	heir := start(t, l2.Options{Network: namespaced{v.far}})
	old.Set(both)
	announced(t, old)

	quiet := []l2.Announcement{{Addr: addr4, Quiet: true}, {Addr: addr6, Quiet: true}}
	old.Set(quiet)
	until(t, func() string {
		for _, addr := range []netip.Addr{addr4, addr6} {
			if d := counts(old, addr); len(d.Presences) != 1 || d.Presences[0].Phase != l2.Quiet || d.TakenBy != (l2.Claim{}) {
				return fmt.Sprintf("quiet: %+v", d)
			}
		}
		return ""
	})
	heir.Set(both)
	until(t, func() string {
		for _, addr := range []netip.Addr{addr4, addr6} {
			if d := counts(old, addr); d.TakenBy.MAC != peerMAC || d.Conflict != (l2.Claim{}) || !d.Confirmed {
				return fmt.Sprintf("the heir was not heard: %+v", d)
			}
		}
		return ""
	})
	for _, addr := range []netip.Addr{addr4, addr6} {
		if d := counts(heir, addr); d.Conflict != (l2.Claim{}) {
			t.Errorf("the heir sees a conflict: %+v", d)
		}
	}
}

// BenchmarkWire asks over a real link and waits for the answer. Its CPU time is
// that of the node and the asker together.
func BenchmarkWire(b *testing.B) {
	v := newVeth(b, "ip")
	p := v.peer(b, l2.ARP)
	b.Cleanup(func() { p.Close() })
	a := start(b, l2.Options{Network: v.network()})
	a.Set([]l2.Announcement{{Addr: addr4, Quiet: true}})
	until(b, func() string {
		if len(counts(a, addr4).Presences) == 0 {
			return "not announced"
		}
		return ""
	})
	request := arpFrame(b, everybody, peerMAC, arp.OperationRequest, peer4, addr4)
	buf := make([]byte, 2048)
	before := cpu(b)
	for b.Loop() {
		if _, err := p.Write(request); err != nil {
			b.Fatal(err)
		}
		if _, err := p.Read(buf); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(cpu(b)-before)/float64(b.N), "cpu-ns/op")
}

// cpu returns the CPU time of this process.
func cpu(t testing.TB) time.Duration {
	t.Helper()
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		t.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func TestLinkIsRenamed(t *testing.T) {
	v := newVeth(t, "ip")
	a := start(t, l2.Options{Network: v.network()})
	a.Set([]l2.Announcement{{Addr: addr4, Interfaces: []string{"lan0"}}})
	if out, err := v.node.run("ip", "link", "set", "eth0", "name", "lan0"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	until(t, func() string {
		if d := counts(a, addr4); !d.Confirmed || d.Presences[0].Interface != "lan0" {
			return fmt.Sprintf("%+v", d)
		}
		return ""
	})
}
