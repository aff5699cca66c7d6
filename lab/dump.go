// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	// dumpLines is how many lines of each log a dump shows.
	dumpLines = 50

	// dumpTimeout is how long a dump may take: a daemon may be frozen.
	dumpTimeout = 20 * time.Second
)

// New builds a lab for a test, which must have called [Need]. When the test
// ends the lab is taken down, and if the test failed it is dumped first.
func New(t testing.TB, opts Options) *Topology {
	t.Helper()
	NotAttached(t)
	top, err := Up(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), dumpTimeout)
		defer cancel()
		if t.Failed() {
			top.Dump(ctx, t.Output())
		}
		if err := top.Down(ctx); err != nil {
			t.Error(err)
		}
	})
	return top
}

// password matches the passwords of a configuration.
var password = regexp.MustCompile(`(?m)( password ).*$`)

// Dump writes what is known of the lab: of each machine with FRR, its running
// configuration without passwords, its sessions and its routes, and of every
// machine the last lines of its logs.
func (t *Topology) Dump(ctx context.Context, w io.Writer) {
	daemons := make(map[*Machine]*FRR)
	for _, f := range t.frrs() {
		daemons[f.machine] = f
	}
	for _, m := range t.Machines() {
		if f := daemons[m]; f != nil {
			for _, c := range []string{"show running-config", "show bgp summary", "show bgp ipv4 unicast", "show bgp ipv6 unicast", "show bfd peers brief"} {
				out, err := f.Vtysh(ctx, c)
				section(w, m.Name+": "+c, password.ReplaceAllString(out, "${1}[redacted]"), err)
			}
			out, err := m.Run(ctx, "ip", "route")
			section(w, m.Name+": ip route", out, err)
			out, err = m.Run(ctx, "ip", "-6", "route")
			section(w, m.Name+": ip -6 route", out, err)
		}
		logs, err := filepath.Glob(m.LogFile("*"))
		if err != nil {
			section(w, m.Name+": logs", "", err)
		}
		for _, log := range logs {
			text, err := os.ReadFile(log)
			section(w, m.Name+": "+filepath.Base(log), lastLines(text), err)
		}
	}
}

// Dump writes what is known of the lab, and the last lines of the logs of Herald's
// daemons.
func (s *Stack) Dump(ctx context.Context, w io.Writer) {
	s.Topology.Dump(ctx, w)
	for _, d := range slices.Concat(s.Controllers, s.Agents) {
		text, err := os.ReadFile(s.LogFile(d.Name))
		section(w, d.Name, lastLines(text), err)
	}
}

// section writes one part of a dump, unless it is empty.
func section(w io.Writer, title, text string, err error) {
	text = strings.TrimSpace(text)
	if err != nil {
		text += "\n" + err.Error()
	}
	if text != "" {
		fmt.Fprintf(w, "---- %s\n%s\n", title, strings.TrimSpace(text))
	}
}

// lastLines returns the last lines of a log, without passwords.
func lastLines(text []byte) string {
	lines := slices.Collect(bytes.Lines(password.ReplaceAll(text, []byte("${1}[redacted]"))))
	return string(bytes.Join(lines[max(0, len(lines)-dumpLines):], nil))
}
