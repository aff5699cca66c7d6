// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/heraldlb/herald/lab/process"
)

// namespaceDir is where iproute2 and the netns package keep named namespaces.
const namespaceDir = "/run/netns"

// A Namespace is a network namespace with a name, as `ip netns` lists it.
type Namespace struct {
	Name string
}

// newNamespace makes a namespace. It fails if one of that name exists.
func newNamespace(name string) (Namespace, error) {
	if err := namespacesShared(); err != nil {
		return Namespace{}, fmt.Errorf("make network namespace %s: %w", name, err)
	}
	ns := Namespace{Name: name}
	err := onThread(func() error {
		h, err := netns.NewNamed(name)
		if err != nil {
			return err
		}
		return h.Close()
	})
	if err != nil {
		return Namespace{}, fmt.Errorf("make network namespace %s: %w", name, err)
	}
	return ns, nil
}

// namespacesShared makes the directory of names a shared mount, as `ip netns add`
// does. Were that left to it, it would cover the names that are there already
// with copies of them, and none of those could be removed any more.
var namespacesShared = sync.OnceValue(func() error {
	if err := os.MkdirAll(namespaceDir, 0o755); err != nil {
		return err
	}
	dir, err := os.Open(namespaceDir)
	if err != nil {
		return err
	}
	defer dir.Close()
	// Another process that does the same takes the same lock.
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", namespaceDir, err)
	}
	share := func() error { return unix.Mount("", namespaceDir, "", unix.MS_SHARED|unix.MS_REC, "") }
	err = share()
	if errors.Is(err, unix.EINVAL) { // it is no mount yet
		if err := unix.Mount(namespaceDir, namespaceDir, "none", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("mount %s: %w", namespaceDir, err)
		}
		err = share()
	}
	if err != nil {
		return fmt.Errorf("share mount %s: %w", namespaceDir, err)
	}
	return nil
})

// Path returns the file that stands for the namespace.
func (n Namespace) Path() string { return filepath.Join(namespaceDir, n.Name) }

// Do runs fn on a thread that is in the namespace. Sockets that fn makes
// belong to the namespace for as long as they live; a goroutine that fn starts
// does not run there.
func (n Namespace) Do(fn func() error) error {
	return onThread(func() error {
		h, err := netns.GetFromName(n.Name)
		if err != nil {
			return fmt.Errorf("open network namespace %s: %w", n.Name, err)
		}
		defer h.Close()
		if err := netns.Set(h); err != nil {
			return fmt.Errorf("enter network namespace %s: %w", n.Name, err)
		}
		return fn()
	})
}

// onThread runs fn on an operating system thread that nothing else uses, and
// puts that thread back into its network namespace afterwards.
func onThread(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := netns.Get()
		if err != nil {
			done <- fmt.Errorf("open this thread's network namespace: %w", err)
			return
		}
		defer home.Close()
		err = fn()
		if back := netns.Set(home); back != nil {
			// The thread stays locked, so that it ends with this goroutine.
			done <- errors.Join(err, fmt.Errorf("leave network namespace: %w", back))
			return
		}
		runtime.UnlockOSThread()
		done <- err
	}()
	return <-done
}

// netlink opens a netlink socket in the namespace. The caller closes it.
func (n Namespace) netlink() (*netlink.Handle, error) {
	h, err := netns.GetFromName(n.Name)
	if err != nil {
		return nil, fmt.Errorf("open network namespace %s: %w", n.Name, err)
	}
	defer h.Close()
	nl, err := netlink.NewHandleAt(h)
	if err != nil {
		return nil, fmt.Errorf("open netlink in %s: %w", n.Name, err)
	}
	return nl, nil
}

// sysctls writes keys such as "net/ipv4/ip_forward" in the namespace.
func (n Namespace) sysctls(values map[string]string) error {
	return n.Do(func() error {
		for key, v := range values {
			if err := os.WriteFile(filepath.Join("/proc/sys", key), []byte(v), 0); err != nil {
				return fmt.Errorf("sysctl in %s: %w", n.Name, err)
			}
		}
		return nil
	})
}

// A running process of a namespace.
type running struct {
	pid  int
	name string // the kernel's name for it, at most 15 characters
}

// processes lists the processes of the namespace, ended ones left out.
func (n Namespace) processes() ([]running, error) {
	var want unix.Stat_t
	if err := unix.Stat(n.Path(), &want); err != nil {
		return nil, fmt.Errorf("find network namespace %s: %w", n.Name, err)
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var found []running
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		var st unix.Stat_t
		// A process that ended since the listing, or a zombie, has none.
		if unix.Stat(filepath.Join("/proc", e.Name(), "ns/net"), &st) != nil || st.Ino != want.Ino || st.Dev != want.Dev {
			continue
		}
		comm, err := os.ReadFile(filepath.Join("/proc", e.Name(), "comm"))
		if err != nil {
			continue
		}
		found = append(found, running{pid: pid, name: string(comm[:max(len(comm)-1, 0)])})
	}
	return found, nil
}

// empty kills every process of the namespace and waits until they are gone.
func (n Namespace) empty(ctx context.Context) error {
	return process.Poll(ctx, 2*time.Millisecond, func() error {
		procs, err := n.processes()
		if err != nil {
			return err
		}
		for _, p := range procs {
			if err := unix.Kill(p.pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("kill %s: %w", p.name, err)
			}
		}
		if len(procs) > 0 {
			return fmt.Errorf("%d processes left in %s", len(procs), n.Name)
		}
		return nil
	})
}

// remove removes the name of the namespace. The kernel removes the rest, links
// and all, when nothing is in the namespace any more.
func (n Namespace) remove() error {
	err := unix.Unmount(n.Path(), unix.MNT_DETACH)
	// A lab that was killed can leave a name that stands for nothing yet.
	if err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("remove network namespace %s: %w", n.Name, err)
	}
	if err := os.Remove(n.Path()); err != nil {
		return fmt.Errorf("remove network namespace %s: %w", n.Name, err)
	}
	return nil
}
