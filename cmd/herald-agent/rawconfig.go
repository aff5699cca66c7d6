// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"

	"github.com/heraldlb/herald/frr"
	"github.com/heraldlb/herald/reconcile"
)

// The ConfigMap with which an operator adds to FRR's configuration, and the key
// in it, are MetalLB's.
const (
	rawConfigMap = "bgpextras"
	rawConfigKey = "extras"
)

// A rawConfig hands what an operator adds to FRR's configuration over to
// herald-frr, which checks it and applies it.
type rawConfig struct {
	document func() (doc reconcile.Document, read bool)
	dir      string // shared with herald-frr
	log      *slog.Logger
	news     chan struct{} // has room for one value
	failed   string        // why the last text was not handed over
}

// newRawConfig returns nil if there is no folder shared with herald-frr.
func newRawConfig(frrConf string, log *slog.Logger) *rawConfig {
	if frrConf == "" {
		return nil
	}
	return &rawConfig{dir: filepath.Dir(frrConf), log: log, news: make(chan struct{}, 1)}
}

// wake says that there is another document.
func (r *rawConfig) wake() {
	select {
	case r.news <- struct{}{}:
	default:
	}
}

// run hands over until ctx ends.
func (r *rawConfig) run(ctx context.Context) error {
	for {
		r.pass()
		select {
		case <-ctx.Done():
			return nil
		case <-r.news:
		}
	}
}

// pass hands over the newest text. Until it has been read, and while it cannot
// be, what was handed over before stays.
func (r *rawConfig) pass() {
	doc, read := r.document()
	if !read {
		return
	}
	err := doc.Err
	if errors.Is(err, reconcile.ErrNotFound) {
		err = nil // nothing is added
	}
	changed := false
	if err == nil {
		changed, err = frr.WriteExtras(r.dir, doc.Text)
	}
	failed := ""
	if err != nil {
		failed = err.Error()
	}
	switch {
	case failed != "" && failed != r.failed:
		r.log.Warn("raw configuration not handed over", "source", doc.Source, "err", failed)
	case changed:
		r.log.Info("raw configuration handed over", "source", doc.Source)
	}
	r.failed = failed
}
