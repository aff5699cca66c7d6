// SPDX-License-Identifier: Apache-2.0

package frrtest

import (
	"slices"
	"strings"
)

// A node is a line of the configuration and the lines in its context, if it opens
// one.
type node struct {
	text    string
	context bool
	sub     []*node
	lines   map[string]*node // those of sub that open no context, by subject
}

func (n *node) print(b *strings.Builder, depth int, shown map[string]string) {
	for _, s := range n.sub {
		indent := strings.Repeat(" ", depth)
		text := s.text
		if as, ok := shown[text]; ok {
			text = as
		}
		b.WriteString(indent + text + "\n")
		if !s.context {
			continue
		}
		s.print(b, depth+1, shown)
		end := "exit"
		if strings.HasPrefix(s.text, "address-family") {
			end = "exit-address-family"
		}
		b.WriteString(indent + end + "\n" + indent + "!\n")
	}
}

// heads has the commands that open a context, by the context that they belong to.
var heads = map[string][]string{
	"":       {"router bgp ", "route-map ", "bfd"},
	"router": {"address-family "},
	"bfd":    {"profile "},
}

// isHead reports whether a command opens a context below parent.
func isHead(parent *node, command string) bool {
	kind, _, _ := strings.Cut(parent.text, " ")
	for _, h := range heads[kind] {
		if command == h || strings.HasSuffix(h, " ") && strings.HasPrefix(command, h) {
			return true
		}
	}
	return false
}

// A session is one connection and its position in the configuration. It is used with
// the daemon's lock held.
type session struct {
	daemon      *Daemon
	configuring bool
	path        []*node // contexts entered, outermost first
	closed      bool
}

func (s *session) here() *node {
	if len(s.path) == 0 {
		return s.daemon.config
	}
	return s.path[len(s.path)-1]
}

// execute carries out a command like FRR, as far as Herald uses it.
func (s *session) execute(command string) (output string, status byte) {
	command = strings.TrimSpace(command)
	switch {
	case command == "enable":
		return "", success
	case command == "configure terminal":
		s.configuring = true
		return "", success
	case command == "end":
		s.configuring, s.path = false, nil
		return "", success
	case command == "exit", command == "exit-address-family":
		s.exit()
		return "", success
	case command == "show running-config":
		return s.daemon.running(), success
	case strings.HasPrefix(command, "clear bgp "):
		return "", success
	case !s.configuring:
		return "% Unknown command: " + command, noMatch
	}
	return s.configure(command)
}

func (s *session) exit() {
	switch {
	case len(s.path) > 0:
		s.path = s.path[:len(s.path)-1]
	case s.configuring:
		s.configuring = false
	default:
		s.closed = true
	}
}

func (s *session) configure(command string) (output string, status byte) {
	// A command that does not fit here may be one for an outer context.
	for i := len(s.path); i >= 0; i-- {
		around := &session{daemon: s.daemon, path: s.path[:i]}
		if isHead(around.here(), strings.TrimPrefix(command, "no ")) {
			s.path = s.path[:i]
			return s.open(command)
		}
	}
	here := s.here()
	if len(s.path) == 0 && here.sub == nil && strings.HasPrefix(command, "neighbor ") {
		return "% Unknown command: " + command, noMatch
	}
	if positive, ok := strings.CutPrefix(command, "no "); ok {
		here.remove(positive)
		if strings.HasPrefix(positive, "bgp ") {
			here.set(command)
		}
		return "", success
	}
	if here.removeExact("no " + command) {
		return "", success
	}
	if peer, ok := needsNeighbor(command); ok && !s.hasNeighbor(peer) {
		return "% Specify remote-as or peer-group commands first", configFailed
	}
	here.set(command)
	return "", success
}

// open enters a context, or removes it.
func (s *session) open(command string) (output string, status byte) {
	here := s.here()
	if positive, ok := strings.CutPrefix(command, "no "); ok {
		here.removeExact(positive)
		return "", success
	}
	i := slices.IndexFunc(here.sub, func(n *node) bool { return n.text == command })
	if i < 0 {
		if strings.HasPrefix(command, "router bgp ") {
			for _, n := range here.sub {
				if strings.HasPrefix(n.text, "router bgp ") {
					return "BGP is already running; AS is " + n.text[len("router bgp "):], configFailed
				}
			}
		}
		here.sub = append(here.sub, &node{text: command, context: true})
		i = len(here.sub) - 1
	}
	s.path = append(s.path, here.sub[i])
	return "", success
}

// needsNeighbor returns the peer that has to exist for a command.
func needsNeighbor(command string) (peer string, ok bool) {
	f := strings.Fields(command)
	if len(f) < 3 || f[0] != "neighbor" || f[2] == "remote-as" {
		return "", false
	}
	return f[1], true
}

func (s *session) hasNeighbor(peer string) bool {
	return slices.ContainsFunc(s.path[0].sub, func(n *node) bool {
		return strings.HasPrefix(n.text, "neighbor "+peer+" remote-as ")
	})
}

// set adds a line, and replaces the one with the same subject.
func (n *node) set(line string) {
	key := subject(line)
	if old, ok := n.lines[key]; ok {
		old.text = line
		return
	}
	if n.lines == nil {
		n.lines = make(map[string]*node)
	}
	n.lines[key] = &node{text: line}
	n.sub = append(n.sub, n.lines[key])
}

// remove drops the lines that begin with the words of line, here and below.
func (n *node) remove(line string) {
	n.drop(func(o *node) bool {
		return !o.context && (o.text == line || strings.HasPrefix(o.text, line+" "))
	})
	for _, o := range n.sub {
		if o.context {
			o.remove(line)
		}
	}
}

func (n *node) removeExact(line string) (found bool) {
	before := len(n.sub)
	n.drop(func(o *node) bool { return o.text == line })
	return len(n.sub) < before
}

func (n *node) drop(gone func(*node) bool) {
	n.sub = slices.DeleteFunc(n.sub, func(o *node) bool {
		if !gone(o) {
			return false
		}
		if !o.context {
			delete(n.lines, subject(o.text))
		}
		return true
	})
}

// subject returns the words of a line that name the setting, without the value.
func subject(line string) string {
	f := strings.Fields(line)
	n := len(f)
	switch {
	case f[0] == "network", f[0] == "set", f[0] == "match", f[0] == "echo":
		n = 2
	case f[0] == "hostname", strings.HasSuffix(f[0], "-interval"), strings.HasSuffix(f[0], "-multiplier"):
		n = 1
	case strings.HasPrefix(line, "bgp router-id "):
		n = 2
	case f[0] == "neighbor" && n > 3 && (f[3] == "connect" || f[3] == "profile"):
		n = 4
	case f[0] == "neighbor" && n > 3 && f[2] == "route-map":
		return strings.Join([]string{f[0], f[1], f[2], f[n-1]}, " ")
	case f[0] == "neighbor" && n > 3:
		n = 3
	}
	return strings.Join(f[:min(n, len(f))], " ")
}
