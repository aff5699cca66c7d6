// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/heraldlb/herald/lab/process"
)

// FRR is the routing daemons of one machine. Its methods may be called from
// several goroutines, but only one at a time starts or stops daemons.
type FRR struct {
	EtcDir string // what the machine sees as /etc/frr; the same files from outside
	RunDir string // what it sees as /run/frr: the daemons' vty sockets

	machine *Machine
	root    string   // the file system that FRR is installed in; "/" is the system's
	args    []string // more arguments for bgpd
	small   bool     // EtcDir has room for a mebibyte

	mu    sync.Mutex                  // guards the field below
	procs map[string]*process.Process // by daemon; ended ones stay until they are started again
}

// newFRR returns the FRR of a machine.
func newFRR(m *Machine, root string, bgpdArgs ...string) *FRR {
	return &FRR{
		EtcDir:  m.Path("etc"),
		RunDir:  m.Path("run"),
		machine: m,
		root:    root,
		args:    bgpdArgs,
		procs:   make(map[string]*process.Process),
	}
}

// prepare makes FRR's directories and the machine's mount namespace; Start starts it.
func (f *FRR) prepare(ctx context.Context) error {
	m, root := f.machine, f.root
	uid, gid, err := frrUser(root)
	if err != nil {
		return fmt.Errorf("prepare FRR on %s: %w", m.Name, err)
	}
	binds := []bind{{f.EtcDir, "/etc/frr"}, {f.RunDir, "/run/frr"}}
	if root != "/" {
		binds = append(binds, f.binds(root)...)
	}
	for _, dir := range []string{f.EtcDir, f.RunDir} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return fmt.Errorf("prepare FRR on %s: %w", m.Name, err)
		}
		if f.small && dir == f.EtcDir {
			if err := unix.Mount("conf", dir, "tmpfs", 0, "size=1m,mode=0755"); err != nil {
				return fmt.Errorf("prepare FRR on %s: mount %s: %w", m.Name, dir, err)
			}
		}
		if err := os.Chown(dir, uid, gid); err != nil {
			return fmt.Errorf("prepare FRR on %s: %w", m.Name, err)
		}
	}
	// vtysh complains when this file is missing.
	if err := os.WriteFile(filepath.Join(f.EtcDir, "vtysh.conf"), []byte("service integrated-vtysh-config\n"), 0o644); err != nil {
		return fmt.Errorf("prepare FRR on %s: %w", m.Name, err)
	}
	return m.unshareMounts(ctx, binds)
}

// binds are what FRR finds in a file system of its own.
func (f *FRR) binds(root string) []bind {
	return []bind{
		{f.EtcDir, filepath.Join(root, "etc/frr")},
		{f.RunDir, filepath.Join(root, "run/frr")},
		{"/proc", filepath.Join(root, "proc")},
		{"/dev", filepath.Join(root, "dev")},
	}
}

// frrUser returns the numbers of user and group frr in a file system.
func frrUser(root string) (uid, gid int, err error) {
	file, err := os.Open(filepath.Join(root, "etc/passwd"))
	if err != nil {
		return 0, 0, err
	}
	defer file.Close()
	for s := bufio.NewScanner(file); s.Scan(); {
		field := strings.Split(s.Text(), ":")
		if len(field) < 4 || field[0] != "frr" {
			continue
		}
		uid, err1 := strconv.Atoi(field[2])
		gid, err2 := strconv.Atoi(field[3])
		return uid, gid, errors.Join(err1, err2)
	}
	return 0, 0, fmt.Errorf("no user frr in %s", file.Name())
}

// Daemons returns the daemons that belong to this version of FRR, in the order
// in which they are started.
func (f *FRR) Daemons() []string {
	daemons := []string{"zebra", "staticd", "bfdd", "bgpd"}
	// From FRR 10 on, mgmtd holds the configuration of zebra and staticd.
	if _, err := os.Stat(filepath.Join(f.root, frrDaemons, "mgmtd")); err == nil {
		daemons = slices.Insert(daemons, 0, "mgmtd")
	}
	return daemons
}

// Configure replaces frr.conf, which Start and Restart load.
func (f *FRR) Configure(conf []byte) error {
	if err := os.WriteFile(filepath.Join(f.EtcDir, "frr.conf"), conf, 0o640); err != nil {
		return fmt.Errorf("configure FRR on %s: %w", f.machine.Name, err)
	}
	return nil
}

// Start starts the daemons that do not run, and loads frr.conf, if there is
// one, when they answer.
func (f *FRR) Start(ctx context.Context) error {
	if err := f.StartEmpty(ctx); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(f.EtcDir, "frr.conf")); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return f.Load(ctx)
}

// StartEmpty starts the daemons that do not run, and leaves their configuration
// to an agent.
func (f *FRR) StartEmpty(ctx context.Context) error {
	var rest errgroup.Group
	for _, d := range f.Daemons() {
		if len(f.running([]string{d})) > 0 {
			continue
		}
		// The others look for these two once, and then not again for 10 seconds.
		if d == "mgmtd" || d == "zebra" {
			if err := f.startDaemon(ctx, d); err != nil {
				return err
			}
			continue
		}
		rest.Go(func() error { return f.startDaemon(ctx, d) })
	}
	return rest.Wait()
}

// startDaemon starts one daemon and waits until its vty socket answers.
func (f *FRR) startDaemon(ctx context.Context, name string) error {
	socket := f.Socket(name)
	if err := os.Remove(socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("start %s on %s: %w", name, f.machine.Name, err)
	}
	line := f.inRoot(filepath.Join(frrDaemons, name), "-A", "127.0.0.1", "-P", "0", "--log", "stdout", "--log-level", "informational")
	if name == "bgpd" {
		line = append(line, f.args...)
	}
	p, err := f.machine.Start(process.Options{Name: name, Path: line[0], Args: line[1:]})
	if err != nil {
		return err
	}
	f.mu.Lock()
	f.procs[name] = p
	f.mu.Unlock()

	err = process.PollWhile(ctx, p, func() error {
		conn, err := net.Dial("unix", socket)
		if err != nil {
			return err
		}
		return conn.Close()
	})
	if err != nil {
		return fmt.Errorf("start %s on %s: %w", name, f.machine.Name, err)
	}
	return nil
}

// Load has vtysh read frr.conf into the daemons, as FRR's start script does.
func (f *FRR) Load(ctx context.Context) error {
	line := f.inRoot("vtysh", "-b")
	_, err := f.machine.Run(ctx, line[0], line[1:]...)
	return err
}

// Vtysh runs commands and returns what they print.
func (f *FRR) Vtysh(ctx context.Context, commands ...string) (string, error) {
	line := f.inRoot("vtysh")
	for _, c := range commands {
		line = append(line, "-c", c)
	}
	return f.machine.Run(ctx, line[0], line[1:]...)
}

// inRoot returns the command line that runs a program of FRR's file system.
func (f *FRR) inRoot(name string, args ...string) []string {
	return inRoot(f.root, name, args...)
}

// inRoot returns the command line that runs a program of a file system.
func inRoot(root, name string, args ...string) []string {
	line := append([]string{name}, args...)
	if root == "/" {
		return line
	}
	return append([]string{"chroot", root}, line...)
}

// Socket returns the path of a daemon's vty socket.
func (f *FRR) Socket(daemon string) string {
	return filepath.Join(f.RunDir, daemon+".vty")
}

// Stop ends the daemons with SIGTERM, so that they close their sessions and
// remove their routes. Without arguments it stops them all.
func (f *FRR) Stop(daemons ...string) {
	procs := f.running(daemons)
	for _, p := range procs {
		// SIGTERM would find a stopped process deaf. That it has ended is no error.
		_ = p.Kill(unix.SIGCONT)
	}
	var all sync.WaitGroup
	for _, p := range procs {
		all.Go(p.Stop)
	}
	all.Wait()
}

// Kill ends the daemons with SIGKILL, as a crash would. Without arguments it
// kills them all.
func (f *FRR) Kill(daemons ...string) error {
	procs := f.running(daemons)
	var errs []error
	for _, p := range procs {
		errs = append(errs, p.Kill(unix.SIGKILL))
	}
	for _, p := range procs {
		<-p.Done()
	}
	return errors.Join(errs...)
}

// Restart stops the daemons and starts them again.
func (f *FRR) Restart(ctx context.Context) error {
	f.Stop()
	return f.Start(ctx)
}

// Signal sends a signal, such as SIGSTOP or SIGCONT, to the daemons. Without
// arguments it goes to all that run.
func (f *FRR) Signal(sig unix.Signal, daemons ...string) error {
	var errs []error
	for _, p := range f.running(daemons) {
		errs = append(errs, p.Kill(sig))
	}
	return errors.Join(errs...)
}

// Running returns the names of the daemons that run, in order.
func (f *FRR) Running() []string {
	var names []string
	for _, d := range f.Daemons() {
		if len(f.running([]string{d})) > 0 {
			names = append(names, d)
		}
	}
	return names
}

// running returns the processes of those of the daemons that run. No names
// mean all.
func (f *FRR) running(daemons []string) []*process.Process {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(daemons) == 0 {
		daemons = slices.Sorted(maps.Keys(f.procs))
	}
	var live []*process.Process
	for _, d := range daemons {
		p := f.procs[d]
		if p != nil && !p.Ended() {
			live = append(live, p)
		}
	}
	return live
}
