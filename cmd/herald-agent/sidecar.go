// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"log/slog"
	"path/filepath"
	"slices"

	"github.com/heraldlb/herald/cmd/internal/daemon"
	"github.com/heraldlb/herald/frr/contract"
	"github.com/heraldlb/herald/kube"
	"github.com/heraldlb/herald/status"
)

// extras returns what the operator has added to FRR's configuration: by the present
// text, and by the one before as long as FRR has not taken the present one.
func (o *options) extras() []byte {
	if o.frrConf == "" {
		return nil
	}
	dir := filepath.Dir(o.frrConf)
	present, _ := contract.ReadExtras(dir) // what cannot be read cannot be kept
	applied, _ := contract.ReadExtrasApplied(dir)
	return slices.Concat(applied, []byte("\n"), present)
}

// A sidecar is what an agent does for the FRR container beside it; nil if there is
// none.
type sidecar struct {
	dir    string
	extras *extrasSource
	log    *slog.Logger
}

func (o *options) sidecar(client *kube.Client, events *kube.Recorder, log *slog.Logger) *sidecar {
	if o.frrConf == "" {
		return nil
	}
	dir := filepath.Dir(o.frrConf)
	return &sidecar{dir: dir, log: log, extras: newExtrasSource(extrasSourceOptions{
		Dir: dir, Client: client, Namespace: o.Namespace, Node: o.node, Events: events, Logger: log,
	})}
}

// sharedDir returns the folder shared with the FRR container; empty if there is none.
func (o *options) sharedDir() string {
	if o.frrConf == "" {
		return ""
	}
	return filepath.Dir(o.frrConf)
}

// run does it until the context is canceled.
func (s *sidecar) run(ctx context.Context) error {
	if s == nil {
		return nil
	}
	return daemon.Run(ctx,
		daemon.Task{Name: "heartbeat", Run: func(ctx context.Context) error { return contract.Heartbeat(ctx, s.dir, s.log) }},
		daemon.Task{Name: "extras watch", Run: s.extras.watch},
		daemon.Task{Name: "extras", Run: s.extras.run},
	)
}

// status says what became of the operator's raw configuration; nil if there is
// none.
func (s *sidecar) status() *status.Extras {
	if s == nil {
		return nil
	}
	return s.extras.status()
}

// hasMetrics reports whether the FRR container has the metrics of sessions.
func (s *sidecar) hasMetrics() bool { return s != nil && contract.HasMetrics(s.dir) }
