// SPDX-License-Identifier: Apache-2.0

package page

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"
)

//go:embed files
var files embed.FS

// policy is what a browser lets the page do: load its own files and ask its own server. No
// text becomes HTML.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// types are the content types of the page's files.
var types = map[string]string{
	".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8",
	".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml",
}

// secured adds to all answers what browsers are to obey.
func secured(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, value := range map[string]string{
			"Content-Security-Policy":      policy,
			"X-Content-Type-Options":       "nosniff",
			"X-Frame-Options":              "DENY",
			"Referrer-Policy":              "no-referrer",
			"Cross-Origin-Opener-Policy":   "same-origin",
			"Cross-Origin-Resource-Policy": "same-origin",
		} {
			w.Header().Set(name, value)
		}
		h.ServeHTTP(w, r)
	})
}

// Files serves the page itself. It holds nothing that is known of a cluster.
func (p *Page) Files() http.Handler {
	mux := http.NewServeMux()
	entries, err := fs.ReadDir(files, "files")
	if err != nil {
		panic(err) // they are in the program
	}
	for _, e := range entries {
		text, err := files.ReadFile("files/" + e.Name())
		if err != nil {
			panic(err)
		}
		serve := file(text, types[path.Ext(e.Name())])
		mux.HandleFunc("GET /"+e.Name(), serve)
		if e.Name() == "index.html" {
			mux.HandleFunc("GET /{$}", serve)
		}
	}
	return secured(mux)
}

// file returns a function that serves a file, which browsers ask for again each time.
func file(text []byte, typ string) http.HandlerFunc {
	sum := sha256.Sum256(text)
	etag := `"` + hex.EncodeToString(sum[:12]) + `"`
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", typ)
		w.Header().Set("Cache-Control", "no-cache")
		w.Header().Set("ETag", etag)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(text))
	}
}

// API serves what is known of a cluster, below /api/v1/.
func (p *Page) API() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/about", p.about)
	mux.HandleFunc("GET /api/v1/topology", p.topology)
	mux.HandleFunc("GET /api/v1/why", p.inTurn(p.why))
	mux.HandleFunc("GET /api/v1/changes", p.stream)
	return secured(mux)
}

// inTurn has requests that take processor time answered one after the other.
func (p *Page) inTurn(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case p.turn <- struct{}{}:
		case <-r.Context().Done():
			return
		}
		defer func() { <-p.turn }()
		h(w, r)
	}
}

// about says which controller this is.
func (p *Page) about(w http.ResponseWriter, _ *http.Request) {
	answer(w, map[string]string{"pod": p.opts.Pod, "version": p.opts.Version})
}

// topology sends the Topology, or that it is the one that the client has.
func (p *Page) topology(w http.ResponseWriter, r *http.Request) {
	v, err := p.view(r.Context())
	if err != nil {
		unavailable(w, err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-cache")
	h.Set("Vary", "Accept-Encoding")
	h.Set("ETag", v.etag)
	if has(r.Header.Get("If-None-Match"), v.etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	if acceptsGzip(r) {
		h.Set("Content-Encoding", "gzip")
		h.Set("Content-Length", strconv.Itoa(len(v.zipped)))
		w.Write(v.zipped)
		return
	}
	z, err := gzip.NewReader(bytes.NewReader(v.zipped))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	io.Copy(w, z)
}

// has reports whether an If-None-Match names an ETag. RFC 9110, Section 13.1.2.
func has(header, etag string) bool {
	for tag := range strings.SplitSeq(header, ",") {
		if tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/"); tag == etag || tag == "*" {
			return true
		}
	}
	return false
}

func acceptsGzip(r *http.Request) bool {
	for _, v := range r.Header.Values("Accept-Encoding") {
		for coding := range strings.SplitSeq(v, ",") {
			name, weight, _ := strings.Cut(strings.TrimSpace(coding), ";")
			if name == "gzip" && strings.TrimSpace(weight) != "q=0" {
				return true
			}
		}
	}
	return false
}

// why sends the Chain of a subject, which heraldctl why prints.
func (p *Page) why(w http.ResponseWriter, r *http.Request) {
	v, err := p.view(r.Context())
	if err != nil {
		unavailable(w, err)
		return
	}
	c, err := v.topology.Why(r.FormValue("subject"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	answer(w, c)
}

func answer(w http.ResponseWriter, value any) {
	text, err := json.Marshal(value)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Write(text)
}

func unavailable(w http.ResponseWriter, err error) {
	code := http.StatusInternalServerError
	if errors.Is(err, errUnread) {
		code = http.StatusServiceUnavailable
		w.Header().Set("Retry-After", "2")
	}
	http.Error(w, err.Error(), code)
}
