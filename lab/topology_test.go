// SPDX-License-Identifier: Apache-2.0

package lab_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/e2e"
)

// left lists what there is of a lab, as the system sees it.
func left(t *testing.T, name, dir string) []string {
	t.Helper()
	var found []string
	spaces, err := filepath.Glob("/run/netns/" + name + "-*")
	if err != nil {
		t.Fatal(err)
	}
	found = append(found, spaces...)
	links, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		if strings.HasPrefix(l.Name, name+"-") {
			found = append(found, "link "+l.Name)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if at := strings.Fields(line)[4]; at == dir || strings.HasPrefix(at, dir+"/") || strings.HasPrefix(at, "/run/netns/"+name+"-") {
			found = append(found, "mount "+at)
		}
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		found = append(found, dir)
	}
	return found
}

func TestLabUpDown(t *testing.T) { e2e.VersionsAtOnce(t, testLabUpDown) }

func testLabUpDown(t *testing.T, v lab.Version) {
	lab.Need(t, e2e.Network...)
	start := time.Now()
	top, err := lab.Up(t.Context(), lab.Options{FRRRoot: v.Root})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = top.Down(context.Background()) }) // for an early end; its errors show below
	t.Logf("up in %v", time.Since(start).Round(time.Millisecond))

	var pids []int
	for _, n := range top.Nodes {
		if got, want := n.FRR.Running(), n.FRR.Daemons(); !slices.Equal(got, want) {
			t.Errorf("%s runs %v, want %v", n.Name, got, want)
		}
		files, err := filepath.Glob(filepath.Join(n.FRR.RunDir, "*.pid"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	if len(pids) < 4*len(top.Nodes) {
		t.Fatalf("found the numbers of %d daemons, want at least %d", len(pids), 4*len(top.Nodes))
	}
	if got := left(t, top.Name, top.Dir); len(got) < len(top.Machines()) {
		t.Fatalf("of a running lab there is only %v", got)
	}

	start = time.Now()
	if err := top.Down(t.Context()); err != nil {
		t.Error(err)
	}
	t.Logf("down in %v", time.Since(start).Round(time.Millisecond))
	if got := left(t, top.Name, top.Dir); len(got) > 0 {
		t.Errorf("left behind: %v", got)
	}
	for _, pid := range pids {
		if err := unix.Kill(pid, 0); !errors.Is(err, unix.ESRCH) {
			t.Errorf("process %d still runs: %v", pid, err)
		}
	}
	if err := top.Down(t.Context()); err != nil {
		t.Errorf("down again: %v", err)
	}
}

func TestLabReachability(t *testing.T) {
	lab.Need(t, append(e2e.Network, "ping")...)
	top := lab.New(t, lab.Options{Nodes: 2, NoFRR: true})
	n1, n2 := top.Nodes[0], top.Nodes[1]
	tests := []struct {
		name string
		from *lab.Machine
		to   string
	}{
		{"a node reaches its neighbour's pods", n1.Machine, n2.Pod4.String()},
		{"over IPv6 too", n1.Machine, n2.Pod6.String()},
		{"a node reaches the router's client", n1.Machine, top.Client.Addr4.String()},
		{"over IPv6 too", n2.Machine, top.Client.Addr6.String()},
		{"a node reaches the host", n1.Machine, top.Management.Addr().String()},
		{"the LAN client reaches a node", top.LANClient, n2.Addr4.String()},
		{"the collector reaches a node", top.Collector, n1.Addr6.String()},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if out, err := tt.from.Run(e2e.Deadline(t), "ping", "-c1", "-W2", tt.to); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// crash asks the test binary to build a lab, say its name, and die.
const crash = "HERALD_LAB_TEST_CRASH"

func TestLabClearsDeadLabs(t *testing.T) {
	lab.Need(t, e2e.Network...)
	if os.Getenv(crash) != "" {
		top, err := lab.Up(t.Context(), lab.Options{Nodes: 1})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Printf("lab %s %s\n", top.Name, top.Dir)
		_ = unix.Kill(os.Getpid(), unix.SIGKILL)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(e2e.Deadline(t), self, "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), crash+"=1")
	out, err := cmd.Output()
	if err == nil {
		t.Fatalf("the lab's owner ended well:\n%s", out)
	}
	var name, dir string
	for s := bufio.NewScanner(bytes.NewReader(out)); s.Scan(); {
		_, _ = fmt.Sscanf(s.Text(), "lab %s %s", &name, &dir) // other lines do not match
	}
	if name == "" {
		t.Fatalf("the lab's owner built none:\n%s", out)
	}
	if len(left(t, name, dir)) == 0 {
		t.Fatalf("the lab's owner left nothing of %s", name)
	}

	top := lab.New(t, lab.Options{Nodes: 1, NoFRR: true})
	if top.Name == name {
		return // it took the dead lab's place, so it has cleared it
	}
	if got := left(t, name, dir); len(got) > 0 {
		t.Errorf("left behind: %v", got)
	}
}
