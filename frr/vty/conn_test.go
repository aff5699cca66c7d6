// SPDX-License-Identifier: Apache-2.0

package vty_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heraldlb/herald/frr/frrtest"
	"github.com/heraldlb/herald/frr/vty"
)

func TestRun(t *testing.T) {
	tests := []struct {
		name   string
		output string
		status byte
		want   string // what the error says; empty if there is none
	}{
		{"success", "Total: 3\n", 0, ""},
		{"success here and in other daemons", "", 10, ""},
		{"warning that is a remark", "Cleared 0 routes\n", 1, ""},
		{"warning that is a refusal", "% No such neighbor\n", 1, "bgpd: show x: % No such neighbor"},
		{"unknown command", "% [BGP] Unknown command: show x\n", 2, "bgpd: show x: % [BGP] Unknown command: show x"},
		{"incomplete command without a word", "", 4, "bgpd: show x: incomplete command"},
		{"refusal over two lines", "Can't do that\nnow\n", 13, "bgpd: show x: Can't do that now"},
		{"status of a later FRR", "", 99, "bgpd: show x: status 99"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := frrtest.New("bgpd")
			d.Reply("show x", tt.output, tt.status)
			c := vty.NewConn("bgpd", d.Pipe(t))
			out, err := c.Run(t.Context(), "show x")
			if out != tt.output {
				t.Errorf("output %q, want %q", out, tt.output)
			}
			if tt.want == "" {
				if err != nil {
					t.Errorf("unexpected error: %v", err)
				}
				return
			}
			if err == nil || err.Error() != tt.want || !errors.Is(err, vty.ErrRejected) || errors.Is(err, vty.ErrUnavailable) {
				t.Errorf("got error %v, want rejection %q", err, tt.want)
			}
		})
	}
}

func TestRunAfterRejectionGoesOn(t *testing.T) {
	d := frrtest.New("bgpd")
	c := vty.NewConn("bgpd", d.Pipe(t))
	if _, err := c.Run(t.Context(), "nonsense"); !errors.Is(err, vty.ErrRejected) {
		t.Fatalf("got %v, want a rejection", err)
	}
	if _, err := c.Run(t.Context(), "show running-config"); err != nil {
		t.Fatalf("after a rejection: %v", err)
	}
}

func TestBatchOrder(t *testing.T) {
	// Far more than fits into the buffers of both sides, in both directions.
	const n = 40_000
	d := frrtest.New("bgpd")
	dir := frrtest.Dir(t)
	d.Start(t, dir)
	var commands []string
	for i := range n {
		commands = append(commands, fmt.Sprintf("show thing number %d", i))
	}
	d.Reply(commands[7], strings.Repeat("long ", 100_000), 0)

	c, err := vty.Dial(t.Context(), filepath.Join(dir, "bgpd.vty"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	replies, err := c.Batch(ctx, commands)
	if err != nil || len(replies) != n {
		t.Fatalf("got %d replies and %v, want %d", len(replies), err, n)
	}
	for i, r := range replies {
		if i == 7 {
			if len(r.Output) != 500_000 {
				t.Errorf("reply 7 has %d bytes, want 500000", len(r.Output))
			}
		} else if want := "% Unknown command: " + commands[i]; r.Output != want || r.Status != vty.NoMatch {
			t.Fatalf("reply %d: got %q, %v, want %q", i, r.Output, r.Status, want)
		}
	}
}

// TestBatchToMgmtd wants one command in flight at a time: mgmtd would forget others.
func TestBatchToMgmtd(t *testing.T) {
	client, server := net.Pipe()
	t.Cleanup(func() { client.Close() })
	seen := make(chan string, 3)
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := server.Read(buf)
			if err != nil {
				return
			}
			seen <- string(buf[:n])
			server.Write([]byte{0, 0, 0, 0})
		}
	}()
	if _, err := vty.NewConn("mgmtd", client).Batch(t.Context(), []string{"one", "two", "three"}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"one\x00", "two\x00", "three\x00"} {
		if got := <-seen; got != want {
			t.Errorf("read %q at once, want %q", got, want)
		}
	}
}

func TestBatchRefusesSeparators(t *testing.T) {
	d := frrtest.New("bgpd")
	c := vty.NewConn("bgpd", d.Pipe(t))
	for _, command := range []string{"neighbor 192.0.2.1 password a\x00b", "neighbor 192.0.2.1 password a\nb"} {
		_, err := c.Batch(t.Context(), []string{command})
		if err == nil || strings.Contains(err.Error(), "a\\") {
			t.Errorf("got %v, want an error without the password", err)
		}
	}
	if sent := d.Sent(); sent != nil {
		t.Errorf("sent %q, want nothing", sent)
	}
}

func TestHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := frrtest.New("bgpd")
		d.Hang(true)
		c := vty.NewConn("bgpd", d.Pipe(t))
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()

		start := time.Now()
		_, err := c.Run(ctx, "show bgp summary json")
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("gave up after %v, want 5s", took)
		}
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, vty.ErrUnavailable) {
			t.Errorf("got %v, want the deadline and ErrUnavailable", err)
		}
		// The late reply must not count as the reply to another command.
		d.Hang(false)
		if out, err := c.Run(t.Context(), "show running-config"); !errors.Is(err, vty.ErrUnavailable) {
			t.Errorf("after a hang got %q, %v, want ErrUnavailable", out, err)
		}
		d.Stop()
		synctest.Wait()
	})
}

func TestCancelBeforeRun(t *testing.T) {
	d := frrtest.New("bgpd")
	c := vty.NewConn("bgpd", d.Pipe(t))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Run(ctx, "show x"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	if sent := d.Sent(); sent != nil {
		t.Errorf("sent %q, want nothing", sent)
	}
}

func TestBrokenReplies(t *testing.T) {
	tests := []struct {
		name  string
		bytes string
		want  error
	}{
		{"nothing", "", io.ErrUnexpectedEOF},
		{"text only", "hello", io.ErrUnexpectedEOF},
		{"one NUL", "hello\x00", io.ErrUnexpectedEOF},
		{"no status", "hello\x00\x00\x00", io.ErrUnexpectedEOF},
		{"NUL inside the text", "he\x00llo\x00\x00\x00\x00", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			client, server := net.Pipe()
			t.Cleanup(func() { client.Close() })
			go func() {
				io.ReadAtLeast(server, make([]byte, 64), len("show x")+1)
				io.WriteString(server, tt.bytes)
				server.Close()
			}()
			_, err := vty.NewConn("bgpd", client).Run(t.Context(), "show x")
			if !errors.Is(err, vty.ErrUnavailable) || (tt.want != nil && !errors.Is(err, tt.want)) {
				t.Errorf("got %v, want ErrUnavailable and %v", err, tt.want)
			}
		})
	}
}

func TestReplyInPieces(t *testing.T) {
	client, server := net.Pipe()
	t.Cleanup(func() { client.Close() })
	go func() {
		io.ReadAtLeast(server, make([]byte, 64), len("show x")+1)
		for _, b := range []byte("all\x00\x00\x00\x00") {
			server.Write([]byte{b})
		}
	}()
	out, err := vty.NewConn("bgpd", client).Run(t.Context(), "show x")
	if out != "all" || err != nil {
		t.Errorf("got %q, %v, want all", out, err)
	}
}

func TestDialAbsent(t *testing.T) {
	_, err := vty.Dial(t.Context(), filepath.Join(t.TempDir(), "bgpd.vty"))
	if !errors.Is(err, vty.ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
	if errors.Is(err, vty.ErrRejected) {
		t.Errorf("%v must not be a rejection", err)
	}
}

func TestCommandErrorHasNoPassword(t *testing.T) {
	const command = "neighbor 192.0.2.1 password s3cr3t"
	for _, out := range []string{"% Unknown command: " + command, "% Bad value: s3cr3t\n"} {
		d := frrtest.New("bgpd")
		d.Reply(command, out, 2)
		_, err := vty.NewConn("bgpd", d.Pipe(t)).Run(t.Context(), command)
		if err == nil || strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), "s3cr3t") {
			t.Errorf("got %#v, want an error without the password", err)
		}
	}
}
