// SPDX-License-Identifier: Apache-2.0

package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"time"
)

// The FRR container has no token of its own for the API server. It asks the agent, at a
// socket in the folder that they share.
const (
	reviewPath = "/review"
	pathHeader = "Herald-Path"
)

// codes are the answers of the socket to a question.
var codes = map[verdict]int{allowed: http.StatusOK, denied: http.StatusForbidden, stranger: http.StatusUnauthorized}

// ServeReviews answers who may read metrics, at a socket that only the owner of this
// process can use. It runs until the context is canceled. With a Server that needs no
// tokens it answers nobody.
func (s *Server) ServeReviews(ctx context.Context, socket string) error {
	if err := os.Remove(socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if s.secure == nil {
		<-ctx.Done()
		return nil
	}
	l, err := new(net.ListenConfig).Listen(ctx, "unix", socket)
	if err != nil {
		return err
	}
	if err := os.Chmod(socket, 0o600); err != nil {
		l.Close()
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+reviewPath, func(w http.ResponseWriter, r *http.Request) {
		v, err := s.review.review(r.Context(), bearer(r), r.Header.Get(pathHeader))
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		w.WriteHeader(codes[v])
	})
	return s.serve(ctx, l, mux)
}

// An Agent is a Reviewer that asks the agent.
type Agent struct {
	client *http.Client
}

// NewAgent returns the agent behind a socket.
func NewAgent(socket string) Agent {
	return Agent{&http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
		MaxConnsPerHost: maxFresh,
		IdleConnTimeout: 30 * time.Second,
	}}}
}

// Review asks the agent.
func (a Agent) Review(ctx context.Context, token, path string) (known, may bool, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://agent"+reviewPath, nil)
	if err != nil {
		return false, false, err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set(pathHeader, path)
	resp, err := a.client.Do(r)
	if err != nil {
		return false, false, fmt.Errorf("ask the agent: %w", err)
	}
	defer resp.Body.Close()
	for v, code := range codes {
		if resp.StatusCode == code {
			return v != stranger, v == allowed, nil
		}
	}
	why, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	return false, false, fmt.Errorf("ask the agent: %s: %s", resp.Status, why)
}
