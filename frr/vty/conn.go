// SPDX-License-Identifier: Apache-2.0

// Package vty speaks the protocol of the vty sockets on which FRR's daemons take
// commands.
package vty

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/heraldlb/herald/frr/conf"
)

// ErrUnavailable reports that a daemon could not be reached, or that its connection
// broke. The daemon may or may not have carried out the commands that it did not
// answer. Dial again later.
var ErrUnavailable = errors.New("daemon unavailable")

// errProtocol reports bytes that are not a reply of the vty protocol.
var errProtocol = errors.New("not a vty reply")

const (
	// window limits the bytes of commands that were sent and not answered yet. It is
	// smaller than the default buffer of a Unix socket. A write therefore never waits
	// for a daemon that waits for its replies to be read.
	window = 32 << 10

	// maxOutput limits one reply. The largest one expected is a full table of
	// advertised routes in JSON, with about 500 bytes a prefix.
	maxOutput = 256 << 20
)

// A Conn is a connection to the vty socket of one daemon. It is not safe for
// concurrent use.
//
// The protocol is that of FRR's vtysh. A command is a text and a NUL. A reply is a
// text, three NULs and one status byte. The replies come in the order of the
// commands, so that many commands can be sent before the first reply is read.
type Conn struct {
	name string // daemon, for errors
	c    net.Conn
	r    *bufio.Reader
	w    *bufio.Writer

	// serial keeps one command in flight. mgmtd carries out one command at a time in
	// the background, and forgets commands that it reads meanwhile.
	serial bool
}

// Dial connects to the vty socket at path, such as /var/run/frr/bgpd.vty, and
// enters the enable node. A socket that is missing or refuses is ErrUnavailable.
func Dial(ctx context.Context, path string) (*Conn, error) {
	name := strings.TrimSuffix(filepath.Base(path), ".vty")
	var d net.Dialer
	nc, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", name, ErrUnavailable, err)
	}
	c := NewConn(name, nc)
	if _, err := c.Run(ctx, "enable"); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// NewConn returns a Conn that talks to the named daemon over an established
// connection. The session starts in the view node; see Dial.
func NewConn(name string, nc net.Conn) *Conn {
	return &Conn{
		name:   name,
		c:      nc,
		serial: name == "mgmtd",
		r:      bufio.NewReaderSize(nc, 64<<10),
		w:      bufio.NewWriterSize(nc, window),
	}
}

// Close closes the connection.
func (c *Conn) Close() error { return c.c.Close() }

// Lost reports whether the daemon has closed the connection since the last command.
// It takes a millisecond if it has not.
func (c *Conn) Lost() bool {
	c.c.SetReadDeadline(time.Now().Add(time.Millisecond))
	defer c.c.SetReadDeadline(time.Time{})
	_, err := c.r.Peek(1)
	return !errors.Is(err, os.ErrDeadlineExceeded)
}

// Run sends one command and returns its output. If FRR refuses the command, the error
// is a *CommandError.
//
// When ctx ends first, or the connection breaks, the Conn is closed. Otherwise the
// reply that was not read would count as the reply to the next command.
func (c *Conn) Run(ctx context.Context, command string) (string, error) {
	replies, err := c.Batch(ctx, []string{command})
	if err != nil {
		return "", err
	}
	if r := replies[0]; !r.Status.OK(r.Output) {
		return r.Output, NewCommandError(c.name, command, r)
	}
	return replies[0].Output, nil
}

// Batch sends the commands without waiting for each reply, and returns one reply for
// each, in order. A refused command does not stop those after it and is not an error:
// see Reply.Status. When ctx ends first, or the connection breaks, Batch returns the
// replies it has and the error, and the Conn is closed.
func (c *Conn) Batch(ctx context.Context, commands []string) ([]Reply, error) {
	for _, cmd := range commands {
		if strings.IndexByte(cmd, 0) >= 0 || strings.IndexByte(cmd, '\n') >= 0 {
			return nil, fmt.Errorf("%s: command %q: NUL or newline inside", c.name, conf.Redact(cmd))
		}
	}
	if err := ctx.Err(); err != nil {
		c.c.Close()
		return nil, fmt.Errorf("%s: %w", c.name, err)
	}
	stop := context.AfterFunc(ctx, func() { c.c.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	replies, err := c.exchange(commands)
	if err == nil {
		return replies, nil
	}
	c.c.Close()
	if ctx.Err() != nil {
		// Both: the daemon was silent until the caller's deadline.
		return replies, fmt.Errorf("%s: no reply: %w: %w", c.name, ErrUnavailable, context.Cause(ctx))
	}
	return replies, fmt.Errorf("%s: %w: %w", c.name, ErrUnavailable, err)
}

// exchange keeps as many commands in flight as the window allows.
func (c *Conn) exchange(commands []string) ([]Reply, error) {
	replies := make([]Reply, 0, len(commands))
	sent, inFlight := 0, 0
	for len(replies) < len(commands) {
		for sent < len(commands) {
			n := len(commands[sent]) + 1
			if inFlight > 0 && (c.serial || inFlight+n > window) {
				break
			}
			c.w.WriteString(commands[sent]) // bufio keeps the error for Flush
			c.w.WriteByte(0)
			inFlight += n
			sent++
		}
		if err := c.w.Flush(); err != nil {
			return replies, err
		}
		// Half of the replies are read before more commands are sent. This keeps the
		// writes large, and the daemon always has work.
		for low := inFlight / 2; inFlight > low || (sent == len(commands) && len(replies) < sent); {
			r, err := readReply(c.r)
			if err != nil {
				return replies, err
			}
			inFlight -= len(commands[len(replies)]) + 1
			replies = append(replies, r)
		}
	}
	return replies, nil
}

// readReply reads text, three NULs and the status byte.
func readReply(r *bufio.Reader) (Reply, error) {
	text, err := readText(r)
	if err != nil {
		return Reply{}, err
	}
	var tail [3]byte // two more NULs, and the status
	if _, err := io.ReadFull(r, tail[:]); err != nil {
		return Reply{}, noEOF(err)
	}
	if tail[0] != 0 || tail[1] != 0 {
		return Reply{}, fmt.Errorf("%w: one NUL inside the text", errProtocol)
	}
	return Reply{Output: text, Status: Status(tail[2])}, nil
}

// readText reads up to the first NUL, and drops that.
func readText(r *bufio.Reader) (string, error) {
	var long []byte
	for {
		part, err := r.ReadSlice(0)
		if err == nil && long == nil {
			return string(part[:len(part)-1]), nil
		}
		long = append(long, part...)
		switch {
		case err == nil:
			return string(long[:len(long)-1]), nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return "", noEOF(err)
		case len(long) > maxOutput:
			return "", fmt.Errorf("%w: more than %d bytes", errProtocol, maxOutput)
		}
	}
}

// noEOF replaces io.EOF: the stream must not end between a command and its reply.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
