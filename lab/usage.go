// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/heraldlb/herald/lab/process"
)

// clockTick is the unit of CPU time in /proc: USER_HZ, which is 100 on every machine.
const clockTick = 10 * time.Millisecond

// A Usage is what a process has used.
type Usage struct {
	PID  int
	CPU  time.Duration // since it started
	RSS  int64         // resident bytes
	PSS  int64         // of these, what it shares with others counts in proportion
	Own  int64         // of these, what is no file
	Peak int64         // the most resident bytes that it ever had
}

// Usage returns what each program of the Stack has used, by its name: Herald's daemons,
// FRR's as "bgpd-n1", and those of the control plane. Programs that do not run are left
// out.
func (s *Stack) Usage() (map[string]Usage, error) {
	pids := map[string]int{}
	add := func(name string, p *process.Process) *process.Process {
		if p != nil && !p.Ended() {
			if pid, err := innermost(p.PID()); err == nil {
				pids[name] = pid
			}
		}
		return p
	}
	for _, d := range slices.Concat(s.Controllers, s.Agents) {
		add(d.Name, d.Process())
	}
	s.Cluster.Visit(add)
	add("bgpd-"+s.Router.Name, s.Router.FRR.process("bgpd"))
	add("zebra-"+s.Router.Name, s.Router.FRR.process("zebra"))
	for _, n := range s.Nodes {
		add("kube-proxy-"+n.Name, s.Cluster.KubeProxy(n.Name))
		for _, daemon := range []string{"bgpd", "zebra", "herald-frr"} {
			if n.Sidecar == nil {
				add(daemon+"-"+n.Name, n.FRR.process(daemon))
			} else if pid := n.Sidecar.PID(daemon); pid != 0 {
				pids[daemon+"-"+n.Name] = pid
			}
		}
	}
	all := make(map[string]Usage, len(pids))
	for name, pid := range pids {
		u, err := usage(pid)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it ended just now
		}
		if err != nil {
			return nil, fmt.Errorf("usage of %s: %w", name, err)
		}
		all[name] = u
	}
	return all, nil
}

// process returns the process of a daemon; nil: it was never started here.
func (f *FRR) process(daemon string) *process.Process {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.procs[daemon]
}

// usage returns what a process has used.
func usage(pid int) (u Usage, err error) {
	u.PID = pid
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", u.PID))
	if err != nil {
		return u, err
	}
	// The name, in parentheses, may have spaces.
	fields := strings.Fields(string(stat)[strings.LastIndexByte(string(stat), ')')+1:])
	for _, field := range fields[11:13] { // of user and system
		ticks, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return u, err
		}
		u.CPU += time.Duration(ticks) * clockTick
	}
	for file, rows := range map[string]map[string]*int64{
		"smaps_rollup": {"Rss:": &u.RSS, "Pss:": &u.PSS, "Anonymous:": &u.Own},
		"status":       {"VmHWM:": &u.Peak},
	} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", u.PID, file))
		if err != nil {
			return u, err
		}
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			if len(f) < 2 || rows[f[0]] == nil {
				continue
			}
			kb, err := strconv.ParseInt(f[1], 10, 64)
			if err != nil {
				return u, err
			}
			*rows[f[0]] = kb << 10
		}
	}
	return u, nil
}

// Heap returns how many bytes the Go heap of a daemon uses, garbage included.
func (d *Daemon) Heap(ctx context.Context) (int64, error) {
	page, err := d.Get(ctx, "/metrics")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(page) {
		if value, ok := strings.CutPrefix(line, "go_memstats_heap_inuse_bytes "); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			return int64(n), err
		}
	}
	return 0, fmt.Errorf("%s: /metrics has no figure of the heap", d.Name)
}
