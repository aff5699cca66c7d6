// SPDX-License-Identifier: Apache-2.0

package l2

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// netlinkBuffer holds the messages about a node that starts many pods at once.
const netlinkBuffer = 1 << 20

// Watch follows the kernel's messages about links and addresses. It fails when messages
// were lost. The next call begins with the present state.
func (Kernel) Watch(ctx context.Context, changed func([]Link)) error {
	s, err := subscribe()
	if err != nil {
		return err
	}
	defer s.close()
	t := newLinkTable()
	if err := t.fill(); err != nil {
		return err
	}
	last := t.list()
	changed(slices.Clone(last))
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-s.errs:
			return fmt.Errorf("follow links and addresses: %w", err)
		case u, ok := <-s.links:
			if !ok {
				return errors.New("follow links: subscription ended")
			}
			t.link(u)
		case u, ok := <-s.addrs:
			if !ok {
				return errors.New("follow addresses: subscription ended")
			}
			t.addr(u)
		}
		// Messages come in bursts. All of a burst are read first.
		if len(s.links) > 0 || len(s.addrs) > 0 {
			continue
		}
		if now := t.list(); !slices.Equal(now, last) {
			last = now
			changed(slices.Clone(now))
		}
	}
}

// A subscription receives the kernel's messages about links and addresses.
type subscription struct {
	links chan netlink.LinkUpdate
	addrs chan netlink.AddrUpdate
	errs  chan error // capacity 1: the first error of either
	done  chan struct{}
}

func subscribe() (*subscription, error) {
	s := &subscription{
		links: make(chan netlink.LinkUpdate, 64),
		addrs: make(chan netlink.AddrUpdate, 64),
		errs:  make(chan error, 1),
		done:  make(chan struct{}),
	}
	fail := func(err error) {
		select {
		case s.errs <- err:
		default:
		}
	}
	err := netlink.LinkSubscribeWithOptions(s.links, s.done, netlink.LinkSubscribeOptions{
		ReceiveBufferSize: netlinkBuffer,
		ErrorCallback:     fail,
	})
	if err != nil {
		return nil, fmt.Errorf("subscribe to links: %w", err)
	}
	err = netlink.AddrSubscribeWithOptions(s.addrs, s.done, netlink.AddrSubscribeOptions{
		ReceiveBufferSize: netlinkBuffer,
		ErrorCallback:     fail,
	})
	if err != nil {
		close(s.done)
		drain(s.links)
		return nil, fmt.Errorf("subscribe to addresses: %w", err)
	}
	return s, nil
}

// close ends the subscription.
func (s *subscription) close() {
	close(s.done)
	drain(s.links)
	drain(s.addrs)
}

// drain reads the remaining messages of a subscription, so that its goroutine is not
// blocked and ends once done is closed.
func drain[T any](c <-chan T) {
	go func() {
		for range c {
		}
	}()
}

// A linkTable has the links and addresses from the kernel's messages.
type linkTable struct {
	links     map[int]netlinkLink
	linkLocal map[int]map[netip.Addr]bool // usable ones, by link
}

func newLinkTable() *linkTable {
	return &linkTable{links: map[int]netlinkLink{}, linkLocal: map[int]map[netip.Addr]bool{}}
}

// fill reads the present state. Changes since the start of the subscriptions come again
// with them. The subscriptions could list the state too, but with an option that needs
// CAP_NET_ADMIN.
func (t *linkTable) fill() error {
	links, err := netlink.LinkList()
	if err != nil {
		return fmt.Errorf("list links: %w", err)
	}
	for _, l := range links {
		t.link(netlink.LinkUpdate{Link: l})
	}
	addrs, err := netlink.AddrList(nil, netlink.FAMILY_V6)
	if err != nil {
		return fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range addrs {
		t.addr(netlink.AddrUpdate{LinkAddress: *a.IPNet, LinkIndex: a.LinkIndex, Flags: a.Flags, NewAddr: true})
	}
	return nil
}

// A netlinkLink is a Link with the properties that decide whether it is enslaved.
type netlinkLink struct {
	Link
	kind   string
	master int
}

// link applies a message about a link.
func (t *linkTable) link(u netlink.LinkUpdate) {
	if u.IfInfomsg.Family != unix.AF_UNSPEC {
		return // about a port of a bridge, not about the link
	}
	attrs := u.Link.Attrs()
	if u.Header.Type == unix.RTM_DELLINK {
		delete(t.links, attrs.Index)
		delete(t.linkLocal, attrs.Index)
		return
	}
	l := netlinkLink{
		Link: Link{
			Index:     attrs.Index,
			Name:      attrs.Name,
			Up:        attrs.RawFlags&unix.IFF_UP != 0 && attrs.RawFlags&unix.IFF_RUNNING != 0,
			Loopback:  attrs.RawFlags&unix.IFF_LOOPBACK != 0,
			Broadcast: attrs.RawFlags&unix.IFF_BROADCAST != 0,
			NoARP:     attrs.RawFlags&unix.IFF_NOARP != 0,
		},
		kind:   u.Link.Type(),
		master: attrs.MasterIndex,
	}
	if attrs.EncapType == "ether" {
		l.MAC = macOf(attrs.HardwareAddr)
	}
	t.links[attrs.Index] = l
}

// addr applies a message about an address.
func (t *linkTable) addr(u netlink.AddrUpdate) {
	addr, ok := netip.AddrFromSlice(u.LinkAddress.IP)
	if !ok || !addr.Is6() || addr.Is4In6() || !addr.IsLinkLocalUnicast() {
		return
	}
	// An address that may be another host's must not be used: RFC 4862, Section 5.4.
	usable := u.Flags&unix.IFA_F_DADFAILED == 0 && (u.Flags&unix.IFA_F_TENTATIVE == 0 || u.Flags&unix.IFA_F_OPTIMISTIC != 0)
	if !u.NewAddr || !usable {
		delete(t.linkLocal[u.LinkIndex], addr)
		return
	}
	if t.linkLocal[u.LinkIndex] == nil {
		t.linkLocal[u.LinkIndex] = map[netip.Addr]bool{}
	}
	t.linkLocal[u.LinkIndex][addr] = true
}

// list returns the links, by index.
func (t *linkTable) list() []Link {
	out := make([]Link, 0, len(t.links))
	for _, l := range t.links {
		// A VRF is a master too, but it routes: its links resolve addresses themselves.
		l.Enslaved = l.master != 0 && t.links[l.master].kind != "vrf"
		if own := t.linkLocal[l.Index]; len(own) > 0 {
			l.LinkLocal = slices.MinFunc(slices.Collect(maps.Keys(own)), netip.Addr.Compare)
		}
		out = append(out, l.Link)
	}
	slices.SortFunc(out, func(a, b Link) int { return cmp.Compare(a.Index, b.Index) })
	return out
}
