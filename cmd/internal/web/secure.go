// SPDX-License-Identifier: Apache-2.0

package web

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"strings"
)

// handshake is the first byte of a connection that speaks TLS. No request in plain HTTP
// begins with it. RFC 8446, Section 5.1.
const handshake = 22

// A secured listener takes both TLS and plain HTTP on one port: kubelets probe in plain
// HTTP, and need no other port in the node's network.
type secured struct {
	net.Listener
	config *tls.Config
}

// Accept waits for a connection. It reads nothing from it: the next client must not
// wait for this one.
func (l secured) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c, config: l.config}, nil
}

// A conn becomes TLS if its first byte is one of TLS. The HTTP server reads before it
// writes, and sets the deadlines.
type conn struct {
	net.Conn
	config *tls.Config
	inner  net.Conn // nil before the first read
	secure bool
}

// Read reads what the client has written, without the encryption.
func (c *conn) Read(b []byte) (int, error) {
	if c.inner == nil {
		first := make([]byte, 1)
		if _, err := c.Conn.Read(first); err != nil {
			return 0, err
		}
		c.inner = &reread{Conn: c.Conn, first: first}
		if c.secure = first[0] == handshake; c.secure {
			c.inner = tls.Server(c.inner, c.config)
		}
	}
	return c.inner.Read(b)
}

// Write writes to the client.
func (c *conn) Write(b []byte) (int, error) {
	if c.inner == nil {
		return c.Conn.Write(b)
	}
	return c.inner.Write(b)
}

// A reread connection has a byte that was read before.
type reread struct {
	net.Conn
	first []byte
}

// Read reads the byte first.
func (c *reread) Read(b []byte) (int, error) {
	if len(c.first) > 0 && len(b) > 0 {
		n := copy(b, c.first)
		c.first = c.first[n:]
		return n, nil
	}
	return c.Conn.Read(b)
}

// connKey is the key of the connection in the context of its requests.
type connKey struct{}

func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// encrypted reports whether a request came over TLS.
func encrypted(r *http.Request) bool {
	c, ok := r.Context().Value(connKey{}).(*conn)
	return ok && c.secure
}

// TokenHeader is where a token may be besides Authorization, which the API server
// removes from what it passes on to pods.
const TokenHeader = "Herald-Authorization"

// bearer returns the token of a request; empty if it has none.
func bearer(r *http.Request) string {
	for _, name := range []string{"Authorization", TokenHeader} {
		scheme, token, _ := strings.Cut(r.Header.Get(name), " ")
		if token = strings.TrimSpace(token); strings.EqualFold(scheme, "Bearer") && token != "" {
			return token
		}
	}
	return ""
}

// guarded lets through to a handler whose token may get the path.
func guarded(h http.Handler, by *memory) http.Handler {
	return guardedAs(h, by, func(r *http.Request) string { return r.URL.Path })
}

// guardedAs lets through to a handler whose token may get the path that stands for the
// request's.
func guardedAs(h http.Handler, by *memory, path func(*http.Request) string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !encrypted(r) {
			w.Header().Set("Upgrade", "TLS/1.3, HTTP/1.1") // RFC 2817, Section 4.2
			http.Error(w, "this page is served over HTTPS, to clients with a token", http.StatusUpgradeRequired)
			return
		}
		var v verdict
		if token := bearer(r); token != "" {
			var err error
			if v, err = by.review(r.Context(), token, path(r)); err != nil {
				w.Header().Set("Retry-After", "5")
				http.Error(w, "the token cannot be checked now", http.StatusServiceUnavailable)
				return
			}
		}
		switch v {
		case allowed:
			h.ServeHTTP(w, r)
		case denied:
			http.Error(w, "the token's owner may not get "+path(r), http.StatusForbidden)
		default:
			w.Header().Set("WWW-Authenticate", `Bearer realm="herald"`)
			http.Error(w, "this page needs a valid bearer token", http.StatusUnauthorized)
		}
	})
}
