// SPDX-License-Identifier: Apache-2.0

package web

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// listenRetry is how often a Site tries to listen where something else does.
const listenRetry = 10 * time.Second

// SiteOptions say what a Site serves, and where.
type SiteOptions struct {
	Flags
	Address    string       // optional: to listen on; empty means nowhere
	Files      http.Handler // required: what holds no secret
	API        http.Handler // required: paths below /api/
	Permission string       // required: the path that a token's owner must be allowed to get
	Reviewer   Reviewer     // required
	Logger     *slog.Logger // required
}

// A Site is pages for people, on an address of their own. On a loopback address it is for
// everybody on the machine or in the pod, as with kubectl port-forward. On any other one
// it needs TLS, and a token for what is below /api/.
type Site struct {
	opts    SiteOptions
	secure  *tls.Config // nil: loopback
	handler http.Handler
	server  Server
}

// NewSite returns a Site, or what is wrong with the flags.
func NewSite(opts SiteOptions) (*Site, error) {
	s := &Site{opts: opts, server: Server{opts: Options{Logger: opts.Logger}}}
	if opts.Address == "" {
		return s, nil
	}
	host, _, err := net.SplitHostPort(opts.Address)
	if err != nil {
		return nil, fmt.Errorf("--page-address %q: want an address and a port, as in 127.0.0.1:7474", opts.Address)
	}
	api := http.Handler(local(opts.API))
	if !isLoopback(host) {
		config, err := opts.config()
		if err != nil {
			return nil, err
		}
		c, err := newCertificate(opts.certDir, opts.Logger)
		if err != nil {
			return nil, fmt.Errorf("--metrics-cert-dir: %w", err)
		}
		config.GetCertificate, config.NextProtos = c.get, []string{"http/1.1"}
		s.secure = config
		api = guardedAs(opts.API, newMemory(opts.Reviewer, opts.Logger), func(*http.Request) string { return opts.Permission })
	}
	mux := http.NewServeMux()
	mux.Handle("/", opts.Files)
	mux.Handle("/api/", api)
	s.handler = mux
	return s, nil
}

// Run serves until the context is canceled. The daemon does without the page where it
// cannot listen.
func (s *Site) Run(ctx context.Context) error {
	if s.opts.Address == "" {
		<-ctx.Done()
		return nil
	}
	for told := false; ; {
		l, err := listen(ctx, s.opts.Address)
		if err == nil {
			if s.secure != nil {
				l = secured{l, s.secure}
			}
			s.opts.Logger.Info("page served", "address", s.opts.Address, "token", s.secure != nil)
			return s.server.serve(ctx, l, s.handler)
		}
		if ctx.Err() != nil {
			return nil
		}
		if !told {
			s.opts.Logger.Warn("page not served", "err", err)
			told = true
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(listenRetry):
		}
	}
}

// isLoopback reports whether only this machine can reach a host.
func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}

// local lets through what a page of this machine asks. A web site elsewhere could give its
// name a loopback address, and then read what its visitor can reach.
func local(h http.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = r.Host
		}
		if !isLoopback(strings.Trim(host, "[]")) {
			http.Error(w, fmt.Sprintf("this page answers for localhost alone, not for %q: forward the port to this machine, or expose it with --page-address, which then needs a token", host), http.StatusForbidden)
			return
		}
		if site := r.Header.Get("Sec-Fetch-Site"); site == "cross-site" {
			http.Error(w, "another site may not ask this page", http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, r)
	}
}
