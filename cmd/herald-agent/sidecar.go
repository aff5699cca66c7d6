// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/cmd/internal/daemon"
	"github.com/heraldlb/herald/frr/contract"
	"github.com/heraldlb/herald/frr/extras"
	"github.com/heraldlb/herald/kube"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/wake"
)

// MetalLB's names for the ConfigMap with raw configuration for FRR, and for its key.
const (
	extrasConfigMap = "bgpextras"
	extrasKey       = "extras"
)

// sharedDir returns the folder shared with the FRR container; empty if there is none.
func (o *options) sharedDir() string {
	if o.frrConf == "" {
		return ""
	}
	return filepath.Dir(o.frrConf)
}

// lock makes this agent the only one that drives its FRR. Where that cannot be said,
// since FRR's directory is not there yet or belongs to somebody else, it starts anyway.
func (o *options) lock(log *slog.Logger) (unlock func(), err error) {
	if o.frrConf == "" {
		return func() {}, nil
	}
	holder := fmt.Sprintf("process %d", os.Getpid())
	if o.pod != "" {
		holder = "pod " + o.pod
	}
	f, err := contract.Lock(o.frrDir, holder)
	switch {
	case errors.Is(err, contract.ErrInUse):
		return nil, err
	case err != nil:
		log.Info("FRR not locked for this agent alone", "err", err)
		return func() {}, nil
	}
	return func() { f.Close() }, nil
}

// extras returns the operator's lines in FRR's configuration, which the agent keeps.
func (o *options) extras() []byte {
	if o.frrConf == "" {
		return nil
	}
	return extras.Kept(o.sharedDir())
}

// A sidecar is what an agent does for the FRR container; nil if there is none.
type sidecar struct {
	dir    string
	log    *slog.Logger
	extras *extras.Sender
	watch  func(context.Context) error // of the raw configuration
}

func (o *options) sidecar(client *kube.Client, events *kube.Recorder, log *slog.Logger) *sidecar {
	if o.frrConf == "" {
		return nil
	}
	changed := wake.New()
	m := kube.NewConfigMap(kube.ConfigMapOptions{
		Client: client, Namespace: o.Namespace, Name: extrasConfigMap, Key: extrasKey, Wake: changed.Set,
	})
	return &sidecar{dir: o.sharedDir(), log: log, watch: m.Run, extras: extras.NewSender(extras.SenderOptions{
		Dir:     o.sharedDir(),
		Node:    o.node,
		Changed: changed,
		Text: func() (extras.Text, bool) {
			doc, read := m.Document()
			return extras.Text{Text: doc.Text, Source: doc.Source, Version: doc.Version}, read
		},
		Event:  func(e extras.Event) { events.ConfigMap(m, cluster.Event(e)) },
		Logger: log,
	})}
}

// run sends heartbeats and the raw configuration until the context is canceled.
func (s *sidecar) run(ctx context.Context) error {
	if s == nil {
		return nil
	}
	return daemon.Run(ctx,
		daemon.Task{Name: "heartbeat", Run: func(ctx context.Context) error { return contract.Heartbeat(ctx, s.dir, s.log) }},
		daemon.Task{Name: "extras watch", Run: s.watch},
		daemon.Task{Name: "extras", Run: s.extras.Run},
	)
}

// status returns what became of the raw configuration; nil if there is none.
func (s *sidecar) status() *status.Extras {
	if s == nil {
		return nil
	}
	return s.extras.Status()
}

// hasMetrics reports whether the FRR container exports the metrics of sessions.
func (s *sidecar) hasMetrics() bool { return s != nil && contract.HasMetrics(s.dir) }
