// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"github.com/heraldlb/herald/lab/process"
)

// A Daemon is one of Herald's programs on a machine, which can be ended and
// started again. Only one goroutine at a time may do so.
type Daemon struct {
	Name string
	Bin  string   // optional: where its program is, of another version; empty means with the others
	Args []string // optional: more arguments from its next start on

	Page string // of a controller: the URL of its web page

	url     string       // of its HTTP server, as client reaches it
	client  *http.Client // from where the daemon runs
	start   func() (*process.Process, error)
	process *process.Process
}

// supported returns the arguments without flags that the program does not have, as
// one of another version may not.
func supported(program string, args []string) ([]string, error) {
	help, err := exec.Command(program, "--help").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("flags of %s: %w: %s", program, err, help)
	}
	return slices.DeleteFunc(args, func(arg string) bool {
		flag, _, _ := strings.Cut(arg, "=")
		return !slices.Contains(strings.Fields(string(help)), flag)
	}), nil
}

// Start starts the daemon. Its output is appended to the same log each time.
func (d *Daemon) Start() error {
	var err error
	d.process, err = d.start()
	return err
}

// Process returns the daemon's present process, to be signalled.
func (d *Daemon) Process() *process.Process { return d.process }

// Stop ends the daemon with SIGTERM, as Kubernetes does.
func (d *Daemon) Stop() { d.process.Stop() }

// Kill ends the daemon with SIGKILL, as a crash would, and waits for its end.
func (d *Daemon) Kill() error {
	err := d.process.Kill(unix.SIGKILL)
	<-d.process.Done()
	return err
}

// Restart ends the daemon with SIGTERM and starts it again.
func (d *Daemon) Restart() error {
	d.Stop()
	return d.Start()
}

// Get fetches a page of the daemon's HTTP server, such as /metrics.
func (d *Daemon) Get(ctx context.Context, path string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.url+path, nil)
	if err != nil {
		return "", err
	}
	resp, err := d.client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("get %s from %s: status %s", path, d.Name, resp.Status)
	}
	return string(page), err
}

// Probes asks for each page that the manifest has the kubelet ask for, at the port
// that it names there. It returns an error unless all say that all is well.
func (d *Daemon) Probes(ctx context.Context, c *corev1.Container) error {
	asked := 0
	for _, probe := range []*corev1.Probe{c.StartupProbe, c.LivenessProbe, c.ReadinessProbe} {
		if probe == nil || probe.HTTPGet == nil {
			continue
		}
		port, err := containerPort(c, probe.HTTPGet.Port)
		if err != nil {
			return err
		}
		at, err := url.Parse(d.url)
		if err != nil {
			return err
		}
		at.Host = net.JoinHostPort(at.Hostname(), strconv.Itoa(port))
		of := *d
		of.url = at.String()
		if _, err := of.Get(ctx, probe.HTTPGet.Path); err != nil {
			return err
		}
		asked++
	}
	if asked < 2 {
		return fmt.Errorf("container %s: %d probes, want at least 2", c.Name, asked)
	}
	return nil
}

// Memory returns the daemon's resident memory in bytes.
func (d *Daemon) Memory() (int64, error) {
	pid, err := innermost(d.process.PID())
	if err != nil {
		return 0, fmt.Errorf("read the memory of %s: %w", d.Name, err)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("read the memory of %s: %w", d.Name, err)
	}
	for line := range strings.Lines(string(status)) {
		var kb int64
		if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &kb); err == nil {
			return kb << 10, nil
		}
	}
	return 0, fmt.Errorf("read the memory of %s: no VmRSS", d.Name)
}

// A Confinement is who a program is, and what it may do and see.
type Confinement struct {
	User            string   // its number
	Capabilities    string   // that it may ever have, as the kernel writes them
	NoNewPrivileges bool     // a program that it runs has no more
	ReadOnly        bool     // it cannot write to its root
	Root            []string // what is in its root, in order
}

// Confinement returns how the daemon is confined.
func (d *Daemon) Confinement() (c Confinement, err error) {
	pid, err := innermost(d.process.PID())
	if err != nil {
		return c, fmt.Errorf("read how %s is confined: %w", d.Name, err)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return c, fmt.Errorf("read how %s is confined: %w", d.Name, err)
	}
	for line := range strings.Lines(string(status)) {
		switch f := strings.Fields(line); f[0] {
		case "Uid:":
			c.User = f[1]
		case "CapBnd:":
			c.Capabilities = strings.TrimLeft(f[1], "0")
		case "NoNewPrivs:":
			c.NoNewPrivileges = f[1] == "1"
		}
	}
	root := fmt.Sprintf("/proc/%d/root/", pid)
	var fs unix.Statfs_t
	if err := unix.Statfs(root, &fs); err != nil {
		return c, fmt.Errorf("read how %s is confined: %w", d.Name, err)
	}
	c.ReadOnly = fs.Flags&unix.ST_RDONLY != 0
	entries, err := os.ReadDir(root)
	for _, e := range entries {
		c.Root = append(c.Root, e.Name())
	}
	return c, err
}
