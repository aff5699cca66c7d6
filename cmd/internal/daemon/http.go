// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"
)

// Serve returns a task that serves HTTP at an address. With an empty address it serves
// nothing.
func Serve(addr string, h http.Handler) Task {
	return Task{"http", func(ctx context.Context) error {
		if addr == "" {
			<-ctx.Done()
			return nil
		}
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
		if err != nil {
			return err
		}
		return serve(ctx, l, h)
	}}
}

// serve serves on a listener, which it closes, until the context is canceled.
func serve(ctx context.Context, l net.Listener, h http.Handler) error {
	s := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	// Requests in flight are cut off: a scraper tries again, and the end takes no time.
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
