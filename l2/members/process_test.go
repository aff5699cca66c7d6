// SPDX-License-Identifier: Apache-2.0

package members_test

import (
	"bufio"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/heraldlb/herald/l2/members"
)

// childEnv makes the test binary an agent: "name bind node=address…".
const childEnv = "HERALD_TEST_MEMBER"

var childHolds = netip.MustParseAddr("192.0.2.9")

func TestMain(m *testing.M) {
	if args := os.Getenv(childEnv); args != "" {
		child(strings.Fields(args))
		return
	}
	os.Exit(m.Run())
}

// child is an agent that announces childHolds whenever its view is fresh, and
// prints a line for each view. It ends when its standard input does.
func child(args []string) {
	changed := make(chan struct{}, 1)
	l := members.New(members.Options{
		Node:    args[0],
		Bind:    netip.MustParseAddrPort(args[1]),
		Keys:    [][]byte{members.Key("secret")},
		Changed: func() { changed <- struct{}{} },
	})
	var nodes []members.Node
	for _, n := range args[2:] {
		name, addr, _ := strings.Cut(n, "=")
		nodes = append(nodes, members.Node{Name: name, Addrs: []netip.Addr{netip.MustParseAddr(addr)}})
	}
	l.SetNodes(nodes)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		os.Stdin.Read(make([]byte, 1))
		cancel()
	}()
	go func() {
		for range changed {
			v := l.View()
			fmt.Printf("stale=%t gaps=%d alive=%s\n", v.Stale, v.Gaps, strings.Join(v.Alive(), ","))
			if v.Stale {
				l.Publish(members.State{})
			} else {
				l.Publish(members.State{Held: []netip.Addr{childHolds}})
			}
		}
	}()
	if err := l.Run(ctx); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// A process is a child.
type process struct {
	*exec.Cmd
	tb    testing.TB
	lines chan string
}

// spawn runs agent i as a process of its own.
func (c *cluster) spawn(i int) *process {
	c.tb.Helper()
	exe, err := os.Executable()
	if err != nil {
		c.tb.Fatal(err)
	}
	args := []string{c.name(i), c.peers[i].String()}
	for _, n := range c.nodes() {
		args = append(args, n.Name+"="+n.Addrs[0].String())
	}
	p := &process{Cmd: exec.Command(exe), tb: c.tb, lines: make(chan string, 1000)}
	p.Env = append(os.Environ(), childEnv+"="+strings.Join(args, " "))
	p.Stderr = c.tb.Output()
	stdin, err := p.StdinPipe()
	if err != nil {
		c.tb.Fatal(err)
	}
	out, err := p.StdoutPipe()
	if err != nil {
		c.tb.Fatal(err)
	}
	if err := p.Start(); err != nil {
		c.tb.Fatal(err)
	}
	go func() {
		defer close(p.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			p.lines <- s.Text()
		}
	}()
	c.tb.Cleanup(func() {
		stdin.Close()
		p.Process.Kill()
		p.Wait()
	})
	return p
}

func (p *process) signal(s syscall.Signal) {
	p.tb.Helper()
	if err := p.Process.Signal(s); err != nil {
		p.tb.Fatal(err)
	}
}

// awaitLine reads on until the process prints a line.
func (p *process) awaitLine(ok func(string) bool) {
	p.tb.Helper()
	deadline := time.After(20 * time.Second)
	var seen []string
	for {
		select {
		case line, open := <-p.lines:
			if !open {
				p.tb.Fatalf("the process ended; it printed %q", seen)
			}
			if ok(line) {
				return
			}
			seen = append(seen, line)
		case <-deadline:
			p.tb.Fatalf("not printed in 20 s; it printed %q", seen)
		}
	}
}

// The other agents detect that an agent's process is killed or stopped. One that continues
// after a stop finds out by itself.
func TestProcessFails(t *testing.T) {
	c := newRealCluster(t, 3)
	survivors := []*agent{c.start(0), c.start(1)}
	for _, s := range []syscall.Signal{syscall.SIGKILL, syscall.SIGSTOP} {
		third := c.spawn(2)
		all := func(v members.View) bool {
			return len(v.Members) == 3 && slices.Equal(v.Held()[childHolds], []string{"n03"})
		}
		for _, a := range survivors {
			a.await("the process, and what it holds", all)
		}
		start := time.Now()
		third.signal(s)
		for _, a := range survivors {
			a.await("the process dead", alive("n01", "n02"))
		}
		t.Logf("%v: dead to all after %v", s, time.Since(start).Round(time.Millisecond))
		if s == syscall.SIGKILL {
			continue
		}
		third.signal(syscall.SIGCONT)
		third.awaitLine(func(line string) bool { return strings.HasPrefix(line, "stale=true gaps=1") })
		third.awaitLine(func(line string) bool { return line == "stale=false gaps=1 alive=n01,n02,n03" })
		for _, a := range survivors {
			a.await("the process back, and what it holds", all)
		}
	}
}
