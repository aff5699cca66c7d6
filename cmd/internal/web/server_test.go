// SPDX-License-Identifier: Apache-2.0

package web

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/heraldlb/herald/cmd/internal/daemon"
)

// flagsOf returns the flags of a command line.
func flagsOf(t *testing.T, args ...string) (f Flags) {
	t.Helper()
	cmd := &cobra.Command{Use: "test", Run: func(*cobra.Command, []string) {}}
	f.Add(cmd)
	cmd.SetArgs(args)
	if err := cmd.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	return f
}

// freeAddress returns an address that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// start runs a server and returns its address, and how it ends.
func start(t *testing.T, opts Options) (address string, stop func()) {
	t.Helper()
	opts.Address, opts.Logger = freeAddress(t), slog.New(slog.DiscardHandler)
	s, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- daemon.Run(ctx, s.Tasks()...) }()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		c, err := net.Dial("tcp", opts.Address)
		if err == nil {
			c.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("not served in 20 s: %v", err)
		}
	}
	ended := false
	stop = func() {
		if ended {
			return
		}
		ended = true
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("serve: %v", err)
			}
		case <-time.After(20 * time.Second):
			t.Error("still serving 20 s after the end")
		}
	}
	t.Cleanup(stop)
	return opts.Address, stop
}

// client returns a client without connections that are kept, or verification.
func client() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
	}}
}

// get asks for a page, with a token in a header if that is not empty.
func get(t *testing.T, url, header, token string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if header != "" {
		r.Header.Set(header, token)
	}
	resp, err := client().Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(body)
}

// handler serves probes, and a page of a size.
func handler(size int, made *atomic.Int64) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") })
	mux.HandleFunc("/status", func(w http.ResponseWriter, _ *http.Request) {
		made.Add(1)
		w.Write([]byte(strings.Repeat("x", size)))
	})
	return mux
}

func TestServer(t *testing.T) {
	var made atomic.Int64
	address, stop := start(t, Options{Handler: handler(4, &made)})
	for path, want := range map[string]int{
		"/healthz": http.StatusOK, "/status": http.StatusOK, "/debug/pprof/": http.StatusNotFound, "/readyz": http.StatusNotFound,
	} {
		if code, body := get(t, "http://"+address+path, "", ""); code != want {
			t.Errorf("%s: %d %s, want %d", path, code, body, want)
		}
	}
	second, err := New(Options{Address: address, Handler: http.NotFoundHandler(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := daemon.Run(t.Context(), second.Tasks()...); err == nil {
		t.Error("an address in use is no error")
	}
	// A request that is not answered does not hold up the end.
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "GET /status HTTP/1.1\r\n")
	stop()
}

func TestServerNowhere(t *testing.T) {
	s, err := New(Options{Handler: http.NotFoundHandler(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := daemon.Run(ctx, s.Tasks()...); err != nil {
		t.Errorf("serve: %v", err)
	}
}

// A probe port serves probes, and no page.
func TestProbePort(t *testing.T) {
	var made atomic.Int64
	probe := freeAddress(t)
	_, port, err := net.SplitHostPort(probe)
	if err != nil {
		t.Fatal(err)
	}
	start(t, Options{Flags: flagsOf(t, "--health-probe-port="+port), ProbeAddress: "127.0.0.1", Handler: handler(4, &made)})
	for path, want := range map[string]int{"/healthz": http.StatusOK, "/status": http.StatusNotFound} {
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
			code, body := get(t, "http://"+probe+path, "", "")
			if code == want {
				break
			}
			if code != 0 || time.Now().After(deadline) {
				t.Errorf("%s: %d %s, want %d", path, code, body, want)
				break
			}
		}
	}
}

// Readers who never read leave room for probes and for others, and their page takes no
// memory for each of them.
func TestSlowReaders(t *testing.T) {
	const size, readers = 2 << 20, 300
	var made atomic.Int64
	address, _ := start(t, Options{Handler: handler(size, &made)})
	var all []net.Conn
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range readers {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		all = append(all, c)
		fmt.Fprint(c, "GET /status HTTP/1.1\r\nHost: x\r\n\r\n")
	}
	for range 20 {
		if code, body := get(t, "http://"+address+"/healthz", "", ""); code != http.StatusOK {
			t.Errorf("probe: %d %s", code, body)
		}
	}
	if code, body := get(t, "http://"+address+"/status", "", ""); code != http.StatusOK || len(body) != size {
		t.Errorf("an ordinary reader gets %d and %d bytes", code, len(body))
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 64<<20 {
		t.Errorf("%d slow readers take %d MB", readers, grown>>20)
	}
	// Closed connections keep nothing in the kernel either: they are reset.
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		n := established(t, all)
		if n <= maxConns {
			break
		}
		if time.Now().After(deadline) {
			t.Errorf("%d of %d connections are open, want %d", n, readers, maxConns)
			break
		}
	}
	if n := made.Load(); n > readers/2 {
		t.Errorf("the page was made %d times for %d readers who came at once", n, readers)
	}
}

// established returns how many connections are, as the kernel sees it.
func established(t *testing.T, all []net.Conn) (n int) {
	t.Helper()
	for _, c := range all {
		raw, err := c.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		if err := raw.Control(func(fd uintptr) {
			if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil && info.State == unix.BPF_TCP_ESTABLISHED {
				n++
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// A client that is too slow is closed: while it writes its header, and while it reads.
func TestTimeouts(t *testing.T) {
	if headerTimeout > readTimeout || readTimeout > time.Minute || writeTimeout > time.Minute || idleTimeout > 2*time.Minute {
		t.Error("the timeouts are too long")
	}
	var made atomic.Int64
	address, _ := start(t, Options{Handler: handler(4, &made)})
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "GET /status HTTP/1.1\r\nX: ")
	c.SetReadDeadline(time.Now().Add(10 * headerTimeout))
	if _, err := bufio.NewReader(c).ReadString('\n'); err != io.EOF {
		t.Errorf("a header that does not end: %v, want the connection closed", err)
	}
	// A header without bounds is refused.
	if code, _ := get(t, "http://"+address+"/status", "X", strings.Repeat("x", 4*maxHeader)); code == http.StatusOK {
		t.Error("a header of any size is taken")
	}
}
