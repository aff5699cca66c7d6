// SPDX-License-Identifier: Apache-2.0

package l2_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/heraldlb/herald/l2"
	"github.com/heraldlb/herald/lab/need"
)

// A space is a network namespace without a name.
type space struct{ handle netns.NsHandle }

func newSpace(t testing.TB) space {
	t.Helper()
	var s space
	err := onThread(func() (err error) {
		s.handle, err = netns.New()
		return err
	})
	if err != nil {
		t.Fatalf("make network namespace: %v", err)
	}
	t.Cleanup(func() { s.handle.Close() })
	return s
}

// onThread runs fn on a thread that ends with it.
func onThread(fn func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		done <- fn()
	}()
	return <-done
}

// do runs fn on a thread in the namespace.
func (s space) do(fn func() error) error {
	return onThread(func() error {
		if err := netns.Set(s.handle); err != nil {
			return fmt.Errorf("enter network namespace: %w", err)
		}
		return fn()
	})
}

// sysctl writes a setting of the namespace.
func (s space) sysctl(key, value string) error {
	return s.do(func() error { return os.WriteFile("/proc/sys/"+key, []byte(value), 0) })
}

// run runs a program in the namespace and returns what it prints.
func (s space) run(program string, args ...string) (string, error) {
	var out []byte
	err := s.do(func() (err error) {
		out, err = exec.Command(program, args...).CombinedOutput()
		return err
	})
	return string(out), err
}

// A namespaced network is Kernel in another namespace than the test's.
type namespaced struct{ space }

func (n namespaced) Watch(ctx context.Context, changed func([]l2.Link)) error {
	return n.do(func() error { return l2.Kernel{}.Watch(ctx, changed) })
}

func (n namespaced) Open(link l2.Link, protocol l2.Protocol) (p l2.Port, err error) {
	err = n.do(func() (err error) {
		p, err = l2.Kernel{}.Open(link, protocol)
		return err
	})
	return namespacedPort{p, n.space}, err
}

// A namespacedPort opens sockets in the namespace when it joins groups.
type namespacedPort struct {
	l2.Port
	space
}

func (p namespacedPort) Join(group netip.Addr) error {
	return p.do(func() error { return p.Port.Join(group) })
}

// A veth is a rig of two namespaces and the link between them.
type veth struct {
	t          testing.TB
	node, far  space
	nodeH      *netlink.Handle
	farIndex   int
	bridgeMade bool
}

func newVeth(t testing.TB, programs ...string) *veth {
	t.Helper()
	need.Root(t)
	for _, p := range programs {
		need.Program(t, p)
	}
	v := &veth{t: t, node: newSpace(t), far: newSpace(t)}
	var err error
	if v.nodeH, err = netlink.NewHandleAt(v.node.handle); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.nodeH.Close)
	for _, s := range []space{v.node, v.far} {
		// Nothing but what the tests say: no addresses by themselves, and the others at once.
		v.must(s.sysctl("net/ipv6/conf/default/addr_gen_mode", "1"))
		v.must(s.sysctl("net/ipv6/conf/default/accept_dad", "0"))
	}
	v.add()
	return v
}

func (v *veth) must(err error) {
	v.t.Helper()
	if err != nil {
		v.t.Fatal(err)
	}
}

// link returns the node's end.
func (v *veth) link() netlink.Link {
	v.t.Helper()
	l, err := v.nodeH.LinkByName("eth0")
	v.must(err)
	return l
}

func (v *veth) add() {
	v.t.Helper()
	v.must(v.nodeH.LinkAdd(&netlink.Veth{
		LinkAttrs:        netlink.LinkAttrs{Name: "eth0", HardwareAddr: hw(nodeMAC)},
		PeerName:         "eth0",
		PeerHardwareAddr: hw(peerMAC),
		PeerNamespace:    netlink.NsFd(v.far.handle),
	}))
	v.must(v.far.do(func() error {
		l, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		v.farIndex = l.Attrs().Index
		if err := netlink.LinkSetUp(l); err != nil {
			return err
		}
		for _, p := range []string{"192.0.2.2/24", "fe80::2/64"} {
			a, err := netlink.ParseAddr(p)
			if err != nil {
				return err
			}
			if err := netlink.AddrAdd(l, a); err != nil {
				return err
			}
		}
		return nil
	}))
	v.setLinkLocal(nodeLL)
	v.setUp(true)
}

func (v *veth) network() l2.Network { return namespaced{v.node} }

func (v *veth) peer(t testing.TB, protocol l2.Protocol) l2.Port {
	t.Helper()
	p, err := namespaced{v.far}.Open(l2.Link{Index: v.farIndex, Name: "eth0", MAC: peerMAC}, protocol)
	v.must(err)
	return p
}

func (v *veth) setUp(up bool) {
	v.t.Helper()
	if up {
		v.must(v.nodeH.LinkSetUp(v.link()))
		if addrs, err := v.nodeH.AddrList(v.link(), netlink.FAMILY_V6); err != nil || len(addrs) == 0 {
			v.setLinkLocal(nodeLL) // going down took it away
		}
		return
	}
	v.must(v.nodeH.LinkSetDown(v.link()))
}

func (v *veth) setMAC(mac l2.MAC) { v.must(v.nodeH.LinkSetHardwareAddr(v.link(), hw(mac))) }

func (v *veth) setLinkLocal(addr netip.Addr) {
	v.t.Helper()
	l := v.link()
	old, err := v.nodeH.AddrList(l, netlink.FAMILY_V6)
	v.must(err)
	for _, a := range old {
		v.must(v.nodeH.AddrDel(l, &a))
	}
	if addr.IsValid() {
		v.must(v.nodeH.AddrAdd(l, &netlink.Addr{IPNet: &net.IPNet{IP: addr.AsSlice(), Mask: net.CIDRMask(64, 128)}}))
	}
}

func (v *veth) setEnslaved(enslaved bool) {
	v.t.Helper()
	if !enslaved {
		v.must(v.nodeH.LinkSetNoMaster(v.link()))
		return
	}
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}
	if !v.bridgeMade {
		v.must(v.nodeH.LinkAdd(bridge))
		v.bridgeMade = true
	}
	v.must(v.nodeH.LinkSetMaster(v.link(), bridge))
}

func (v *veth) remove() { v.must(v.nodeH.LinkDel(v.link())) }

// joined looks at what the kernel has joined on eth0, not at what was asked of it.
func (v *veth) joined(group netip.Addr) bool {
	out, err := v.node.run("ip", "-6", "maddress", "show", "dev", "eth0")
	v.must(err)
	return strings.Contains(out, "inet6 "+group.String()+"\n") || strings.Contains(out, "inet6 "+group.String()+" ")
}

func hw(mac l2.MAC) net.HardwareAddr { return mac[:] }
