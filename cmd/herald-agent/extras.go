// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/frr/contract"
	"github.com/heraldlb/herald/kube"
	"github.com/heraldlb/herald/source"
	"github.com/heraldlb/herald/status"
)

// MetalLB's names for the ConfigMap with raw configuration for FRR, and for its
// key.
const (
	extrasConfigMap = "bgpextras"
	extrasKey       = "extras"
)

// Reasons of events about that ConfigMap.
const (
	eventExtrasRefused = "RawConfigurationRefused" // warning
	eventExtrasApplied = "RawConfigurationApplied" // after it was refused
	eventExtrasUnlike  = "RawConfigurationUnlike"  // warning: some of it may not stay
)

// resultEvery is the time between two looks for what FRR said of the raw
// configuration.
const resultEvery = 2 * time.Second

// An extrasSource hands the operator's raw configuration to the FRR container, and
// says what becomes of it.
type extrasSource struct {
	opts  extrasSourceOptions
	text  source.Documents
	watch func(context.Context) error
	tell  func(cluster.Event) // about the ConfigMap
	wake  chan struct{}       // capacity 1

	said contract.ExtrasResult // the last result that was told, without its time

	mu    sync.Mutex     // guards state
	state *status.Extras // nil: there is no raw configuration
}

// extrasSourceOptions are what an extrasSource works with. All of it is required.
type extrasSourceOptions struct {
	Dir       string // the folder shared with the FRR container
	Client    *kube.Client
	Namespace string
	Node      string
	Events    *kube.Recorder
	Logger    *slog.Logger
}

func newExtrasSource(opts extrasSourceOptions) *extrasSource {
	s := &extrasSource{opts: opts, wake: make(chan struct{}, 1)}
	m := kube.NewConfigMap(kube.ConfigMapOptions{
		Client: opts.Client, Namespace: opts.Namespace, Name: extrasConfigMap, Key: extrasKey,
		Wake: func() {
			select {
			case s.wake <- struct{}{}:
			default:
			}
		},
	})
	s.text, s.watch = m, m.Run
	s.tell = func(e cluster.Event) { opts.Events.ConfigMap(m, e) }
	return s
}

// run hands over every version of the text until ctx ends.
func (s *extrasSource) run(ctx context.Context) error {
	look := time.NewTicker(resultEvery)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
		case <-look.C:
			s.result()
			continue
		}
		if err := s.handOver(); err != nil {
			s.opts.Logger.Warn("raw configuration not handed over", "err", err)
		}
		s.result()
	}
}

// handOver writes the text. A ConfigMap that is not there, or has not got the key,
// wants nothing added; one that was not read yet says nothing.
func (s *extrasSource) handOver() error {
	doc, read := s.text.Document()
	if !read {
		return nil
	}
	changed, err := contract.WriteExtras(s.opts.Dir, doc.Text)
	if changed {
		s.opts.Logger.Info("raw configuration handed over", "source", doc.Source, "version", doc.Version)
	}
	return err
}

// result looks what became of the present text, and tells what is new about it.
func (s *extrasSource) result() {
	text, err := contract.ReadExtras(s.opts.Dir)
	if err != nil {
		return // it was not handed over, which is in the log
	}
	r, err := contract.ReadExtrasResult(s.opts.Dir)
	if err != nil {
		r = contract.ExtrasResult{Sum: contract.Sum(text), Error: err.Error()}
	}
	state := &status.Extras{Pending: r.Sum != contract.Sum(text)}
	switch {
	case len(text) == 0 && (state.Pending || r.Applied):
		state = nil
	case !state.Pending:
		state.Applied, state.Error, state.Remark, state.At = r.Applied, r.Error, r.Remark, r.At
	}
	s.mu.Lock()
	s.state = state
	s.mu.Unlock()
	r.At = time.Time{} // another attempt that ends the same way is no news
	if r.Sum == "" || r == s.said {
		return
	}
	before := s.said
	s.said = r
	if !r.Applied {
		s.opts.Logger.Warn("raw configuration refused", "reason", r.Error)
		s.tell(cluster.Event{Warning: true, Reason: eventExtrasRefused,
			Message: fmt.Sprintf("node %s: what was in force stays: %s", s.opts.Node, r.Error)})
		return
	}
	s.opts.Logger.Info("raw configuration applied")
	if r.Remark != "" {
		s.tell(cluster.Event{Warning: true, Reason: eventExtrasUnlike,
			Message: fmt.Sprintf("node %s: it may not stay; write it as \"show running-config\" prints it: %s", s.opts.Node, r.Remark)})
	}
	if before.Error != "" {
		s.tell(cluster.Event{Reason: eventExtrasApplied, Message: fmt.Sprintf("node %s: FRR runs all of it", s.opts.Node)})
	}
}

// status returns what became of the raw configuration; nil if there is none.
func (s *extrasSource) status() *status.Extras {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}
