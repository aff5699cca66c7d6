// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/heraldlb/herald/lab/controlplane"
	"github.com/heraldlb/herald/lab/process"
)

// mendTimeout bounds how long a lab is mended after a loan.
const mendTimeout = 20 * time.Second

// A loan describes a lab to a process that attaches to it.
type loan struct {
	Err        string // why it cannot be lent
	Name       string
	Dir        string
	Management netip.Prefix
	Stack      StackOptions
	Cluster    controlplane.Options
	Processes  map[string]int // process numbers
}

// loanSocket is where a lab is lent.
func loanSocket(dir string) string { return filepath.Join(dir, "loan.sock") }

// Lend lends the lab to processes that call [Borrow], one after the other, until ctx
// is done. Each finds daemons of Herald that were just started, from the programs as
// they are then, and everything else running.
func (s *Standard) Lend(ctx context.Context) error {
	l, err := net.Listen("unix", loanSocket(s.Dir))
	if err != nil {
		return fmt.Errorf("lend the lab: %w", err)
	}
	defer context.AfterFunc(ctx, func() { l.Close() })()
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("lend the lab: %w", err)
		}
		s.lend(ctx, conn)
	}
}

// lend lends the lab to one process.
func (s *Standard) lend(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	terms := loan{Name: s.Name, Dir: s.Dir, Management: s.Management, Stack: s.Stack.opts, Processes: make(map[string]int)}
	if s.Stack.opts.Bare {
		terms.Err = "it runs without Herald"
	} else if err := errors.Join(s.restart(), s.mend(ctx)); err != nil {
		terms.Err = err.Error()
	}
	if terms.Err == "" {
		terms.Stack.Network, terms.Cluster = s.Topology.opts, s.Cluster.Options()
		s.visit(func(name string, p *process.Process) *process.Process {
			if p != nil && !p.Ended() {
				terms.Processes[name] = p.PID()
			}
			return p
		})
	}
	if json.NewEncoder(conn).Encode(terms) != nil {
		return // it has gone
	}
	_, _ = io.Copy(io.Discard, conn) // until the other process closes it, or ends
	// What a test has started may take a moment to end. What cannot be mended now the
	// next loan reports.
	ctx, cancel := context.WithTimeout(ctx, mendTimeout)
	defer cancel()
	_ = process.Poll(ctx, time.Second, func() error { return s.mend(ctx) })
}

// restart starts Herald's daemons again, from what their programs are now.
func (s *Standard) restart() error {
	var g errgroup.Group
	for _, d := range slices.Concat(s.Controllers, s.Agents) {
		g.Go(d.Restart)
	}
	return g.Wait()
}

// mend starts what has ended.
func (s *Standard) mend(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := s.Cluster.Mend(ctx); err != nil {
		return err
	}
	for _, f := range s.frrs() {
		if len(f.Running()) == len(f.Daemons()) {
			continue
		}
		start := f.StartEmpty // agents configure the nodes
		if f == s.Router.FRR {
			start = f.Start
		}
		if err := start(ctx); err != nil {
			return err
		}
	}
	for _, d := range slices.Concat(s.Controllers, s.Agents) {
		if d.process.Ended() {
			if err := d.Start(); err != nil {
				return err
			}
		}
	}
	return errors.Join(s.mendGoBGP(ctx, s.IBGP, s.ibgpOptions()), s.mendGoBGP(ctx, s.EBGP, s.ebgpOptions()))
}

// mendGoBGP starts a GoBGP again if it has ended.
func (s *Standard) mendGoBGP(ctx context.Context, g *GoBGP, opts GoBGPOptions) error {
	if !g.process.Ended() {
		return nil
	}
	again, err := s.StartGoBGP(ctx, opts)
	if err != nil {
		return err
	}
	g.conn.Close()
	*g = *again
	return nil
}

// visit puts in the place of each process what a function makes of it.
func (s *Standard) visit(fn func(name string, p *process.Process) *process.Process) {
	for _, d := range slices.Concat(s.Controllers, s.Agents) {
		d.process = fn(d.Name, d.process)
	}
	s.Cluster.Visit(fn)
	s.IBGP.process = fn("ibgp", s.IBGP.process)
	s.EBGP.process = fn("ebgp", s.EBGP.process)
	for _, f := range s.frrs() {
		for _, d := range f.Daemons() {
			f.procs[d] = fn(f.machine.Name+"/"+d, f.procs[d])
		}
	}
}

// Borrow attaches to the lab in a directory, which another process holds. Down gives
// it back.
func Borrow(ctx context.Context, dir string) (*Standard, error) {
	conn, err := net.Dial("unix", loanSocket(dir))
	if err != nil {
		return nil, fmt.Errorf("attach to the lab: %w", err)
	}
	var terms loan
	if err = json.NewDecoder(conn).Decode(&terms); err == nil && terms.Err != "" {
		err = errors.New(terms.Err)
	}
	var s *Standard
	if err == nil {
		s, err = borrow(ctx, terms)
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("attach to the lab in %s: %w", dir, err)
	}
	s.loan = conn
	return s, nil
}

// borrow makes handles of what the terms describe.
func borrow(ctx context.Context, terms loan) (*Standard, error) {
	t := &Topology{Name: terms.Name, Dir: terms.Dir, Management: terms.Management, opts: terms.Stack.Network}
	t.life, t.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if err := t.find(); err != nil {
		return nil, err
	}
	s := &Standard{Stack: &Stack{Topology: t, opts: terms.Stack}}
	var err error
	if s.Cluster, err = controlplane.Attach(terms.Cluster); err != nil {
		return nil, err
	}
	if s.pods, err = ReadPods(terms.Stack.Manifests); err != nil {
		return nil, err
	}
	if err := s.daemons(); err != nil {
		return nil, err
	}
	if s.IBGP, err = t.connectGoBGP(s.ibgpOptions(), nil); err != nil {
		return nil, err
	}
	if s.EBGP, err = t.connectGoBGP(s.ebgpOptions(), nil); err != nil {
		return nil, err
	}
	s.visit(func(name string, _ *process.Process) *process.Process {
		p, failed := process.Adopt(name, terms.Processes[name])
		err = errors.Join(err, failed)
		return p
	})
	return s, err
}

// find makes handles of the machines of a network that there is, and of their FRR.
func (t *Topology) find() error {
	t.machines()
	for _, m := range t.Machines() {
		m.Namespace = Namespace{Name: t.Name + "-" + m.Name}
		if _, err := os.Stat(m.Path(mountsFile)); err == nil {
			m.mounts = m.Path(mountsFile)
		}
		nl, err := m.Namespace.netlink()
		if err != nil {
			return err
		}
		m.LinkLocal, err = linkLocal(nl, lanLink)
		nl.Close()
		if err != nil {
			return err
		}
	}
	for _, n := range t.Nodes {
		n.FRR = t.nodeFRR(n)
	}
	t.Router.FRR = newFRR(t.Router.Machine, t.opts.FRRRoot)
	return nil
}

// giveBack ends what this process has started in the lab, and gives the lab back.
func (s *Standard) giveBack() error {
	s.visit(func(_ string, p *process.Process) *process.Process {
		if p != nil && !p.Lent() && !p.Ended() {
			_ = p.Kill(unix.SIGKILL)
			<-p.Done()
		}
		return p
	})
	s.cancel()
	return s.loan.Close()
}
