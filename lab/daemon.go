// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// A Daemon is a program of Herald's on a machine, which can be ended and
// started again. Only one goroutine at a time may do so.
type Daemon struct {
	Name string
	Bin  string // optional: where its program is, of another version; empty means with the others

	url     string       // of its HTTP server, as client reaches it
	client  *http.Client // from where the daemon runs
	start   func() (*Process, error)
	process *Process
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
func (d *Daemon) Process() *Process { return d.process }

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

// Memory returns the daemon's resident memory in bytes.
func (d *Daemon) Memory() (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.process.PID()))
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
