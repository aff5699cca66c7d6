// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	// slotDir holds a lock file and a directory for each lab of this host. It
	// is short because the paths of Unix sockets may not exceed 107 bytes.
	slotDir = "/run/herald-lab"

	// slots is how many labs a host can run at the same time.
	slots = 21
)

// A slot is what a lab has to itself on this host: a name and a management
// network. It belongs to the process that holds the lock on its file, and to
// nobody once that process has ended, however it ended.
type slot struct {
	Name       string       // "hl0": prefix of its namespaces and links
	Dir        string       // its directory
	Management netip.Prefix // the management bridge's address and network

	lock *os.File
}

// takeSlot takes a slot that no running process has. From all such slots it
// removes what the process that had it last may have left.
func takeSlot(ctx context.Context) (*slot, error) {
	if err := os.MkdirAll(slotDir, 0o755); err != nil {
		return nil, fmt.Errorf("take a slot for the lab: %w", err)
	}
	var taken *slot
	for i := range slots {
		s := &slot{
			Name:       fmt.Sprintf("hl%d", i),
			Dir:        filepath.Join(slotDir, fmt.Sprintf("hl%d", i)),
			Management: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(200 + i), 0, 1}), 24),
		}
		free, err := s.try(ctx, taken == nil)
		if err != nil {
			if taken != nil {
				taken.lock.Close()
			}
			return nil, fmt.Errorf("take a slot for the lab: %w", err)
		}
		if free {
			taken = s
		}
	}
	if taken == nil {
		return nil, fmt.Errorf("take a slot for the lab: all %d are taken", slots)
	}
	return taken, nil
}

// try clears the slot if no running process has it, and then takes it if it is
// wanted and of use. It reports whether it took it.
func (s *slot) try(ctx context.Context, wanted bool) (taken bool, err error) {
	if s.lock, err = os.OpenFile(s.Dir+".lock", os.O_CREATE|os.O_RDWR, 0o644); err != nil {
		return false, err
	}
	defer func() {
		if !taken {
			s.lock.Close()
		}
	}()
	if unix.Flock(int(s.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		return false, nil
	}
	if err := s.clear(ctx); err != nil || !wanted {
		return false, err
	}
	busy, err := s.foreign()
	return !busy && err == nil, err
}

// foreign reports whether something that is not a lab uses the network.
func (s *slot) foreign() (bool, error) {
	addrs, err := netlink.AddrList(nil, netlink.FAMILY_V4)
	if err != nil {
		return false, fmt.Errorf("list this host's addresses: %w", err)
	}
	for _, a := range addrs {
		if ip, ok := netip.AddrFromSlice(a.IP); ok && s.Management.Contains(ip.Unmap()) {
			return true, nil
		}
	}
	return false, nil
}

// bridge returns the name of the management bridge.
func (s *slot) bridge() string { return s.Name + "-mgmt" }

// namespaces lists the namespaces that belong to the slot.
func (s *slot) namespaces() ([]Namespace, error) {
	entries, err := os.ReadDir(namespaceDir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("list network namespaces: %w", err)
	}
	var found []Namespace
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), s.Name+"-") {
			found = append(found, Namespace{Name: e.Name()})
		}
	}
	return found, nil
}

// clear removes everything that belongs to the slot: processes, namespaces,
// links, mounts and files. Nothing to remove is no error. Its directory is the
// first thing made and the last removed: without it there is nothing.
func (s *slot) clear(ctx context.Context) error {
	if _, err := os.Lstat(s.Dir); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	spaces, err := s.namespaces()
	errs := []error{err}
	for _, ns := range spaces {
		errs = append(errs, ns.empty(ctx))
	}
	mounts, err := filepath.Glob(filepath.Join(s.Dir, "*", mountsFile))
	errs = append(errs, err)
	for _, m := range mounts {
		if err := unix.Unmount(m, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
			errs = append(errs, fmt.Errorf("unmount %s: %w", m, err))
		}
	}
	if err := unix.Unmount(s.Dir, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		errs = append(errs, fmt.Errorf("unmount %s: %w", s.Dir, err))
	}
	// The host's ends of the nodes' links go with the nodes' ends, but that
	// takes the kernel a moment; the bridge does not go by itself at all.
	links, err := netlink.LinkList()
	errs = append(errs, err)
	for _, l := range links {
		if !strings.HasPrefix(l.Attrs().Name, s.Name+"-") {
			continue
		}
		if err := netlink.LinkDel(l); err != nil && !isGone(err) {
			errs = append(errs, fmt.Errorf("remove link %s: %w", l.Attrs().Name, err))
		}
	}
	for _, ns := range spaces {
		errs = append(errs, ns.remove())
	}
	if errors.Join(errs...) == nil {
		errs = append(errs, os.RemoveAll(s.Dir))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("clear lab %s: %w", s.Name, err)
	}
	return nil
}

// isGone reports whether a link was removed by somebody else in the meantime.
func isGone(err error) bool {
	var missing netlink.LinkNotFoundError
	return errors.As(err, &missing) || errors.Is(err, unix.ENODEV)
}

// release clears the slot and gives it back.
func (s *slot) release(ctx context.Context) error {
	return errors.Join(s.clear(ctx), s.lock.Close())
}
