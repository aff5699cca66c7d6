// SPDX-License-Identifier: Apache-2.0

// Package frrtest has a fake FRR daemon that speaks the vty protocol.
package frrtest

import (
	"bufio"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// A Daemon is a fake of one FRR daemon. It keeps the configuration that it is sent,
// and prints it for "show running-config". Tests can make it answer differently, hang,
// refuse lines, disappear and come back.
type Daemon struct {
	name string

	mu       sync.Mutex // guards the fields below
	config   *node
	log      []string
	replies  map[string]reply
	shown    map[string]string // lines that are printed differently
	refuse   func(command string) (output string)
	hang     chan struct{} // closed when the hanging ends; nil if it does not hang
	sessions int
	listener net.Listener
	conns    map[net.Conn]bool
}

type reply struct {
	output string
	status byte
}

// The statuses of FRR's lib/command.h that the fake gives.
const (
	success      = 0
	noMatch      = 2
	configFailed = 13
)

// New returns a daemon without configuration and without a socket.
func New(name string) *Daemon {
	return &Daemon{
		name:    name,
		config:  &node{},
		replies: make(map[string]reply),
		shown:   make(map[string]string),
		conns:   make(map[net.Conn]bool),
	}
}

// Dir returns a directory whose path is short enough for sockets.
func Dir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if len(dir) > 90 {
		t.Fatalf("frrtest: %s is too long a path for a Unix socket", dir)
	}
	return dir
}

// Start creates the socket NAME.vty in dir and serves it until Stop or the end of
// the test.
func (d *Daemon) Start(t testing.TB, dir string) {
	t.Helper()
	path := filepath.Join(dir, d.name+".vty")
	os.Remove(path) // what a killed daemon left
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatalf("frrtest: %v", err)
	}
	d.mu.Lock()
	d.listener = l
	d.mu.Unlock()
	t.Cleanup(d.Stop)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			d.serve(c)
		}
	}()
}

// Stop removes the socket and breaks the connections. The configuration stays:
// see Clear.
func (d *Daemon) Stop() { d.stop(true) }

// Kill is like Stop, but leaves the socket, like a daemon that is killed.
func (d *Daemon) Kill() { d.stop(false) }

func (d *Daemon) stop(unlink bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if l, ok := d.listener.(*net.UnixListener); ok {
		l.SetUnlinkOnClose(unlink)
	}
	if d.listener != nil {
		d.listener.Close()
		d.listener = nil
	}
	for c := range d.conns {
		c.Close()
	}
	if d.hang != nil {
		close(d.hang)
		d.hang = nil
	}
}

// Pipe returns a connection in memory, for tests with fake time.
func (d *Daemon) Pipe(t testing.TB) net.Conn {
	client, server := net.Pipe()
	t.Cleanup(func() {
		client.Close()
		d.Stop()
	})
	d.serve(server)
	return client
}

// Clear forgets the configuration, like a daemon that restarts.
func (d *Daemon) Clear() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.config = &node{}
}

// Do changes the configuration as if somebody else had sent the commands.
func (d *Daemon) Do(t testing.TB, commands ...string) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	s := &session{daemon: d, configuring: true}
	for _, c := range commands {
		if out, status := s.execute(c); status != success {
			t.Fatalf("frrtest: %s: %s", c, out)
		}
	}
}

// Config returns what "show running-config" prints.
func (d *Daemon) Config() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.running()
}

// Sent returns the commands that arrived since the last call, in order.
func (d *Daemon) Sent() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	log := d.log
	d.log = nil
	return log
}

// Sessions returns how many connections there have been.
func (d *Daemon) Sessions() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.sessions
}

// Reply sets the answer to a command.
func (d *Daemon) Reply(command, output string, status byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.replies[command] = reply{output, status}
}

// Show makes the daemon print a line of its configuration differently.
func (d *Daemon) Show(line, as string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.shown[line] = as
}

// Refuse makes the daemon refuse the commands for which f returns an output. With a
// nil f it refuses none.
func (d *Daemon) Refuse(f func(command string) (output string)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refuse = f
}

// Hang makes the daemon accept connections and commands without answering. Hang(false)
// makes it answer all of them.
func (d *Daemon) Hang(hang bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case hang && d.hang == nil:
		d.hang = make(chan struct{})
	case !hang && d.hang != nil:
		close(d.hang)
		d.hang = nil
	}
}

// readAhead is how many commands the fake reads before it answers. It is more than a
// vty.Conn has in flight, and less than a careless client might send.
const readAhead = 8 << 10

// serve answers on c. It reads commands ahead, like the buffer of a socket.
func (d *Daemon) serve(c net.Conn) {
	d.mu.Lock()
	d.conns[c] = true
	d.sessions++
	d.mu.Unlock()

	commands := make(chan string, readAhead)
	go func() {
		defer close(commands)
		r := bufio.NewReader(c)
		for {
			command, err := r.ReadString(0)
			if err != nil {
				return
			}
			commands <- strings.TrimSuffix(command, "\x00")
		}
	}()
	go func() {
		defer func() {
			c.Close()
			for range commands { // until the reader ends
			}
			d.mu.Lock()
			delete(d.conns, c)
			d.mu.Unlock()
		}()
		s := &session{daemon: d}
		w := bufio.NewWriter(c)
		for command := range commands {
			out, status := d.answer(s, command)
			if s.closed {
				return
			}
			w.WriteString(out)
			w.Write([]byte{0, 0, 0, status})
			if len(commands) == 0 && w.Flush() != nil {
				return
			}
		}
	}()
}

// answer carries out one command, after any hanging.
func (d *Daemon) answer(s *session, command string) (output string, status byte) {
	d.mu.Lock()
	hang := d.hang
	d.mu.Unlock()
	if hang != nil {
		<-hang
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.log = append(d.log, command)
	if r, ok := d.replies[command]; ok {
		return r.output, r.status
	}
	if d.refuse != nil {
		if out := d.refuse(command); out != "" {
			return out, configFailed
		}
	}
	return s.execute(command)
}

// running prints the configuration and the lines that FRR prints around it.
func (d *Daemon) running() string {
	var b strings.Builder
	b.WriteString("Building configuration...\n\nCurrent configuration:\n!\nfrr version 8.4.4\nfrr defaults traditional\n!\n")
	d.config.print(&b, 0, d.shown)
	b.WriteString("end\n")
	return b.String()
}
