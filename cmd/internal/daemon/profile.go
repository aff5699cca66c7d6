// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"runtime"
	"time"
)

// profileHeaderTimeout bounds the wait for the header of a request for a profile.
const profileHeaderTimeout = 5 * time.Second

// sampledBytes is how many bytes are allocated between two samples of the heap's profile:
// Go's default.
const sampledBytes = 512 << 10

// Profiles returns the task that serves Go's profiles where --pprof says. Only programs in
// the network of the node or of the pod can ask for them: a profile takes CPU for as long
// as the client wants.
func (f *Flags) Profiles(log *slog.Logger) (Task, error) {
	none := func(ctx context.Context) error {
		<-ctx.Done()
		return nil
	}
	if f.Pprof == "" {
		return Task{Name: "profiles", Run: none}, nil
	}
	at, err := netip.ParseAddrPort(f.Pprof)
	if err != nil || !at.Addr().IsLoopback() {
		return Task{}, fmt.Errorf("--pprof %q: want a loopback address and a port, as in 127.0.0.1:6060", f.Pprof)
	}
	runtime.MemProfileRate = sampledBytes
	return Task{Name: "profiles", Run: func(ctx context.Context) error {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", at.String())
		if err != nil {
			return err
		}
		log.Info("profiles served", "address", at)
		return serveProfiles(ctx, l)
	}}, nil
}

// serveProfiles serves profiles on a listener, which it closes, until the context is
// canceled.
func serveProfiles(ctx context.Context, l net.Listener) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: profileHeaderTimeout}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
