// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/heraldlb/herald/frr"
	"github.com/heraldlb/herald/kube"
	"github.com/heraldlb/herald/reconcile"
)

// MetalLB's names for the ConfigMap with raw configuration for FRR, and for its
// key.
const (
	extrasConfigMap = "bgpextras"
	extrasKey       = "extras"
)

// resultEvery is the time between two looks for what FRR said of the raw
// configuration.
const resultEvery = 2 * time.Second

// An extrasSource hands the operator's raw configuration to the FRR container, and
// logs what becomes of it.
type extrasSource struct {
	dir   string // the folder shared with the FRR container
	text  reconcile.Documents
	watch func(context.Context) error
	wake  chan struct{} // capacity 1
	log   *slog.Logger

	said frr.ExtrasResult // the last result that was logged
}

func newExtrasSource(dir string, client *kube.Client, namespace string, log *slog.Logger) *extrasSource {
	s := &extrasSource{dir: dir, wake: make(chan struct{}, 1), log: log}
	m := kube.NewConfigMap(kube.ConfigMapOptions{
		Client: client, Namespace: namespace, Name: extrasConfigMap, Key: extrasKey,
		Wake: func() {
			select {
			case s.wake <- struct{}{}:
			default:
			}
		},
	})
	s.text, s.watch = m, m.Run
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
			s.log.Warn("raw configuration not handed over", "err", err)
		}
	}
}

// handOver writes the text. A ConfigMap that is not there, or has not got the key,
// wants nothing added; one that was not read yet says nothing.
func (s *extrasSource) handOver() error {
	doc, read := s.text.Document()
	if !read {
		return nil
	}
	changed, err := frr.WriteExtras(s.dir, doc.Text)
	if changed {
		s.log.Info("raw configuration handed over", "source", doc.Source, "version", doc.Version)
	}
	return err
}

// result logs what became of the present text, once.
func (s *extrasSource) result() {
	r, err := frr.ReadExtrasResult(s.dir)
	if err != nil || r.Sum == "" || r == s.said {
		return
	}
	s.said = r
	if r.Applied {
		s.log.Info("raw configuration applied")
	} else {
		s.log.Warn("raw configuration refused", "reason", r.Error)
	}
}
