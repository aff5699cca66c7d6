// SPDX-License-Identifier: Apache-2.0

// Package web serves a daemon's probes to everybody, and its pages, metrics and status,
// to as many readers as it can afford.
package web

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/heraldlb/herald/cmd/internal/daemon"
)

// Timeouts of a server. A page of 3 MB takes a reader with 2 Mbit/s twelve seconds.
const (
	headerTimeout = 5 * time.Second
	readTimeout   = 10 * time.Second
	writeTimeout  = 15 * time.Second
	idleTimeout   = time.Minute
)

// maxHeader bounds the header of a request. A token has 1 or 2 kB.
const maxHeader = 32 << 10

// Paths that everybody may ask for, and those of the pages.
var (
	probes = []string{"/healthz", "/livez", "/readyz"}
	pages  = []string{"/metrics", "/status"}
)

// Options say what is served, and where.
type Options struct {
	Flags
	Address      string       // optional: to listen on; empty means nowhere
	ProbeAddress string       // optional: host for --health-probe-port; empty means all addresses
	Handler      http.Handler // required: for all paths; the pages must not depend on who asks
	Reviewer     Reviewer     // required
	Logger       *slog.Logger // required
}

// A Server serves a daemon's probes and pages.
type Server struct {
	opts    Options
	secure  *tls.Config // nil: plain HTTP
	handler http.Handler
	review  *memory
}

// New returns a Server, or what is wrong with the flags.
func New(opts Options) (*Server, error) {
	s := &Server{opts: opts}
	config, err := opts.config()
	if err != nil {
		return nil, err
	}
	if opts.wantsTLS() {
		c, err := newCertificate(opts.certDir, opts.Logger)
		if err != nil {
			return nil, fmt.Errorf("--metrics-cert-dir: %w", err)
		}
		config.GetCertificate, config.NextProtos = c.get, []string{"http/1.1"}
		s.secure, s.review = config, newMemory(opts.Reviewer, opts.Logger)
	}
	s.handler = s.paths()
	return s, nil
}

// paths returns the handler of the paths that there are.
func (s *Server) paths() http.Handler {
	mux := http.NewServeMux()
	for _, path := range probes {
		mux.Handle("GET "+path, s.opts.Handler)
	}
	sent := &stock{most: maxStock}
	for _, path := range pages {
		var h http.Handler = newShared(s.opts.Handler, sent)
		if s.secure != nil {
			h = guarded(h, s.review)
		}
		mux.Handle("GET "+path, h)
	}
	return mux
}

// Tasks return what a daemon runs to serve.
func (s *Server) Tasks() []daemon.Task {
	tasks := []daemon.Task{{Name: "http", Run: s.run}}
	if s.opts.probePort != 0 {
		tasks = append(tasks, daemon.Task{Name: "probes", Run: s.runProbes})
	}
	return tasks
}

func (s *Server) run(ctx context.Context) error {
	if s.opts.Address == "" {
		<-ctx.Done()
		return nil
	}
	l, err := listen(ctx, s.opts.Address)
	if err != nil {
		return err
	}
	if s.secure != nil {
		s.opts.Logger.Info("metrics and status need TLS and a token", "address", s.opts.Address, "certificate", s.opts.certDir)
		l = secured{l, s.secure}
	} else {
		s.opts.Logger.Info("metrics and status are open to everybody, in plain HTTP", "address", s.opts.Address)
	}
	return s.serve(ctx, l, s.handler)
}

func (s *Server) runProbes(ctx context.Context) error {
	l, err := listen(ctx, net.JoinHostPort(s.opts.ProbeAddress, strconv.Itoa(s.opts.probePort)))
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	for _, path := range probes {
		mux.Handle("GET "+path, s.opts.Handler)
	}
	return s.serve(ctx, l, mux)
}

func listen(ctx context.Context, address string) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return &limiter{Listener: l, most: maxConns}, nil
}

// serve serves on a listener, which it closes, until the context is canceled.
func (s *Server) serve(ctx context.Context, l net.Listener, h http.Handler) error {
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ConnContext:       withConn,
		// What clients do wrong is no news, however often they do it.
		ErrorLog: slog.NewLogLogger(s.opts.Logger.Handler(), slog.LevelDebug),
	}
	// Requests in flight are cut off: a scraper tries again, and the end takes no time.
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
